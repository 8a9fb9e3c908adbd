"""Histograms: which bound a value falls under."""

from __future__ import annotations

from sipbot.ops.histogram import Histogram, HistogramValue


def test_a_value_at_a_bound_is_within_it() -> None:
    histogram = Histogram((0.5, 1.0))
    for seconds in (0.1, 0.5, 0.75, 1.0, 4.0):
        histogram.observe(seconds)
    assert histogram.value == HistogramValue((0.5, 1.0), (2, 2, 1), 6.35)
