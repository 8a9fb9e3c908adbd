"""Logs of a child process: to the error stream that all processes share, whole lines at a time."""

from __future__ import annotations

import io
import os
from typing import Final, TextIO, cast

import structlog

from sipbot.ops import logs
from sipbot.ops.config import LoggingConfig

_STDERR: Final = 2


class SharedLines(io.TextIOBase):
    """Writes each line by a system call of its own.

    A pipe keeps writes of up to 4096 bytes (PIPE_BUF) of several processes apart, a file opened
    for appending all of them. Whatever cannot be written raises OSError.
    """

    def write(self, text: str) -> int:
        for line in text.splitlines(keepends=True):
            data = line.encode("utf-8", "replace")
            while data:
                data = data[os.write(_STDERR, data) :]
        return len(text)

    def isatty(self) -> bool:
        return os.isatty(_STDERR)


def configure(settings: LoggingConfig, **process: int) -> None:
    """Set up the logs; every line carries ``process``, for example ``worker=3``."""
    logs.configure(settings.level, settings.format, cast(TextIO, SharedLines()))
    structlog.contextvars.bind_contextvars(**process)
