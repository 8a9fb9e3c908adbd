"""Faults of the media clock in the log, without flooding it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sipbot.ops.counters import Counters
from sipbot.ops.logs import Logger

FAULT_LOG_EVERY: Final = 1_000  # of the media clock's faults, how many share a log line


def fault_logger(log: Logger, counters: Counters) -> Callable[[Exception], None]:
    """What the media clock tells of exceptions."""

    def on_error(error: Exception) -> None:
        if counters.count("faults", where="media-clock") % FAULT_LOG_EVERY == 1:
            log.error("media clock fault", error=repr(error))

    return on_error
