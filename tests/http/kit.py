"""A source of known values, and a client that needs no library."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from sipbot.ops.histogram import HistogramValue
from sipbot.ops.status import LoadStatus, PlaneStatus, ProcessStatus, Status, WorkerStatus

STATUS = Status(
    reasons=(),
    calls={"answered": 3, "ringing": 1},
    max_calls=50,
    load=LoadStatus(cpu_s=12.5, cpu_percent=40.0, tick_lateness_s=0.002),
    workers=(WorkerStatus(1, "healthy", 2, 3.0), WorkerStatus(4, "busy", 2, 9.0)),
    plane=PlaneStatus(
        packets_in=1_000,
        packets_out=990,
        send_errors=1,
        icmp_errors=2,
        listener_errors=0,
        missed_ticks=5,
        lateness=HistogramValue((0.001, 0.02), (900, 90, 10), 1.5),
        drops={"late": 7},
        ports=100,
        ports_in_use=4,
        ports_quarantined=6,
    ),
    counters=(
        (("calls", (("trunk", ""),)), 9),
        (("refused", (("rule", "cpu"),)), 3),
        (("refused", (("rule", "no-route"),)), 2),
        (("workers_lost", ()), 1),
    ),
    setup=HistogramValue((0.1, 1.0), (4, 0, 0), 0.2),
    duration=HistogramValue((10.0, 60.0), (1, 1, 1), 150.0),
)


@dataclass(slots=True)
class Fixed:
    """A ``Source`` that says what it is told; ``asked`` counts the pages made of it."""

    now: Status | None = STATUS
    forbidden: tuple[str, ...] = ()
    asked: int = 0
    running: list[ProcessStatus] = field(default_factory=lambda: [ProcessStatus("edge", 5_000_000)])

    def reasons(self) -> tuple[str, ...]:
        return self.forbidden

    def status(self) -> Status | None:
        self.asked += 1
        return self.now

    def processes(self) -> list[ProcessStatus]:
        return self.running


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: str

    def json(self) -> Any:
        return json.loads(self.body)


async def get(port: int, path: str) -> Answer:
    """One request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    data = await reader.read()
    writer.close()
    await writer.wait_closed()
    head, _, body = data.decode().partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Answer(int(first.split()[1]), headers, body)
