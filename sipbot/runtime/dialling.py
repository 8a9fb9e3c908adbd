"""The port through which calls are made, whichever process sends the INVITE."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from sipbot.outbound.outcome import Outcome


@dataclass(frozen=True, slots=True)
class DialOrder:
    """Whom to call for which agent. ``number`` is canonical; ``rule`` stands in the record."""

    number: str = field(repr=False)
    trunk: str
    agent: str
    rule: str
    ring_s: float
    caller_id: str = ""  # empty: that of the trunk
    parameters: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)


@dataclass(frozen=True, slots=True)
class DialResult:
    """The answer, or why there is none. ``status`` is 0 where no SIP response decided."""

    outcome: Outcome
    status: int = 0
    detail: str = ""
    call_id: str = ""  # of the call that an agent got; empty when none did
    call_sid: str = ""  # the trunk's own id of the call, where it tells


@dataclass(frozen=True, slots=True)
class DialEnd:
    """The end of an answered call. ``reason`` is the value of an ``EndReason``."""

    reason: str
    talk_s: float


class Dialling:
    """One attempt under way. ``cancel`` ends it, ringing or talking."""

    def __init__(self, cancel: Callable[[], None]) -> None:
        self.cancel = cancel
        loop = asyncio.get_running_loop()
        self._result: asyncio.Future[DialResult] = loop.create_future()
        self._end: asyncio.Future[DialEnd] = loop.create_future()

    async def result(self) -> DialResult:
        """Wait for the answer or the failure."""
        return await asyncio.shield(self._result)

    async def ended(self) -> DialEnd:
        """Wait for the end of a call that was answered."""
        return await asyncio.shield(self._end)

    # For whoever dials.

    def settle(self, result: DialResult) -> None:
        if not self._result.done():
            self._result.set_result(result)

    def finish(self, end: DialEnd) -> None:
        if not self._end.done():
            self._end.set_result(end)


class Dials(Protocol):
    """Makes calls."""

    def dial(self, order: DialOrder) -> Dialling:
        """Begin an attempt. Nothing is raised: what goes wrong is its result."""
        ...
