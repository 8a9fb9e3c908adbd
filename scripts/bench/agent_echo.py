#!/usr/bin/env python3
"""Agent echo: what a packet costs on its way through an agent, beside a C program that only echoes.

    scripts/bench/agent_echo.py                        100, 300, 600 and 1000 calls
    scripts/bench/agent_echo.py --calls 300 --seconds 30 --agent vad
    scripts/bench/agent_echo.py --json > agent.json

Calls are set up by SIP to agent "echo" (`async for frame in call.audio(): await call.play(frame)`)
or "vad" (the same after the numpy work of a voice detector), then played by ``rtp_load`` (C, built
on the spot) with one 20 ms PCMA stream a call, over loopback. Targets, alternating in rounds of
which the middle one counts:

  floor     a C program that only receives and sends
  workers   sipbot with `workers: 1`: supervisor, edge and one worker process
  single    sipbot with `workers: 0`: everything in one process

us/packet is the CPU of all of the target's processes by all its packets, each one in and each one
out. "ratio" is to the floor in the same round. Delay is from a packet's sending to the return of
its audio; "late" is more than 30 ms. "kB/call" is the growth of the processes' PSS from idle, by
calls. "lag" is how far the generator itself was behind its schedule at worst: on a busy machine
its stalls, not the target, make packets late.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Any, Final

from common import floor, measure, median, programs, run, say, show, sipbot, usage
from sip_peer import Peer

DEFAULT_CALLS: Final = (100, 300, 600, 1_000)
TARGETS: Final = ("floor", "workers", "single")
WORKERS: Final = {"workers": 1, "single": 0}
AGENTS: Final = {
    "echo": {"type": "echo"},
    "vad": {"type": "python", "entry": "bench_agents:Vad"},
}
SETTLE_S: Final = 0.5
# A generator that sends later than this after its own plan was held up itself: measure again.
FAIR_LAG_MS: Final = 15.0
ATTEMPTS: Final = 3


async def once(
    target: str, calls: int, folder: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """One round: what the generator reports, with CPU and memory."""
    if target == "floor":
        with floor(calls, folder) as (pid, ports):
            span = await measure(folder, [pid], ports, options.seconds, options.warmup)
            return {**span.report, "cpu": span.cpu_share, "us": span.us_per_packet}
    with sipbot(WORKERS[target], calls + 10, AGENTS) as bot:
        async with Peer(bot.address) as peer:
            await asyncio.sleep(SETTLE_S)
            idle = usage(bot.pids)
            made = await peer.dial_all([options.agent] * calls)
            ports = [call.media_port for call in made]
            span = await measure(folder, bot.pids, ports, options.seconds, options.warmup)
            busy = usage(bot.pids)
            await peer.hang_up_all(made)
    return {
        **span.report,
        "cpu": span.cpu_share,
        "us": span.us_per_packet,
        "pss_kb": (busy.pss - idle.pss) / calls / 1_000,
        "rss_kb": (busy.rss - idle.rss) / calls / 1_000,
    }


async def fairly(
    target: str, calls: int, folder: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """Measure again, with new calls, while the generator itself was held up."""
    for attempt in range(ATTEMPTS):
        report = await once(target, calls, folder, options)
        if report["max_lag_ms"] < FAIR_LAG_MS:
            break
        say(f"{target} {calls}: attempt {attempt + 1}: generator held up {report['max_lag_ms']} ms")
    return report


def summary(
    target: str, calls: int, runs: list[dict[str, Any]], floors: list[dict[str, Any]]
) -> dict[str, Any]:
    """One line of the table."""
    ratios = [one["us"] / base["us"] for one, base in zip(runs, floors, strict=False)]
    memory = [one["pss_kb"] for one in runs if "pss_kb" in one]
    return {
        "target": target,
        "calls": calls,
        "us/packet": median(one["us"] for one in runs),
        "ratio": median(ratios) if ratios else None,
        "% core": round(100 * median(one["cpu"] for one in runs), 1),
        "p50 ms": median(one["delay_p50_ms"] for one in runs),
        "p99 ms": median(one["delay_p99_ms"] for one in runs),
        "max ms": max(one["delay_max_ms"] for one in runs),
        "sent": sum(one["sent"] for one in runs),
        "lost": sum(one["lost"] for one in runs),
        "late": sum(one["late"] for one in runs),
        "kB/call": round(median(memory)) if memory else None,
        "lag ms": max(one["max_lag_ms"] for one in runs),
    }


async def compare(options: argparse.Namespace) -> None:
    rows, rounds = [], []
    with programs("rtp_load", "rtp_echo_floor") as folder:
        for calls in options.calls:
            reports: dict[str, list[dict[str, Any]]] = {target: [] for target in options.target}
            for number in range(options.rounds):
                for target in options.target:
                    say(f"{target}: {calls} calls, round {number + 1} of {options.rounds}")
                    report = await fairly(target, calls, folder, options)
                    reports[target].append(report)
                    rounds.append({"target": target, "round": number, **report})
            floors = reports.get("floor", [])
            rows += [summary(name, calls, runs, floors) for name, runs in reports.items()]
    more = {"rounds": rounds} if options.json else {}
    show(rows, options.json, agent=options.agent, **more)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--calls", type=int, nargs="+", default=list(DEFAULT_CALLS))
    parser.add_argument("--agent", choices=list(AGENTS), default="echo")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--warmup", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--target", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--json", action="store_true")
    run(compare(parser.parse_args()))


if __name__ == "__main__":
    main()
