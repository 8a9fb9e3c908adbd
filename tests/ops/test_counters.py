"""Counters: labels, sums, the bound, names that Prometheus takes."""

from __future__ import annotations

import pytest

from sipbot.errors import LocalProtocolError
from sipbot.ops.counters import MAX_SERIES, OVERFLOW, Counters


def test_counts_by_name_and_labels() -> None:
    counters = Counters()
    assert counters.count("refused", rule="not-a-trunk", transport="udp") == 1
    assert counters.count("refused", transport="udp", rule="not-a-trunk") == 2
    counters.count("refused", 3, rule="full", transport="tcp")
    counters.count("calls")
    assert counters.value("refused") == 5
    assert counters.value("refused", rule="full") == 3
    assert counters.value("nothing") == 0
    assert dict(counters.snapshot()) == {
        "calls": 1,
        'refused{rule="full",transport="tcp"}': 3,
        'refused{rule="not-a-trunk",transport="udp"}': 2,
    }


@pytest.mark.parametrize("name", ["", "Refused", "not-a-name", "9lives"])
def test_names_fit_prometheus(name: str) -> None:
    with pytest.raises(LocalProtocolError, match="lower case"):
        Counters().count(name)


def test_series_are_bounded() -> None:
    counters = Counters()
    for number in range(MAX_SERIES + 10):
        counters.count("refused", rule=f"rule-{number}")
    assert counters.value(OVERFLOW) == 10
    assert len(counters.snapshot()) == MAX_SERIES + 1
