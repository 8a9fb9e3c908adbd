"""Where the HTTP interface gets what it shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sipbot.ops.status import ProcessStatus, Status


class Source(Protocol):
    """Everything here lies ready: asking must cost next to nothing."""

    def reasons(self) -> tuple[str, ...]:
        """Rules that forbid new calls now; none when calls are taken."""
        ...

    def status(self) -> Status | None:
        """The latest status; None before the first one."""
        ...

    def processes(self) -> Sequence[ProcessStatus]:
        """The processes that live."""
        ...
