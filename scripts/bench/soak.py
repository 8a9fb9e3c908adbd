#!/usr/bin/env python3
"""Soak: calls that come and go for hours, and what grows meanwhile.

    scripts/bench/soak.py                               300 calls for 2 hours
    scripts/bench/soak.py --minutes 5 --calls 100 --json

Calls to agent "echo" come in groups that start at different times; each group is set up by SIP,
played by ``rtp_load`` (C, built on the spot) with real audio for ``--length`` seconds, hung up, and
begins again. Every few seconds memory (RSS and PSS of all of sipbot's processes together), open
files and bound UDP ports are noted. The verdict is a straight line through the last half of these:
"grown" is how much it rises over that half. Memory may rise by 1 % or 2 MB, files and ports by one
for a hundred. Exit code: 1 when something grew, else 0.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from common import Sipbot, bound_udp_ports, play, programs, report_of, run, say, show, sipbot, usage
from sip_peer import Peer

GROUPS: Final = 10
SAMPLES: Final = 240  # at most, over the whole run
TABLE_ROWS: Final = 20
LOAD_WARMUP_S: Final = 1.0
MB: Final = 1_000_000
# How much each may rise in the last half: a share of its mean, or at least so much.
TOLERANCES: Final = {
    "rss MB": (0.01, 2.0),
    "pss MB": (0.01, 2.0),
    "files": (0.01, 1.0),
    "ports": (0.01, 1.0),
}


@dataclass(slots=True)
class Totals:
    """Of the whole run."""

    calls: int = 0
    failed: int = 0
    dropped: int = 0  # ended by the server
    sent: int = 0
    lost: int = 0
    late: int = 0
    worst_lag_ms: float = 0.0
    samples: list[dict[str, Any]] = field(default_factory=list)


async def churn(
    peer: Peer, count: int, folder: Path, length: float, until: float, totals: Totals
) -> None:
    """One group: set up, play, hang up, again until the time is over."""
    loop = asyncio.get_running_loop()
    while loop.time() < until:
        calls = []
        for _ in range(count):
            call = await peer.dial("echo")
            totals.calls += 1
            if call.status == 200:
                calls.append(call)
            else:
                totals.failed += 1
        if not calls:
            await asyncio.sleep(1.0)
            continue
        load = await play(folder, [call.media_port for call in calls], length, LOAD_WARMUP_S)
        report = await report_of(load)
        totals.dropped += sum(call.over.is_set() for call in calls)
        for name in ("sent", "lost", "late"):
            setattr(totals, name, getattr(totals, name) + report[name])
        totals.worst_lag_ms = max(totals.worst_lag_ms, report["max_lag_ms"])
        await peer.hang_up_all(calls)


def sample(bot: Sipbot, minutes: float) -> dict[str, Any]:
    used = usage(bot.pids)
    return {
        "minute": round(minutes, 2),
        "rss MB": round(used.rss / MB, 2),
        "pss MB": round(used.pss / MB, 2),
        "files": used.files,
        "ports": bound_udp_ports(),
    }


async def watch(bot: Sipbot, until: float, totals: Totals) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    step = max((until - began) / SAMPLES, 0.5)
    while loop.time() < until:
        await asyncio.sleep(step)
        totals.samples.append(sample(bot, (loop.time() - began) / 60))


def rise(times: Sequence[float], values: Sequence[float]) -> float:
    """How much the straight line with the least squares rises from the first time to the last."""
    middle, mean = sum(times) / len(times), sum(values) / len(values)
    spread = sum((time - middle) ** 2 for time in times)
    if not spread:
        return 0.0
    pairs = zip(times, values, strict=True)
    slope = sum((time - middle) * (value - mean) for time, value in pairs) / spread
    return slope * (times[-1] - times[0])


def verdict(samples: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One line for each thing that may grow, over the last half."""
    half = samples[len(samples) // 2 :]
    minutes = [one["minute"] for one in half]
    rows = []
    for name, (share, least) in TOLERANCES.items():
        values = [float(one[name]) for one in half]
        mean, grown = sum(values) / len(values), rise(minutes, values)
        allowed = max(share * mean, least)
        rows.append(
            {
                "what": name,
                "mean": round(mean, 2),
                "grown": round(grown, 2),
                "allowed": round(allowed, 2),
                "an hour": round(grown / max(minutes[-1] - minutes[0], 1e-9) * 60, 2),
                "ok": grown <= allowed,
            }
        )
    return rows


async def soak(options: argparse.Namespace) -> bool:
    """Returns whether nothing grew."""
    totals, groups = Totals(), min(GROUPS, options.calls)
    sizes = [options.calls // groups + (n < options.calls % groups) for n in range(groups)]
    # Ports rest before they are used again, and groups overlap.
    room = 2 * options.calls + 50
    loop = asyncio.get_running_loop()
    agents = {"echo": {"type": "echo"}}
    with programs("rtp_load") as folder, sipbot(options.workers, room, agents) as bot:
        async with Peer(bot.address) as peer:
            idle = sample(bot, 0.0)
            until = loop.time() + 60 * options.minutes
            watching = asyncio.ensure_future(watch(bot, until, totals))
            playing = []
            for size in sizes:
                work = churn(peer, size, folder, options.length, until, totals)
                playing.append(asyncio.ensure_future(work))
                await asyncio.sleep((options.length + LOAD_WARMUP_S) / groups)
            await asyncio.gather(watching, *playing)
    rows = verdict(totals.samples)
    fine = all(row["ok"] for row in rows)
    counts = {
        name: getattr(totals, name)
        for name in ("calls", "failed", "dropped", "sent", "lost", "late", "worst_lag_ms")
    }
    if options.json:
        show(rows, True, idle=idle, totals=counts, samples=totals.samples, grew=not fine)
    else:
        step = max(len(totals.samples) // TABLE_ROWS, 1)
        show([idle, *totals.samples[::step]], False)
        say("")
        show(rows, False, **counts)
    return fine


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--length", type=float, default=30.0, help="of each call, s (30)")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    return 0 if run(soak(parser.parse_args())) else 1


if __name__ == "__main__":
    sys.exit(main())
