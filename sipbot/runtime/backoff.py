"""How long to wait before something that ended is started again."""

from __future__ import annotations

from typing import Final

FIRST_S: Final = 0.5  # seconds, after the second end in a row
LONGEST_S: Final = 30.0  # seconds
HEALTHY_S: Final = 60.0  # seconds of life after which past ends are forgotten


class Backoff:
    """At once for the first time, then after 0.5 s, 1 s, 2 s … up to 30 s."""

    def __init__(self) -> None:
        self._next_s = 0.0

    def after(self, lived_s: float) -> float:
        """Seconds to wait after something ended that lived so long."""
        if lived_s >= HEALTHY_S:
            self._next_s = 0.0
        wait_s = self._next_s
        self._next_s = min(max(2 * wait_s, FIRST_S), LONGEST_S)
        return wait_s
