#!/usr/bin/env python3
"""Set-up: INVITE to 200 OK while calls arrive at a steady rate, and how many a second it takes.

    scripts/bench/setup.py                       50 calls a second, then the most under 200 ms p99
    scripts/bench/setup.py --rate 100 --seconds 30 --no-search
    scripts/bench/setup.py --json > setup.json

Method: an open loop over one UDP socket. Every 1/rate s an INVITE leaves whether or not earlier
ones were answered; each answered call is acknowledged, held for ``--hold`` seconds and ended with
BYE. Times are taken right before sendto and right after recv in this process, so they hold the
loopback, the server and this program's own wait for the processor: "lag" is how late its own
INVITEs left at worst. Nothing is sent again: a lost datagram counts as a failed call. No audio is
sent. Targets: "workers" (sipbot, `workers: 1`), "single" (`workers: 0`) and, where it is installed,
"sipp", SIPp's built-in answering scenario, which has no audio and no agents.

The search raises the rate until p99 is above 200 ms or a call fails (twice, as a busy machine may
be to blame once), then halves the step between.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from common import HOST, SIP_PORT, STOP_S, cpu_s, percentile, run, say, show, sipbot
from sip_peer import ANSWER_S, Call, Peer

LIMIT_MS: Final = 200.0  # p99 of the search
FIRST_RATE: Final = 100.0
GROWTH: Final = 1.4
REFINEMENTS: Final = 3
MAX_RATE: Final = 2_000.0
SEARCH_S: Final = 5.0  # of each rate tried
MAX_CALLS: Final = 2_900  # what the ports hold
WARM_UP: Final = 20  # calls before the first measurement
BETWEEN_S: Final = 6.5  # for ports to come out of quarantine


@contextmanager
def sipp() -> Iterator[tuple[tuple[str, int], list[int]]]:
    """SIPp answering calls."""
    command = ["sipp", "-sn", "uas", "-i", HOST, "-p", str(SIP_PORT), "-mp", "44990", "-nostdin"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(1.0)
        if process.poll() is not None:
            raise SystemExit("sipp did not start")
        yield (HOST, SIP_PORT), [process.pid]
    finally:
        process.kill()
        process.wait(STOP_S)


@contextmanager
def ours(workers: int) -> Iterator[tuple[tuple[str, int], list[int]]]:
    with sipbot(workers, MAX_CALLS, {"echo": {"type": "echo"}}) as bot:
        yield bot.address, bot.pids


# A target answers calls: add one here. It yields its address and its processes.
TARGETS: Final[dict[str, Callable[[], Any]]] = {
    "sipp": sipp,
    "workers": lambda: ours(1),
    "single": lambda: ours(0),
}


async def one_call(peer: Peer, hold: float) -> Call:
    call = await peer.dial("echo")
    if call.status == 200:
        await asyncio.sleep(hold)
    await peer.hang_up(call)
    return call


async def at_rate(
    target: str, address: tuple[str, int], pids: list[int], rate: float, seconds: float, hold: float
) -> dict[str, Any]:
    """Call at this rate for so long; one line of the table."""
    loop, lag = asyncio.get_running_loop(), 0.0
    async with Peer(address) as peer:
        tasks = []
        began, before = loop.time(), cpu_s(pids)
        for number in range(round(rate * seconds)):
            due = began + number / rate
            wait = due - loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            lag = max(lag, loop.time() - due)
            tasks.append(asyncio.ensure_future(one_call(peer, hold)))
        took, used = loop.time() - began, cpu_s(pids) - before
        calls = await asyncio.gather(*tasks)
    times = [1_000 * (call.answered - call.invited) for call in calls if call.answered]
    return {
        "target": target,
        "rate": rate,
        "calls": len(calls),
        "p50 ms": round(percentile(times, 0.50), 2),
        "p99 ms": round(percentile(times, 0.99), 2),
        "max ms": round(max(times, default=0.0), 2),
        "failed": sum(not call.ended for call in calls),
        "ms CPU/call": round(1_000 * used / max(rate * took, 1), 2),
        "lag ms": round(1_000 * lag, 2),
    }


def good(row: dict[str, Any]) -> bool:
    return not row["failed"] and float(row["p99 ms"]) <= LIMIT_MS


async def holds(target: str, address: Any, pids: list[int], rate: float) -> dict[str, Any] | None:
    """The line of a rate that holds, else None; a second chance when it does not."""
    hold = min(0.5, MAX_CALLS / rate / 4)
    for _ in range(2):
        await asyncio.sleep(BETWEEN_S)
        row = await at_rate(target, address, pids, round(rate), SEARCH_S, hold)
        say(f"{target} at {rate:.0f}/s: p99 {row['p99 ms']} ms, {row['failed']} failed")
        if good(row):
            return row
    return None


async def search(target: str, address: Any, pids: list[int]) -> dict[str, Any] | None:
    """The line of the highest rate that holds."""
    best, low, high = None, 0.0, FIRST_RATE
    while high <= MAX_RATE and (row := await holds(target, address, pids, high)) is not None:
        best, low, high = row, high, high * GROWTH
    for _ in range(REFINEMENTS):
        middle = (low + high) / 2
        row = await holds(target, address, pids, middle)
        if row is None:
            high = middle
        else:
            best, low = row, middle
    return best


async def measure_all(options: argparse.Namespace) -> None:
    steady, highest = [], []
    for target in options.target:
        if target == "sipp" and shutil.which("sipp") is None:
            say("sipp is not installed: left out")
            continue
        with TARGETS[target]() as (address, pids):
            await at_rate(target, address, pids, 10.0, WARM_UP / 10.0, 0.1)
            for rate in options.rate:
                rounds = [
                    await at_rate(target, address, pids, rate, options.seconds, options.hold)
                    for _ in range(options.rounds)
                ]
                steady.append(sorted(rounds, key=lambda row: row["p99 ms"])[len(rounds) // 2])
            if options.search:
                row = await search(target, address, pids)
                highest.append(row or {"target": target, "rate": None})
    if options.json:
        show(steady, True, highest=highest, limit_ms=LIMIT_MS, answer_s=ANSWER_S)
        return
    show(steady, False)
    if highest:
        say("")
        show(highest, False, **{f"highest rate with p99 under {LIMIT_MS:.0f} ms": "above"})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rate", type=float, nargs="+", default=[50.0], help="calls a second (50)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each round (20)")
    parser.add_argument("--rounds", type=int, default=3, help="the middle one counts (3)")
    parser.add_argument("--hold", type=float, default=2.0, help="length of each call, s (2)")
    parser.add_argument("--target", nargs="+", choices=list(TARGETS), default=list(TARGETS))
    parser.add_argument("--no-search", dest="search", action="store_false")
    parser.add_argument("--json", action="store_true")
    run(measure_all(parser.parse_args()))


if __name__ == "__main__":
    main()
