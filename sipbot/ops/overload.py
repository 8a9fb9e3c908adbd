"""Overload: when the processor or the media clock says that one more call would cost audio.

Readings go in, a verdict comes out; ``now`` is passed in, in seconds of one monotonic clock.

Two rules. ``cpu``: a process used more of a core than the limit. ``tick-lateness``: the media clock
began one tick in a hundred later than the limit, because the machine is busy with something else
or because one pass over all calls takes too long. Both are measured over ``WINDOW_S``, so that a
single hiccup refuses nobody, and both leave only after a while well below the limit, so that a
load just at the limit does not flap.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WINDOW_S: Final = 1.5  # seconds that a verdict looks back
ENOUGH_S: Final = 1.0  # seconds of readings before the first verdict
LEAVE_AT: Final = 0.85  # share of the limit below which overload may end
HOLD_S: Final = 2.0  # seconds below that share before it ends
PERCENTILE: Final = 0.99  # of the ticks
MAX_READINGS: Final = 256  # kept in a window, however often somebody reads

CPU: Final = "cpu"
TICK_LATENESS: Final = "tick-lateness"


@dataclass(frozen=True, slots=True)
class OverloadLimits:
    """Percent of one core, and milliseconds; None turns a rule off."""

    cpu_percent: float | None = 85.0
    tick_lateness_ms: float | None = 20.0


class Switch:
    """Goes on above a limit, and off after ``HOLD_S`` below ``LEAVE_AT`` of it."""

    def __init__(self) -> None:
        self.on = False
        self._below_since: float | None = None

    def judge(self, now: float, value: float, limit: float | None) -> bool:
        """Whether ``on`` has changed by this value."""
        before = self.on
        if limit is None:
            self.on = False
        elif not self.on:
            self.on, self._below_since = value > limit, None
        elif value > LEAVE_AT * limit:
            self._below_since = None
        elif self._below_since is None:
            self._below_since = now
        elif now - self._below_since >= HOLD_S:
            self.on = False
        return self.on is not before


class CpuLoad:
    """How much of one core a process uses, from its CPU time so far."""

    def __init__(self) -> None:
        self.percent = 0.0  # of one core, over the window
        self._switch = Switch()
        self._readings: deque[tuple[float, float]] = deque(maxlen=MAX_READINGS)

    @property
    def busy(self) -> bool:
        """Whether it is above its limit, or has been a moment ago."""
        return self._switch.on

    def sample(self, now: float, cpu_s: float, limit_percent: float | None) -> bool:
        """Take a reading of its CPU time in seconds; True when ``busy`` has changed."""
        readings = self._readings
        readings.append((now, cpu_s))
        while len(readings) > 2 and readings[1][0] <= now - WINDOW_S:
            readings.popleft()
        span_s = now - readings[0][0]
        if span_s < ENOUGH_S:
            return False
        self.percent = max(cpu_s - readings[0][1], 0.0) / span_s * 100
        return self._switch.judge(now, self.percent, limit_percent)


class TickLoad:
    """How late the media clock is, from its histogram so far.

    ``bounds_ms`` are the upper bounds of the histogram, which has one more entry than they.
    """

    def __init__(self, bounds_ms: Sequence[float]) -> None:
        self.late_ms = 0.0  # what PERCENTILE of the ticks of the window kept to
        self._bounds = (*bounds_ms, bounds_ms[-1])
        self._switch = Switch()
        self._readings: deque[tuple[float, tuple[int, ...]]] = deque(maxlen=MAX_READINGS)

    @property
    def late(self) -> bool:
        """Whether it is above its limit, or has been a moment ago."""
        return self._switch.on

    def sample(self, now: float, counts: Sequence[int], limit_ms: float | None) -> bool:
        """Take a reading of the histogram; True when ``late`` has changed."""
        readings = self._readings
        readings.append((now, tuple(counts)))
        while len(readings) > 2 and readings[1][0] <= now - WINDOW_S:
            readings.popleft()
        if now - readings[0][0] < ENOUGH_S:
            return False
        first = readings[0][1]
        window = [after - before for before, after in zip(first, counts, strict=True)]
        self.late_ms = self._percentile(window)
        return self._switch.judge(now, self.late_ms, limit_ms)

    def _percentile(self, window: Sequence[int]) -> float:
        """Within its entry of the histogram, ticks are taken as spread evenly."""
        rank, low = PERCENTILE * sum(window), 0.0
        for count, high in zip(window, self._bounds, strict=True):
            if count and rank <= count:
                return low + (high - low) * rank / count
            rank, low = rank - count, high
        return 0.0


class Overload:
    """Both rules for one process with a media clock."""

    def __init__(
        self, limits: OverloadLimits, bounds_ms: Sequence[float] = (1, 10, 100, 1_000)
    ) -> None:
        self.limits = limits  # may be replaced at any time
        self.cpu, self.ticks = CpuLoad(), TickLoad(bounds_ms)

    def sample(self, now: float, cpu_s: float, lateness: Sequence[int]) -> None:
        """Take readings of CPU time (seconds) and of the clock's histogram."""
        self.cpu.sample(now, cpu_s, self.limits.cpu_percent)
        self.ticks.sample(now, lateness, self.limits.tick_lateness_ms)

    @property
    def rules(self) -> tuple[str, ...]:
        """Rules that forbid new calls now."""
        verdicts = ((CPU, self.cpu.busy), (TICK_LATENESS, self.ticks.late))
        return tuple(rule for rule, broken in verdicts if broken)
