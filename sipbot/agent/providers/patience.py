"""How long services may take, and when a request is sent once more.

A request is repeated only while nothing of its answer was handed on, so that nobody hears or reads
anything twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from sipbot.agent.providers.counts import Counts, failed
from sipbot.errors import ProviderError

UNAUTHORISED: Final = frozenset({401, 403})
LIMITED: Final = 429
PASSING: Final = frozenset({408, 409, 425, 500, 502, 503, 504, 529})  # may go through later

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """Limits of one provider, in seconds; ``attempts`` counts the first one too.

    Waits between attempts double from ``wait_s`` and are cut at ``longest_wait_s``. A Retry-After
    counts instead; one that is longer than ``longest_wait_s`` ends the attempts.
    """

    connect_s: float = 2.0
    first_s: float = 4.0  # from the request to the first piece of its answer
    between_s: float = 3.0  # from one piece to the next
    attempts: int = 2
    wait_s: float = 0.1
    longest_wait_s: float = 1.0

    def pause_s(self, attempt: int, error: ProviderError) -> float | None:
        """Seconds to wait after ``attempt`` (from 1); None when there shall be no other one."""
        if not error.retry or attempt >= self.attempts:
            return None
        if error.retry_after_s is None:
            return float(min(self.longest_wait_s, self.wait_s * 2 ** (attempt - 1)))
        return error.retry_after_s if error.retry_after_s <= self.longest_wait_s else None


PATIENT: Final = Patience()


def refusal(provider: str, status: int, headers: Mapping[str, str]) -> ProviderError:
    """The error for an HTTP status that is no success. Bodies are not read: they quote requests."""
    if status in UNAUTHORISED:
        return ProviderError(provider, "unauthorised")
    if status == LIMITED:
        after = _retry_after_s(headers)
        return ProviderError(provider, "rate-limited", retry=True, retry_after_s=after)
    if status in PASSING:
        after = _retry_after_s(headers)
        return ProviderError(provider, "unavailable", retry=True, retry_after_s=after)
    return ProviderError(provider, "refused")


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Retry-After in seconds (RFC 9110 section 10.2.3); dates are not worth reading in a call."""
    text = headers.get("retry-after", "").strip()
    return float(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else None


async def repeated(
    patience: Patience, counts: Counts, attempt: Callable[[], AsyncGenerator[T, None]]
) -> AsyncGenerator[T, None]:
    """What ``attempt`` yields; another attempt when one failed before its first piece."""
    number = 0
    while True:
        number += 1
        begun = False
        pieces = attempt()
        try:
            async for piece in pieces:
                begun = True
                yield piece
            return
        except ProviderError as error:
            failed(counts, error)
            pause_s = patience.pause_s(number, error)
            if begun or pause_s is None:
                raise
        finally:
            await pieces.aclose()
        await asyncio.sleep(pause_s)


async def insisted(patience: Patience, counts: Counts, attempt: Callable[[], Awaitable[T]]) -> T:
    """What ``attempt`` returns, repeated in the same manner."""
    number = 0
    while True:
        number += 1
        try:
            return await attempt()
        except ProviderError as error:
            failed(counts, error)
            pause_s = patience.pause_s(number, error)
            if pause_s is None:
                raise
        await asyncio.sleep(pause_s)


async def in_time(
    provider: str, pieces: AsyncIterator[T], first_by: float, between_s: float
) -> AsyncGenerator[T, None]:
    """``pieces``, the first by the loop's time ``first_by``. Raises ProviderError ``timeout``."""
    loop = asyncio.get_running_loop()
    due = first_by
    while True:
        try:
            async with asyncio.timeout_at(due):
                piece = await anext(pieces)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise ProviderError(provider, "timeout", retry=True) from None
        yield piece
        due = loop.time() + between_s


class Deadline:
    """A time-out that may be set or moved while somebody already waits under it."""

    def __init__(self) -> None:
        self._due: float | None = None
        self._waiting: asyncio.Timeout | None = None

    def within(self, seconds: float | None) -> None:
        """Set the end of all waiting from now; None: wait without end."""
        loop = asyncio.get_running_loop()
        self._due = None if seconds is None else loop.time() + seconds
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(self._due)

    async def wait(self, work: Awaitable[T]) -> T:
        """Await ``work``. Raises TimeoutError when the time is over."""
        async with asyncio.timeout_at(self._due) as waiting:
            self._waiting = waiting
            try:
                return await work
            finally:
                self._waiting = None
