"""What the benchmarks of the whole server share: processes, /proc, the load generator, tables.

Everything happens on one loopback address of its own, so that nobody else's ports are in the way.
Linux only: figures come from /proc.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml

HERE: Final = Path(__file__).resolve().parent
REPO: Final = HERE.parent.parent
HOST: Final = "127.0.0.7"
SIP_PORT: Final = 19_070
RTP_PORTS: Final = (39_000, 44_999)
PACKETS_A_SECOND: Final = 50  # of one stream, one way
READY_S: Final = 30.0
STOP_S: Final = 20.0
EDGE_OF_SPAN_S: Final = 0.3  # at both ends of a measurement, left out of the CPU figures

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a benchmark on the fastest event loop there is."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


@contextmanager
def programs(*names: str) -> Iterator[Path]:
    """Compile C programs that lie beside this file; yields the directory with the results."""
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            command = ["cc", "-O2", "-Wall", "-Wextra", "-o", f"{folder}/{name}"]
            subprocess.run([*command, str(HERE / f"{name}.c")], check=True)
        yield Path(folder)


# --- processes under test -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Usage:
    """Memory of some processes, in bytes, and their open files."""

    rss: int
    pss: int  # what they share is counted once
    files: int


def cpu_s(pids: Iterable[int]) -> float:
    """CPU seconds of all threads that live, exact to the nanosecond (unlike /proc/PID/stat)."""
    total = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def usage(pids: Iterable[int]) -> Usage:
    """Memory and open files; those of a process that has just ended count as nothing."""
    rss = pss = files = 0
    for pid in pids:
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            files += len(os.listdir(f"/proc/{pid}/fd"))
        except OSError:
            continue
        fields = {line.split(":")[0]: line.split()[1] for line in rollup[1:]}
        rss += 1024 * int(fields["Rss"])
        pss += 1024 * int(fields["Pss"])
    return Usage(rss, pss, files)


def bound_udp_ports() -> int:
    """UDP sockets that are bound to our address."""
    wanted = "".join(f"{int(part):02X}" for part in reversed(HOST.split(".")))
    lines = Path("/proc/net/udp").read_text().splitlines()[1:]
    return sum(line.split()[1].startswith(wanted + ":") for line in lines)


class Sipbot:
    """A running ``sipbot run``."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process, self.log = process, log

    @property
    def address(self) -> tuple[str, int]:
        return HOST, SIP_PORT

    @property
    def pids(self) -> list[int]:
        """Supervisor, edge and workers; of ``workers: 0`` the one process."""
        main = self._process.pid
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        return [main, *map(int, children)]

    @property
    def workers(self) -> list[int]:
        return [pid for pid in self.pids if "worker_main" in _command(pid)]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


@contextmanager
def sipbot(
    workers: int,
    calls: int,
    agents: Mapping[str, Mapping[str, Any]],
    limits: Mapping[str, Any] | None = None,
    **more: Any,
) -> Iterator[Sipbot]:
    """Serve ``agents``, each to be called by its name, without limits that a benchmark might meet.

    Python agents may come from ``bench_agents.py``; ``more`` are other sections of the
    configuration.
    """
    document = {
        "sip": {"listen": [f"udp://{HOST}:{SIP_PORT}"], "public_address": HOST},
        "media": {
            "ports": f"{RTP_PORTS[0]}-{RTP_PORTS[1]}",
            "initial_timeout_s": 120,
            # The load generator's sockets are opened after the calls.
            "latch_window_s": 60,
        },
        "workers": workers,
        "limits": {
            "max_calls": calls,
            "max_cpu_percent": None,
            "max_tick_lateness_ms": None,
            **(limits or {}),
        },
        "call": {"drain_s": 1},
        "logging": {"format": "json", "level": "info"},
        "agents": {name: dict(agent) for name, agent in agents.items()},
        "routes": [{"to": name, "agent": name} for name in agents],
        **more,
    }
    with tempfile.TemporaryDirectory() as folder:
        path, log = Path(folder) / "sipbot.yaml", Path(folder) / "log"
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        command = [sys.executable, "-m", "sipbot.cli.main", "run", "-c", str(path)]
        paths = os.pathsep.join([str(REPO), str(HERE)])
        with log.open("w") as errors:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, "PYTHONPATH": paths},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        with _ended(process):
            wait_ready(process, log)
            yield Sipbot(process, log)


@contextmanager
def floor(calls: int, folder: Path) -> Iterator[tuple[int, list[int]]]:
    """The C program that only echoes; yields its process id and a port for each call."""
    first = RTP_PORTS[0]
    command = [str(folder / "rtp_echo_floor"), HOST, str(first), str(calls)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with _ended(process):
        wait_ready(process, None)
        yield process.pid, [first + 2 * call for call in range(calls)]


@contextmanager
def _ended(process: subprocess.Popen[str]) -> Iterator[None]:
    """Ends the process, gently first."""
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextmanager
def program(*command: str) -> Iterator[int]:
    """A server of another kind, which prints "ready"; yields its process id."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("w") as errors:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=HERE
            )
        with _ended(process):
            wait_ready(process, log)
            yield process.pid


def wait_ready(process: subprocess.Popen[str], log: Path | None) -> None:
    """Wait for the line "ready"; without it, end with what the program had to say."""
    watchdog = threading.Timer(READY_S, process.kill)
    watchdog.start()
    assert process.stdout is not None
    ready = any(line.startswith("ready") for line in process.stdout)
    watchdog.cancel()
    if not ready:
        said = log.read_text()[-2_000:] if log is not None else ""
        raise SystemExit(f"the program under test did not start\n{said}")


# --- load -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Span:
    """What one run of the load generator saw, and what CPU was used meanwhile."""

    report: dict[str, Any]  # see rtp_load.c
    cpu_share: float  # of one core, all processes together
    us_per_packet: float  # CPU, each packet in and each packet out counted


async def play(
    folder: Path, ports: Sequence[int], seconds: float, warmup: float
) -> asyncio.subprocess.Process:
    """Start the load generator: one stream to each port."""
    command = [str(folder / "rtp_load"), HOST, str(seconds), str(warmup), "0", *map(str, ports)]
    return await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)


async def report_of(load: asyncio.subprocess.Process) -> dict[str, Any]:
    """What the load generator says at its end."""
    said, _ = await load.communicate()
    report: dict[str, Any] = json.loads(said)
    return report


async def measure(
    folder: Path, pids: Sequence[int], ports: Sequence[int], seconds: float, warmup: float
) -> Span:
    """Play to ``ports``; the CPU is that of ``pids``."""
    loop = asyncio.get_running_loop()
    load = await play(folder, ports, seconds, warmup)
    await asyncio.sleep(warmup + EDGE_OF_SPAN_S)
    began, before = loop.time(), cpu_s(pids)
    await asyncio.sleep(max(seconds - 2 * EDGE_OF_SPAN_S, 0.1))
    share = (cpu_s(pids) - before) / (loop.time() - began)
    packets = 2 * PACKETS_A_SECOND * len(ports)
    return Span(await report_of(load), share, share * 1e6 / packets)


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest-rank percentile; 0.0 when there are no values."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))] if ranked else 0.0


def median(values: Iterable[float]) -> float:
    """The middle, rounded for print."""
    return round(statistics.median(values), 2)


# --- results --------------------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    """On what the figures were measured."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in info if "model name" in line), "?")
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gb": round(pages / 2**30),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def show(rows: Sequence[Mapping[str, Any]], as_json: bool, **more: Any) -> None:
    """Print a table, or one JSON object with everything. Columns are those of the first row."""
    if as_json:
        sys.stdout.write(json.dumps({"machine": machine(), "rows": rows, **more}, indent=2) + "\n")
        return
    if rows:
        columns = list(rows[0])
        cells = [columns, *[[_cell(row.get(name)) for name in columns] for row in rows]]
        widths = [max(len(row[at]) for row in cells) for at in range(len(columns))]
        for row in cells:
            line = "  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True))
            sys.stdout.write(line + "\n")
    for name, value in more.items():
        sys.stdout.write(f"{name}: {value}\n")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def say(text: str) -> None:
    """Progress, for people."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
