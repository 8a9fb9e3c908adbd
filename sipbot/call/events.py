"""What an agent hears of its call besides audio, and how calls end for it."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final, TypeAlias

from sipbot.call.leg import EndReason
from sipbot.errors import LocalProtocolError, SipbotError

MAX_WAITING_EVENTS: Final = 1_000  # a caller cannot type that much ahead


class CallEnded(SipbotError):  # no error for an agent
    """The call is over, so that what was asked for cannot happen. No error for an agent."""

    def __init__(self, reason: EndReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class TransferRefused(SipbotError):  # named for what happened
    """The transfer did not happen and the call goes on. ``detail`` is a constant text."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail or "refused")
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Dtmf:
    """The caller pressed a key: one of ``0123456789*#ABCD``."""

    digit: str


@dataclass(frozen=True, slots=True)
class MarkReached:
    """All audio queued before ``Call.mark(name)`` is gone: ``played``, or else cleared."""

    name: str
    played: bool


@dataclass(frozen=True, slots=True)
class Held:
    """The caller put the call on hold: speech and audio wait until ``Resumed``."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """The caller took the call off hold."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The call is over. Always the last event."""

    reason: EndReason


CallEvent: TypeAlias = Dtmf | MarkReached | Held | Resumed | Ended


class EventStream:
    """The events of one call, in order, each given out once: ``async for event in stream``.

    Stops after ``Ended``. Only one task may wait at a time. When more than
    ``MAX_WAITING_EVENTS`` wait, new ones but ``Ended`` are dropped and counted in ``dropped``.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self.keys_waiting = 0  # Dtmf events not yet taken
        self._events: deque[CallEvent] = deque()
        self._closed = False
        self._waiter: asyncio.Future[None] | None = None

    def put(self, event: CallEvent) -> None:
        if self._closed:
            return
        if isinstance(event, Ended):
            self._closed = True
        elif len(self._events) >= MAX_WAITING_EVENTS:
            self.dropped += 1
            return
        self.keys_waiting += isinstance(event, Dtmf)
        self._events.append(event)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> CallEvent:
        while not self._events:
            if self._closed:
                raise StopAsyncIteration
            await self._wait()
        event = self._events.popleft()
        self.keys_waiting -= isinstance(event, Dtmf)
        return event

    async def _wait(self) -> None:
        if self._waiter is not None:
            raise LocalProtocolError("another task already waits for this call's events")
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
