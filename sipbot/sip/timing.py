"""Timer values of RFC 3261 and one heap of alarms for a whole user agent."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)

# Stale heap entries that are tolerated before the heap is rebuilt.
_HEAP_SLACK: Final = 64


@dataclass(frozen=True, slots=True)
class Timers:
    """RFC 3261 section 17.1.1.1, all in seconds."""

    t1: float = 0.5  # estimate of a round trip
    t2: float = 4.0  # longest interval between non-INVITE requests and INVITE responses
    t4: float = 5.0  # longest time a message stays in the network

    @property
    def give_up(self) -> float:
        """64*T1: timers B, F, H, J, L, M, and the end of the 2xx repeats (seconds)."""
        return 64 * self.t1


class Alarms(Generic[K]):
    """Deadlines by key, the earliest first. Setting a key again moves its alarm."""

    def __init__(self) -> None:
        self._at: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._order = 0

    def __len__(self) -> int:
        return len(self._at)

    def set(self, key: K, at: float | None) -> None:
        """Arm ``key`` for ``at`` (seconds); None disarms it."""
        if at is None:
            self._at.pop(key, None)
        elif self._at.get(key) != at:
            self._at[key] = at
            self._order += 1
            heapq.heappush(self._heap, (at, self._order, key))
        if len(self._heap) > 2 * len(self._at) + _HEAP_SLACK:
            self._rebuild()

    def get(self, key: K) -> float | None:
        return self._at.get(key)

    def next_deadline(self) -> float | None:
        """When the earliest alarm rings (seconds), None when there is none."""
        heap = self._heap
        while heap:
            at, _, key = heap[0]
            if self._at.get(key) == at:
                return at
            heapq.heappop(heap)
        return None

    def pop_due(self, now: float) -> K | None:
        """Disarm and return the earliest key that is due at ``now``, None when none is."""
        at = self.next_deadline()
        if at is None or at > now:
            return None
        key = heapq.heappop(self._heap)[2]
        del self._at[key]
        return key

    def _rebuild(self) -> None:
        live = []
        for at, order, key in self._heap:
            if self._at.get(key) == at:
                live.append((at, order, key))
        # A key set back to an earlier value may be in there twice; pop_due forgets the second.
        heapq.heapify(live)
        self._heap = live
