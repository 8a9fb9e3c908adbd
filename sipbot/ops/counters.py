"""Named counters for what was refused, dropped or done, each with its rule.

Names and labels follow the rules of Prometheus, so that an exporter can show them as they are:
``count("refused", rule="not-a-trunk")`` becomes ``sipbot_refused_total{rule="not-a-trunk"}``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, TypeAlias

from sipbot.errors import LocalProtocolError

MAX_SERIES: Final = 1_000  # different names and labels; more go to OVERFLOW
OVERFLOW: Final = "counter_overflow"
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")

Series: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]


class Counters:
    """Counts that only grow. Labels must come from small fixed sets, never from the network."""

    def __init__(self) -> None:
        self._counts: dict[Series, int] = {}

    def count(self, name: str, amount: int = 1, **labels: str) -> int:
        """Add ``amount`` to a counter; returns its new value."""
        series: Series = (name, tuple(sorted(labels.items())))
        if series not in self._counts:
            if not all(_NAME.fullmatch(text) for text in (name, *labels)):
                raise LocalProtocolError("counter and label names are lower case with underscores")
            if len(self._counts) >= MAX_SERIES:
                series = (OVERFLOW, ())
        value = self._counts[series] = self._counts.get(series, 0) + amount
        return value

    def value(self, name: str, **labels: str) -> int:
        """One counter, or the sum of those that have all of ``labels``."""
        wanted = labels.items()
        return sum(
            value
            for (found, series), value in self._counts.items()
            if found == name and wanted <= dict(series).items()
        )

    def series(self) -> tuple[tuple[Series, int], ...]:
        """All counters, in order."""
        return tuple(sorted(self._counts.items()))

    def snapshot(self) -> Mapping[str, int]:
        """All counters by their Prometheus text: ``refused{rule="not-a-trunk"}``."""
        return {_text(series): value for series, value in sorted(self._counts.items())}


def _text(series: Series) -> str:
    name, labels = series
    shown = ",".join(f'{key}="{value}"' for key, value in labels)
    return f"{name}{{{shown}}}" if shown else name
