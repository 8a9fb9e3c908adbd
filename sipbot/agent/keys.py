"""Reads what callers type, with time limits and typing ahead."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final

from sipbot.call.call import Call
from sipbot.call.events import CallEnded, Dtmf, Held, Resumed
from sipbot.call.leg import EndReason

FINISH_GRACE_S: Final = 1.0  # seconds in which the finish key after the last digit is swallowed


@dataclass(frozen=True, slots=True)
class Typed:
    """``keys`` without the finish key; ``complete`` when there were enough of them."""

    keys: str
    complete: bool


class KeyReader:
    """The keys of one call, in order. Marks in the call's events are passed over."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._returned: deque[str] = deque()

    @property
    def waiting(self) -> bool:
        """Whether the caller typed ahead."""
        return bool(self._returned) or self._call.keys_waiting > 0

    async def key(self, timeout_s: float) -> str | None:
        """The next key, or None when none comes in time. The clock stands still during hold.

        Raises ``CallEnded``.
        """
        if self._returned:
            return self._returned.popleft()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_s) as limit:
                async for event in self._call.events():
                    match event:
                        case Dtmf(digit=digit):
                            return digit
                        case Held():
                            limit.reschedule(None)
                        case Resumed():
                            limit.reschedule(loop.time() + timeout_s)
        except TimeoutError:
            return None
        raise CallEnded(self._call.end_reason or EndReason.CALLER_HUNG_UP)

    async def keys(
        self,
        min_keys: int,
        max_keys: int,
        *,
        finish: str | None = None,
        first_s: float = 6.0,
        further_s: float = 3.0,
    ) -> Typed:
        """Several keys: until ``finish``, ``max_keys``, or no key for ``further_s`` seconds."""
        typed = ""
        while len(typed) < max_keys:
            key = await self.key(further_s if typed else first_s)
            if key is None or key == finish:
                return Typed(typed, len(typed) >= min_keys)
            typed += key
        if finish is not None and min_keys < max_keys:
            extra = await self.key(FINISH_GRACE_S)
            if extra is not None and extra != finish:
                self._returned.append(extra)
        return Typed(typed, True)

    async def forget(self) -> None:
        """Drop what was typed ahead."""
        self._returned.clear()
        while self._call.keys_waiting:
            await self.key(1.0)
