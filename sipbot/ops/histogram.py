"""A histogram of times, as Prometheus wants it."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HistogramValue:
    """Counts of a moment: entry i those of up to ``bounds[i]``, the last entry all others.

    ``bounds`` and ``total`` (the sum of all values) are in seconds.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float


class Histogram:
    """Counts values by upper bounds, which are in seconds and grow."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds, self._total = bounds, 0.0
        self._counts = [0] * (len(bounds) + 1)

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._total += seconds

    @property
    def value(self) -> HistogramValue:
        return HistogramValue(self._bounds, tuple(self._counts), self._total)
