"""What was used and what went wrong, counted by provider; labels come from small fixed sets."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from sipbot.errors import ProviderError


class Counts(Protocol):
    """Where to count; the counters that ``/metrics`` shows are one."""

    def count(self, name: str, amount: int = 1, **labels: str) -> int:
        """Add ``amount``; returns the new value."""
        ...


class Tally:
    """Counts in memory, where no other place is given."""

    def __init__(self) -> None:
        self.values: Counter[tuple[str, ...]] = Counter()

    def count(self, name: str, amount: int = 1, **labels: str) -> int:
        """Add ``amount``; the labels' values follow the name, in the order of their names."""
        key = (name, *(labels[label] for label in sorted(labels)))
        self.values[key] += amount
        return self.values[key]


def used(counts: Counts, provider: str, unit: str, amount: int) -> None:
    """Note what a service consumed: ``characters``, ``audio-ms``, ``input-tokens`` …"""
    counts.count("provider_usage", amount, provider=provider, unit=unit)


def failed(counts: Counts, error: ProviderError) -> None:
    """Note an attempt that failed."""
    counts.count("provider_failures", provider=error.provider, reason=error.reason)
