"""What an edge tells of itself: one ``Status``, made where nothing waits for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from sipbot.clock import Clock, process_cpu_s
from sipbot.media.plane import LATENESS_MS, MediaPlane
from sipbot.ops.histogram import HistogramValue
from sipbot.ops.overload import Overload
from sipbot.ops.status import LoadStatus, PlaneStatus, ProcessStatus, Status
from sipbot.runtime.edge import Edge, EdgeParts
from sipbot.runtime.host import AgentHost

FRESH_S: Final = 1.0  # seconds that one status serves all who ask
_LATENESS_S: Final = tuple(bound / 1000 for bound in LATENESS_MS)
_OWN_MEMORY: Final = Path("/proc/self/statm")  # Linux only
_PAGE_BYTES: Final = 4_096


class Reporter:
    """Implements the ``Source`` of the HTTP interface for the edge of this process.

    ``more`` counts by state the calls that are in this process too but not the edge's.
    """

    def __init__(
        self,
        edge: Edge,
        parts: EdgeParts,
        host: AgentHost,
        clock: Clock,
        more: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self._edge, self._parts, self._host, self._clock = edge, parts, host, clock
        self._more = more
        self._last: tuple[float, Status] | None = None

    def reasons(self) -> tuple[str, ...]:
        return self._edge.reasons

    def status(self) -> Status:
        """At most ``FRESH_S`` old."""
        now = self._clock.monotonic()
        if self._last is None or now - self._last[0] >= FRESH_S:
            self._last = now, self.fresh()
        return self._last[1]

    def fresh(self) -> Status:
        """The status of this moment."""
        parts, times = self._parts, self._parts.times
        times.look()
        return Status(
            reasons=self._edge.reasons,
            calls=dict(Counter(leg.state.value for leg in self._edge.legs) + Counter(self._more())),
            max_calls=parts.capacity.max_calls,
            load=_load(parts.overload),
            workers=tuple(self._host.workers()),
            plane=_plane(parts.plane),
            counters=parts.counters.series(),
            setup=times.setup.value,
            duration=times.duration.value,
            trunks=dict(parts.capacity.by_trunk),
        )

    def processes(self) -> tuple[ProcessStatus, ...]:
        try:
            pages = int(_OWN_MEMORY.read_text().split()[1])
        except OSError:
            return ()
        return (ProcessStatus("edge", pages * _PAGE_BYTES),)


def _load(overload: Overload) -> LoadStatus:
    late_s = overload.ticks.late_ms / 1000
    return LoadStatus(process_cpu_s(), overload.cpu.percent, late_s)


def _plane(plane: MediaPlane) -> PlaneStatus:
    counters, ports = plane.counters, plane.ports
    return PlaneStatus(
        packets_in=counters.packets_in,
        packets_out=counters.packets_out,
        send_errors=counters.send_errors,
        icmp_errors=counters.icmp_errors,
        listener_errors=counters.listener_errors,
        missed_ticks=counters.missed_ticks,
        lateness=HistogramValue(_LATENESS_S, tuple(counters.lateness), counters.lateness_s),
        drops=dict(plane.drops),
        ports=ports.capacity,
        ports_in_use=ports.in_use,
        ports_quarantined=ports.quarantined,
    )
