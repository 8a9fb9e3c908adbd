"""Watches the load of an edge, so that calls are refused before audio suffers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from sipbot.clock import process_cpu_s
from sipbot.media.plane import MediaPlane
from sipbot.ops.counters import Counters
from sipbot.ops.logs import Logger
from sipbot.ops.overload import Overload
from sipbot.runtime import refusal as refusals
from sipbot.runtime.edge import Edge

LOOK_S: Final = 0.25  # seconds between two looks

# Come and go with single calls, or once at the end: no news for the log.
_QUIET: Final = frozenset({"max-calls", refusals.SHUTTING_DOWN.rule})


class LoadWatch:
    """Takes the readings, tells peers by OPTIONS, and logs each change once.

    ``cpu_s`` gives the CPU time of this process in seconds.
    """

    def __init__(
        self,
        edge: Edge,
        plane: MediaPlane,
        overload: Overload,
        counters: Counters,
        log: Logger,
        cpu_s: Callable[[], float] = process_cpu_s,
    ) -> None:
        self._edge, self._plane, self._overload = edge, plane, overload
        self._counters, self._log, self._cpu_s = counters, log, cpu_s
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._known: frozenset[str] = frozenset()

    def start(self) -> None:
        """Begin to look."""
        self._timer = self._loop.call_later(LOOK_S, self._look)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self.start()
        lateness = self._plane.counters.lateness
        self._overload.sample(self._loop.time(), self._cpu_s(), lateness)
        self._edge.tell_peers()
        reasons = frozenset(self._edge.reasons)
        if refusals.SHUTTING_DOWN.rule not in reasons:
            self._tell(reasons - _QUIET)

    def _tell(self, reasons: frozenset[str]) -> None:
        for rule in sorted(reasons - self._known):
            self._counters.count("overloads", rule=rule)
            self._log.warning(
                "no new calls for now",
                rule=rule,
                cpu_percent=round(self._overload.cpu.percent),
                tick_lateness_ms=round(self._overload.ticks.late_ms, 1),
                calls=self._edge.calls,
            )
        for rule in sorted(self._known - reasons):
            self._log.info("new calls again", rule=rule, calls=self._edge.calls)
        self._known = reasons
