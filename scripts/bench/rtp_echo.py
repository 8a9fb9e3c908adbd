#!/usr/bin/env python3
"""RTP echo: what a packet costs in the media plane, beside a C program that only echoes.

    scripts/bench/rtp_echo.py                        floor and plane at 100, 200, 500, 1000 calls
    scripts/bench/rtp_echo.py --calls 200 --seconds 30 --target plane
    scripts/bench/rtp_echo.py --json > echo.json

Each target runs as a process of its own and is played by ``rtp_load`` (C, built on the spot) with
one 20 ms PCMA stream a call, over loopback. Figures: CPU of the target from /proc/PID/stat divided
by all its packets, each one in and each one out; delay from a packet's sending to the return of
its audio. Targets are measured one after the other in the same run, several rounds alternating,
and the middle round counts. "lag" is how far the generator itself was behind its schedule at worst:
on a busy machine its stalls, not the target, make packets late.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

HOST: Final = "127.0.0.1"
FIRST_PORT: Final = 10_000
DEFAULT_CALLS: Final = (100, 200, 500, 1_000)
START_TIMEOUT_S: Final = 30


@dataclass(frozen=True, slots=True)
class Result:
    """One target at one number of calls."""

    target: str
    calls: int
    cpu_us_per_packet: float
    cpu_percent: float  # of one core
    ratio: float | None  # to the floor in the same round
    delay_p50_ms: float
    delay_p99_ms: float
    delay_max_ms: float
    sent: int
    lost: int
    late: int  # more than 30 ms
    generator_lag_ms: float  # the worst that the load generator was behind its own schedule


@dataclass(frozen=True, slots=True)
class Running:
    """A target that serves: its process, and one port a call."""

    process: subprocess.Popen[str]
    ports: list[int]


def build(name: str, into: Path) -> Path:
    """Compile one of the C programs beside this file."""
    program = into / name
    command = ["cc", "-O2", "-Wall", "-Wextra", "-o", str(program), str(HERE / f"{name}.c")]
    subprocess.run(command, check=True)
    return program


def launch(command: list[str], ports: list[int] | None) -> Running:
    """Start a target; it prints "ready", followed by its ports unless those are given."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    words = process.stdout.readline().split()
    if not words or words[0] != "ready":
        process.kill()
        raise SystemExit(f"{command[0]} did not start")
    return Running(process, ports if ports is not None else [int(word) for word in words[1:]])


def start_floor(calls: int, programs: Path) -> Running:
    """The C program."""
    ports = [FIRST_PORT + 2 * call for call in range(calls)]
    command = [str(programs / "rtp_echo_floor"), HOST, str(FIRST_PORT), str(calls)]
    return launch(command, ports)


def start_plane(calls: int, programs: Path) -> Running:
    """This file again, serving a media plane in loopback."""
    return launch([sys.executable, __file__, "--serve", str(calls)], None)


# A target is anything that echoes RTP: add one here. It returns one port for each call.
TARGETS: Final[dict[str, Callable[[int, Path], Running]]] = {
    "floor": start_floor,
    "plane": start_plane,
}


def measure(
    target: str, calls: int, programs: Path, seconds: float, warmup: float
) -> dict[str, Any]:
    """One round: the load generator's report."""
    running = TARGETS[target](calls, programs)
    pid = running.process.pid
    try:
        command = [str(programs / "rtp_load"), HOST, str(seconds), str(warmup), str(pid)]
        command += [str(port) for port in running.ports]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        report: dict[str, Any] = json.loads(done.stdout)
        return report
    finally:
        running.process.terminate()
        running.process.wait()


def cost(report: dict[str, Any]) -> float:
    """CPU microseconds for each packet, in or out."""
    return float(report["cpu_s"]) * 1e6 / (2 * report["sent"])


def compare(
    targets: list[str], calls: int, rounds: int, programs: Path, seconds: float, warmup: float
) -> list[Result]:
    """Measure all targets in turn, ``rounds`` times; the middle ones count."""
    reports: dict[str, list[dict[str, Any]]] = {target: [] for target in targets}
    for _ in range(rounds):
        for target in targets:
            reports[target].append(measure(target, calls, programs, seconds, warmup))
    results = []
    for target in targets:
        runs = reports[target]
        floors = reports.get("floor", [])
        ratios = [cost(run) / cost(floor) for run, floor in zip(runs, floors, strict=False)]
        typical = sorted(runs, key=cost)[len(runs) // 2]
        results.append(
            Result(
                target=target,
                calls=calls,
                cpu_us_per_packet=round(cost(typical), 2),
                cpu_percent=round(100 * typical["cpu_s"] / typical["seconds"], 1),
                ratio=round(statistics.median(ratios), 2) if ratios else None,
                delay_p50_ms=statistics.median(run["delay_p50_ms"] for run in runs),
                delay_p99_ms=statistics.median(run["delay_p99_ms"] for run in runs),
                delay_max_ms=max(run["delay_max_ms"] for run in runs),
                sent=sum(run["sent"] for run in runs),
                lost=sum(run["lost"] for run in runs),
                late=sum(run["late"] for run in runs),
                generator_lag_ms=max(run["max_lag_ms"] for run in runs),
            )
        )
    return results


def print_table(results: list[Result]) -> None:
    """The results for people."""
    print(
        f"{'target':8} {'calls':>5} {'us/packet':>9} {'ratio':>6} {'% core':>6} "
        f"{'p50 ms':>7} {'p99 ms':>7} {'max ms':>7} {'sent':>9} {'lost':>5} {'late':>5} "
        f"{'lag ms':>7}"
    )
    for row in results:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        print(
            f"{row.target:8} {row.calls:5} {row.cpu_us_per_packet:9.2f} {ratio:>6} "
            f"{row.cpu_percent:6.1f} {row.delay_p50_ms:7.2f} {row.delay_p99_ms:7.2f} "
            f"{row.delay_max_ms:7.2f} {row.sent:9} {row.lost:5} {row.late:5} "
            f"{row.generator_lag_ms:7.2f}"
        )


# --- the plane as a target -----------------------------------------------------------------------


class Deaf:
    """A stream's listener that does not care."""

    def on_dtmf(self, digit: str) -> None:
        pass

    def on_media_timeout(self) -> None:
        pass


async def serve(calls: int, tick_ms: int | None) -> None:
    """Serve a plane whose streams all echo. The sources are learnt from the first packets."""
    from sipbot.clock import SystemClock
    from sipbot.media.clockwork import run_plane
    from sipbot.media.plane import MediaPlane, PlaneConfig, best_tick_ms
    from sipbot.media.ports import PortPool
    from sipbot.media.stream import Codec, StreamSpec

    loop = asyncio.get_running_loop()
    config = PlaneConfig(slots=calls, tick_ms=tick_ms or best_tick_ms(), latch_window_s=60)
    pool = PortPool(FIRST_PORT, FIRST_PORT + 20_000, entropy=os.urandom)
    plane = MediaPlane(config, pool, clock=SystemClock(), entropy=os.urandom)
    nobody = (HOST, 9)  # the discard port
    ports = []
    for _ in range(calls):
        stream = plane.allocate(HOST)
        stream.start(StreamSpec(nobody, nobody, Codec.PCMA, 8), Deaf())
        stream.loopback(True)
        ports.append(stream.local_port)
    task = asyncio.ensure_future(run_plane(plane, loop, lambda moved: None))
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    print("ready", *ports, flush=True)
    try:
        await task
    except asyncio.CancelledError:
        counters = plane.counters
        if os.environ.get("BENCH_VERBOSE"):
            print(counters, dict(plane.drops), file=sys.stderr)
    plane.close()


def run_server(calls: int, tick_ms: int | None) -> None:
    """As the runtime does it: uvloop where there is one."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(serve(calls, tick_ms))
        return
    uvloop.run(serve(calls, tick_ms))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--calls", type=int, nargs="+", default=list(DEFAULT_CALLS))
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--warmup", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--target", nargs="+", choices=list(TARGETS), default=list(TARGETS))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", type=int, metavar="CALLS", help=argparse.SUPPRESS)
    parser.add_argument("--tick-ms", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if arguments.serve is not None:
        run_server(arguments.serve, arguments.tick_ms)
        return
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as directory:
        programs = Path(directory)
        build("rtp_load", programs)
        build("rtp_echo_floor", programs)
        for calls in arguments.calls:
            results += compare(
                arguments.target,
                calls,
                arguments.rounds,
                programs,
                arguments.seconds,
                arguments.warmup,
            )
    if arguments.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
    else:
        print_table(results)


if __name__ == "__main__":
    main()
