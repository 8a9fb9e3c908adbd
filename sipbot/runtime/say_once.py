"""Lets the first of many equal events be logged, so that a flood does not fill the log."""

from __future__ import annotations

from typing import Final

MAX_NAMED: Final = 1_024  # pairs remembered; then the oldest is forgotten


class SayOnce:
    """Remembers pairs of a rule and an address."""

    def __init__(self) -> None:
        self._named: dict[tuple[str, str], None] = {}

    def __len__(self) -> int:
        return len(self._named)

    def is_first(self, rule: str, ip: str) -> bool:
        """Whether this pair is new."""
        if (rule, ip) in self._named:
            return False
        if len(self._named) >= MAX_NAMED:
            del self._named[next(iter(self._named))]
        self._named[rule, ip] = None
        return True

    def clear(self) -> None:
        self._named.clear()
