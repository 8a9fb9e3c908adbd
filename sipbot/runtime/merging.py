"""One status out of what edge and workers say, each of its own calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from sipbot.ops.counters import Series
from sipbot.ops.histogram import HistogramValue
from sipbot.ops.status import CounterValue, Status, StreamStatus


def whole(edge: Status, streams: Iterable[StreamStatus]) -> Status:
    """The edge's status with the workers' streams in its calls, counters and times."""
    calls, counters = Counter(edge.calls), dict(edge.counters)
    setup, duration = edge.setup, edge.duration
    for one in streams:
        calls.update(one.calls)
        _add(counters, one.counters)
        setup, duration = _sum(setup, one.setup), _sum(duration, one.duration)
    return replace(
        edge,
        calls=dict(calls),
        counters=tuple(sorted(counters.items())),
        setup=setup,
        duration=duration,
    )


class StreamBook:
    """What the workers said last of their streams. What the dead ones counted stays."""

    def __init__(self) -> None:
        self._last: dict[int, StreamStatus] = {}  # by the worker's number
        self._past: StreamStatus | None = None

    def note(self, worker: int, status: StreamStatus) -> None:
        self._last[worker] = status

    def keep_only(self, workers: Iterable[int]) -> None:
        """These live; the others have no calls any more."""
        for gone in self._last.keys() - set(workers):
            last = replace(self._last.pop(gone), calls={}, trunks={})
            self._past = last if self._past is None else _both(self._past, last)

    def all(self) -> Iterable[StreamStatus]:
        return [*self._last.values(), *([] if self._past is None else [self._past])]

    def trunks(self, but: int | None = None) -> Mapping[str, int]:
        """Streams by trunk, those of one worker left out."""
        found: Counter[str] = Counter()
        for worker, status in self._last.items():
            if worker != but:
                found.update(status.trunks)
        return found


def _both(one: StreamStatus, other: StreamStatus) -> StreamStatus:
    counters = dict(one.counters)
    _add(counters, other.counters)
    return StreamStatus(
        calls={},
        trunks={},
        counters=tuple(sorted(counters.items())),
        setup=_sum(one.setup, other.setup),
        duration=_sum(one.duration, other.duration),
    )


def _add(counts: dict[Series, int], more: Iterable[CounterValue]) -> None:
    for series, value in more:
        counts[series] = counts.get(series, 0) + value


def _sum(one: HistogramValue, other: HistogramValue) -> HistogramValue:
    """Of two histograms with the same bounds; with others the first one stands."""
    if one.bounds != other.bounds:
        return one
    counts = tuple(a + b for a, b in zip(one.counts, other.counts, strict=True))
    return HistogramValue(one.bounds, counts, one.total + other.total)
