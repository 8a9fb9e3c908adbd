#!/usr/bin/env python3
"""Isolation: what the calls of one worker notice while another worker is in trouble.

    scripts/bench/isolation.py                         200 calls, every kind of trouble
    scripts/bench/isolation.py --calls 400 --trouble killed --json

sipbot runs with `workers: 2`; calls to an echo agent are shared out between the two, and all are
played by ``rtp_load`` (C, built on the spot), those of each worker by a process of its own. In the
middle of it one worker gets into trouble:

  nothing   none: what the machine itself does
  blocked   an agent holds its process for one second (`time.sleep`)
  raising   an agent raises
  leaking   an agent fills the memory until the worker is ended at its limit
  killed    kill -9

"lost" and "late" (more than 30 ms) are packets of the calls in the *other* worker; "hit lost" are
those of the worker in trouble. Where that worker dies: "sorry" is when a caller hears the first of
the apology, "BYE" when the last of its calls got its BYE, and "new" when two workers are ready
again, all in seconds since its death. "lag" is how far the generator was behind its own schedule at
worst: on a busy machine its stalls, not sipbot, make packets late.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from common import HOST, Sipbot, play, programs, report_of, run, say, show, sipbot
from sip_peer import Call, Peer

WARMUP_S: Final = 2.0
TROUBLE_AFTER_S: Final = 1.5  # of measuring
MEASURED_S: Final = 8.0
DEADLINE_S: Final = 6.0  # for a worker to die, and for everything that follows
LEAK_LIMIT_MB: Final = 250
TROUBLES: Final = ("nothing", "blocked", "raising", "leaking", "killed")
DEADLY: Final = ("leaking", "killed")
FAIR_LAG_MS: Final = 15.0  # a generator later than this was held up itself: measure again
ATTEMPTS: Final = 3
SILENCE: Final = 0xD5  # of A-law


class Listener:
    """One caller that says nothing, and notes when it hears something."""

    def __init__(self) -> None:
        self.heard: list[float] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((HOST, 0))
        self._socket.settimeout(0.005)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._target = (HOST, 0)

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def start(self, port: int) -> None:
        self._target = (HOST, port)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()

    def since(self, moment: float) -> float | None:
        """Seconds from ``moment`` until something was heard."""
        return next((at - moment for at in self.heard if at > moment), None)

    def _run(self) -> None:
        number, due = 0, time.monotonic()
        while not self._over.is_set():
            if time.monotonic() >= due:
                header = bytes([0x80, 8]) + number.to_bytes(2, "big")
                header += (160 * number).to_bytes(4, "big") + b"benc"
                self._socket.sendto(header + bytes([SILENCE]) * 160, self._target)
                number, due = number + 1, due + 0.02
            try:
                data = self._socket.recv(2_048)
            except (TimeoutError, ConnectionError):
                continue
            if any(code != SILENCE for code in data[12:]):
                self.heard.append(time.monotonic())


@dataclass(slots=True)
class Scene:
    """Calls, and who has them."""

    notes: Path
    calls: list[Call] = field(default_factory=list)
    listeners: list[tuple[Call, Listener]] = field(default_factory=list)

    def owners(self) -> dict[str, int]:
        """Caller -> process."""
        lines = self.notes.read_text().splitlines()
        return {line.split()[0]: int(line.split()[1]) for line in lines}

    def of(self, pid: int) -> list[Call]:
        owners = self.owners()
        return [call for call in self.calls if owners[call.caller] == pid]


def agents(notes: Path) -> dict[str, dict[str, Any]]:
    classes = {"echo": "Placed", "blocked": "Blocks", "raising": "Raises", "leaking": "Leaks"}
    return {
        name: {"type": "python", "entry": f"bench_agents:{what}", "settings": {"file": str(notes)}}
        for name, what in classes.items()
    }


async def once(trouble: str, calls: int, folder: Path) -> dict[str, Any]:
    """One kind of trouble; one line of the table."""
    limits = {"worker_memory_mb": LEAK_LIMIT_MB} if trouble == "leaking" else {}
    with tempfile.TemporaryDirectory() as place:
        scene = Scene(Path(place) / "notes")
        with sipbot(2, calls + 10, agents(scene.notes), limits) as bot:
            async with Peer(bot.address) as peer:
                try:
                    return await played(trouble, calls, folder, bot, peer, scene)
                finally:
                    for _, listener in scene.listeners:
                        listener.stop()


async def played(
    trouble: str, calls: int, folder: Path, bot: Sipbot, peer: Peer, scene: Scene
) -> dict[str, Any]:
    scene.calls = await peer.dial_all(["echo"] * calls)
    for number in range(2):
        listener = Listener()
        caller = f"listener{number}"
        call = await peer.dial("echo", caller=caller, media_port=listener.port)
        listener.start(call.media_port)
        scene.listeners.append((call, listener))
    first, second = bot.workers
    seconds = MEASURED_S
    loads = {
        pid: await play(folder, [call.media_port for call in scene.of(pid)], seconds, WARMUP_S)
        for pid in (first, second)
    }
    await asyncio.sleep(WARMUP_S + TROUBLE_AFTER_S)
    victim, died, fate = await disturb(trouble, first, bot, peer, scene)
    reports = {pid: await report_of(load) for pid, load in loads.items()}
    spared = reports[second if victim == first else first]
    lags = [report["max_lag_ms"] for report in reports.values()]
    row = {
        "trouble": trouble,
        "calls": calls,
        "sent": spared["sent"],
        "lost": spared["lost"],
        "late": spared["late"],
        "p99 ms": spared["delay_p99_ms"],
        "max ms": spared["delay_max_ms"],
        "hit lost": None if died else reports[victim]["lost"],
        "sorry s": None,
        "BYE s": None,
        "new s": None,
        "lag ms": max(lags),
        **fate,
    }
    alive = [call for call in scene.calls if not call.over.is_set()]
    await peer.hang_up_all(alive)
    return row


async def disturb(
    trouble: str, victim: int, bot: Sipbot, peer: Peer, scene: Scene
) -> tuple[int, bool, dict[str, Any]]:
    """Let it happen. Returns which worker it hit, whether that died, and what became of it."""
    if trouble == "nothing":
        return victim, False, {}
    if trouble == "killed":
        pidfd = os.pidfd_open(victim)
        os.kill(victim, signal.SIGKILL)
    else:
        call = await peer.dial(trouble, caller="trouble")
        if call.status != 200:
            raise SystemExit(f"the call that makes trouble was answered with {call.status}")
        await until(lambda: "trouble" in scene.owners())
        victim = scene.owners()["trouble"]
        if trouble not in DEADLY:
            return victim, False, {}
        pidfd = os.pidfd_open(victim)
    return victim, True, await mourn(victim, pidfd, bot, scene)


def count_started(bot: Sipbot) -> int:
    """Workers that ever were ready, those at the start included."""
    return bot.log.read_text().count('"event": "worker started"')


async def until(condition: Callable[[], bool]) -> float:
    """Wait for something that nobody tells us of; when it was."""
    while not condition():  # noqa: ASYNC110 - a file and other processes
        await asyncio.sleep(0.01)
    return time.monotonic()


async def mourn(victim: int, pidfd: int, bot: Sipbot, scene: Scene) -> dict[str, Any]:
    """Wait for the death of a worker and for what follows."""
    died = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(pidfd, died.set)
    async with asyncio.timeout(DEADLINE_S):
        await died.wait()
    loop.remove_reader(pidfd)
    os.close(pidfd)
    moment, wall = time.perf_counter(), time.monotonic()
    hit, owners = scene.of(victim), scene.owners()
    replaced = asyncio.ensure_future(until(lambda: count_started(bot) == 3))
    fate: dict[str, Any] = {}
    try:
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.gather(*(call.over.wait() for call in hit))
            fate["BYE s"] = round(max(call.dropped for call in hit) - moment, 2)
            fate["new s"] = round(await replaced - wall, 2)
    except TimeoutError:
        replaced.cancel()
        say(f"not within {DEADLINE_S} s: {sum(not call.over.is_set() for call in hit)} without BYE")
    for call, listener in scene.listeners:
        if owners[call.caller] == victim and (heard := listener.since(wall)) is not None:
            fate["sorry s"] = round(heard, 2)
    return fate


async def fairly(trouble: str, calls: int, folder: Path) -> dict[str, Any]:
    """Measure again while the generator itself was held up: then it says nothing of sipbot."""
    for attempt in range(ATTEMPTS):
        row = await once(trouble, calls, folder)
        if row["lag ms"] < FAIR_LAG_MS or not (row["lost"] or row["late"]):
            break
        say(f"{trouble}: attempt {attempt + 1}: the generator was held up {row['lag ms']} ms")
    return row


async def every(options: argparse.Namespace) -> None:
    rows = []
    with programs("rtp_load") as folder:
        for number in range(options.rounds):
            for trouble in options.trouble:
                say(f"{trouble}, round {number + 1} of {options.rounds}")
                rows.append(await fairly(trouble, options.calls, folder))
    rows.sort(key=lambda row: TROUBLES.index(row["trouble"]))
    show(rows, options.json)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=200, help="in both workers together (200)")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--trouble", nargs="+", choices=TROUBLES, default=list(TROUBLES))
    parser.add_argument("--json", action="store_true")
    run(every(parser.parse_args()))


if __name__ == "__main__":
    main()
