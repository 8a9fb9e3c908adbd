"""What a conversation waits for: events from its tasks, and moments in time."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Generic, TypeVar

E = TypeVar("E")
MAX_WAITING: Final = 1_000  # events; more are dropped and counted


class Inbox(Generic[E]):
    """Events in order, with one reader."""

    def __init__(self) -> None:
        self.dropped = 0
        self._events: deque[E] = deque()
        self._news = asyncio.Event()

    def put(self, event: E) -> None:
        """Never waits."""
        if len(self._events) >= MAX_WAITING:
            self.dropped += 1
            return
        self._events.append(event)
        self._news.set()

    async def get(self, until: float | None) -> E | None:
        """The next event, or None once it is ``until`` (loop time)."""
        if not self._events:
            self._news.clear()
            try:
                async with asyncio.timeout_at(until):
                    await self._news.wait()
            except TimeoutError:
                return None
        return self._events.popleft()


class Alarms:
    """Moments by name, on the event loop's clock."""

    def __init__(self) -> None:
        self._at: dict[str, float] = {}

    def set(self, name: str, at: float) -> None:
        """Replaces an earlier one of this name."""
        self._at[name] = at

    def unset(self, *names: str) -> None:
        for name in names:
            self._at.pop(name, None)

    def next(self) -> float | None:
        """When the first is due."""
        return min(self._at.values(), default=None)

    def due(self, now: float) -> list[str]:
        """Names that are due, the earliest first; they are dropped."""
        names = sorted((at, name) for name, at in self._at.items() if at <= now)
        for _, name in names:
            del self._at[name]
        return [name for _, name in names]
