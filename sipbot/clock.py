"""The only reader of time. Everything else is handed ``now`` or a ``Clock``."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Source of time."""

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps; its zero means nothing."""
        ...

    def wall(self) -> float:
        """Seconds since 1970-01-01 00:00 UTC."""
        ...


class SystemClock:
    """The machine's clocks. ``monotonic`` is the one that asyncio's event loops use."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()


def process_cpu_s() -> float:
    """Seconds of CPU time that this process has used, all its threads together."""
    return time.process_time()
