#!/usr/bin/env python3
"""AgentStream echo: what a stream costs on its way through an agent, beside others that only echo.

    scripts/bench/agentstream.py                        50 and 100 streams
    scripts/bench/agentstream.py --streams 300 --target workers
    scripts/bench/agentstream.py --json > streams.json

Every stream sends one message with 20 ms of audio (8 kHz, 320 bytes) every 20 ms and gets it back,
over loopback WebSockets. Targets, alternating in rounds of which the middle one counts:

  picows      a server that gives each message back as it came, on the library that sipbot uses
  websockets  the same on the library `websockets`
  pipecat     Pipecat's FastAPI transport with its Exotel serializer, where it is installed
  workers     sipbot with `workers: 1` and agent "echo": supervisor, edge and one worker process
  single      sipbot with `workers: 0`: everything in one process

"ms/s" is the CPU of all of the target's processes, in milliseconds a second and stream. Delay is
from a message's sending to the return of its audio; "late" is more than 30 ms. "lag" is how far the
generator itself was behind its schedule at worst, and a late frame after such a lag is its own.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from common import (
    EDGE_OF_SPAN_S,
    HERE,
    HOST,
    cpu_s,
    median,
    program,
    run,
    say,
    show,
    sipbot,
)

DEFAULT_STREAMS: Final = (50, 100)
PORT: Final = 19_080
PEERS: Final = ("picows", "websockets", "pipecat")
WORKERS: Final = {"workers": 1, "single": 0}
TARGETS: Final = (*PEERS, *WORKERS)
PATH: Final = "/exotel/voicebot/echo"
# A generator that sends later than this after its own plan was held up itself: measure again.
FAIR_LAG_MS: Final = 15.0
ATTEMPTS: Final = 3


def available(target: str) -> bool:
    return target in WORKERS or importlib.util.find_spec(target) is not None


@contextmanager
def serving(target: str, streams: int) -> Iterator[Sequence[int]]:
    """Run a target; yields the ids of its processes."""
    if target in PEERS:
        command = [sys.executable, str(HERE / "stream_echo_peers.py"), target, HOST, str(PORT)]
        with program(*command) as pid:
            yield [pid]
        return
    more = {
        "http": {"listen": f"http://{HOST}:{PORT}"},
        "trunks": {"bench": {"allow": ["127.0.0.0/8"], "stream": {"message_bytes": 320}}},
    }
    agents = {"echo": {"type": "echo"}}
    with sipbot(WORKERS[target], streams + 10, agents, **more) as bot:
        yield bot.pids


async def once(target: str, streams: int, options: argparse.Namespace) -> dict[str, Any]:
    """One round: what the generator reports, with the CPU."""
    loop = asyncio.get_running_loop()
    with serving(target, streams) as pids:
        url = f"ws://{HOST}:{PORT}{PATH}"
        numbers = (str(streams), str(options.seconds), str(options.warmup))
        load = await asyncio.create_subprocess_exec(
            sys.executable,
            str(HERE / "stream_load.py"),
            url,
            *numbers,
            stdout=asyncio.subprocess.PIPE,
            cwd=HERE,
        )
        assert load.stdout is not None
        if await load.stdout.readline() != b"begun\n":
            raise SystemExit(f"{target}: the streams could not be opened")
        await asyncio.sleep(options.warmup + EDGE_OF_SPAN_S)
        began, before = loop.time(), cpu_s(pids)
        await asyncio.sleep(max(options.seconds - 2 * EDGE_OF_SPAN_S, 0.1))
        share = (cpu_s(pids) - before) / (loop.time() - began)
        said, _ = await load.communicate()
    report: dict[str, Any] = json.loads(said)
    return {**report, "cpu": share, "ms": 1_000 * share / streams}


async def fairly(target: str, streams: int, options: argparse.Namespace) -> dict[str, Any]:
    """Measure again, with new streams, while the generator itself was held up."""
    for attempt in range(ATTEMPTS):
        report = await once(target, streams, options)
        if report["max_lag_ms"] < FAIR_LAG_MS:
            break
        lag = report["max_lag_ms"]
        say(f"{target} {streams}: attempt {attempt + 1}: generator held up {lag:.1f} ms")
    return report


def summary(target: str, streams: int, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """One line of the table."""
    return {
        "target": target,
        "streams": streams,
        "ms/s": median(one["ms"] for one in runs),
        "% core": round(100 * median(one["cpu"] for one in runs), 1),
        "p50 ms": median(one["delay_p50_ms"] for one in runs),
        "p99 ms": median(one["delay_p99_ms"] for one in runs),
        "max ms": max(round(one["delay_max_ms"], 1) for one in runs),
        "sent": sum(one["sent"] for one in runs),
        "lost": sum(one["lost"] for one in runs),
        "late": sum(one["late"] for one in runs),
        "broken": sum(one["broken"] for one in runs),
        "lag ms": max(round(one["max_lag_ms"], 1) for one in runs),
    }


async def compare(options: argparse.Namespace) -> None:
    targets = [target for target in options.target if available(target)]
    for target in set(options.target) - set(targets):
        say(f"{target} is not installed")
    rows, rounds = [], []
    for streams in options.streams:
        reports: dict[str, list[dict[str, Any]]] = {target: [] for target in targets}
        for number in range(options.rounds):
            for target in targets:
                say(f"{target}: {streams} streams, round {number + 1} of {options.rounds}")
                report = await fairly(target, streams, options)
                reports[target].append(report)
                rounds.append({"target": target, "round": number, **report})
        rows += [summary(name, streams, runs) for name, runs in reports.items()]
    show(rows, options.json, **({"rounds": rounds} if options.json else {}))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--streams", type=int, nargs="+", default=list(DEFAULT_STREAMS))
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--warmup", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--target", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--json", action="store_true")
    run(compare(parser.parse_args()))


if __name__ == "__main__":
    main()
