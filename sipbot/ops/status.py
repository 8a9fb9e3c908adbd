"""How a running sipbot fares: one value that its processes pass on and that metrics show."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from sipbot.ops.counters import Series
from sipbot.ops.histogram import HistogramValue

CounterValue: TypeAlias = tuple[Series, int]


@dataclass(frozen=True, slots=True)
class LoadStatus:
    """CPU time so far, share of a core lately, and how late 99 of 100 ticks were at most."""

    cpu_s: float
    cpu_percent: float
    tick_lateness_s: float


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker: ``state`` is ``starting``, ``healthy``, ``busy``, ``silent`` or ``closing``."""

    number: int
    state: str
    calls: int
    cpu_s: float


@dataclass(frozen=True, slots=True)
class PlaneStatus:
    """Counts of the media plane since it was made, and its ports of the moment (in pairs)."""

    packets_in: int
    packets_out: int
    send_errors: int
    icmp_errors: int
    listener_errors: int
    missed_ticks: int
    lateness: HistogramValue
    drops: dict[str, int]  # packets by rule
    ports: int
    ports_in_use: int
    ports_quarantined: int


@dataclass(frozen=True, slots=True)
class Status:
    """``reasons`` are the rules that forbid new calls now; ``calls`` counts them by state,
    ``trunks`` those of one process by trunk."""

    reasons: tuple[str, ...]
    calls: dict[str, int]
    max_calls: int
    load: LoadStatus
    workers: tuple[WorkerStatus, ...]
    plane: PlaneStatus
    counters: tuple[CounterValue, ...]
    setup: HistogramValue  # INVITE to 200
    duration: HistogramValue  # 200 to the end
    trunks: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """What one worker says of the streams that it serves: as in ``Status``."""

    calls: dict[str, int]
    trunks: dict[str, int]
    counters: tuple[CounterValue, ...]
    setup: HistogramValue
    duration: HistogramValue


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """One process of sipbot: ``edge``, ``worker-3``, ``supervisor``; memory in bytes."""

    name: str
    resident: int
