"""Who is woken when audio moved: one eventfd a worker, written at most once a tick."""

from __future__ import annotations

import asyncio
import os
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sipbot.legs.stream_audio import SlotWaiters
from sipbot.media.rings import RingBlock

MAX_ROWS: Final = 1_024  # workers that may be known at a time, those that go included
_HERE: Final = 0  # owner of slots whose audio this process itself waits for


class EdgeWakeups:
    """The edge's side: after each tick, tells those workers whose slots moved.

    Slots that belong to no worker wake the waiters of this process.
    """

    def __init__(self, slots: int, here: SlotWaiters) -> None:
        self._owner = np.zeros(slots, dtype=np.intp)  # row of the worker, or _HERE
        self._eventfds: dict[int, int] = {}  # by row
        self._here = here

    def add(self, eventfd: int) -> int:
        """Take over a worker's eventfd; returns its row."""
        row = next(row for row in range(1, MAX_ROWS) if row not in self._eventfds)
        self._eventfds[row] = eventfd
        return row

    def remove(self, row: int) -> None:
        """Forget a worker; its slots are ours from now on."""
        self._owner[self._owner == row] = _HERE
        os.close(self._eventfds.pop(row))

    def give(self, slot: int, row: int) -> None:
        """From now on the worker of ``row`` waits for ``slot``."""
        self._owner[slot] = row

    def take_back(self, slot: int) -> None:
        """From now on this process itself waits for ``slot``."""
        self._owner[slot] = _HERE

    def wake(self, moved: NDArray[np.intp]) -> None:
        """Tell everybody concerned of one tick."""
        owners = self._owner[moved]
        rows = np.flatnonzero(np.bincount(owners)).tolist()
        for row in rows:
            if row == _HERE:
                self._here.wake(moved[owners == _HERE])
            else:
                os.eventfd_write(self._eventfds[row], 1)

    def close(self) -> None:
        for row in tuple(self._eventfds):
            self.remove(row)


class WorkerWakeups:
    """A worker's side: looks at its slots when the eventfd says so, and wakes who can go on."""

    def __init__(self, eventfd: int, rx: RingBlock, tx: RingBlock, waiters: SlotWaiters) -> None:
        self._eventfd, self._rx, self._waiters = eventfd, rx, waiters
        self._watched: set[int] = set()
        self._slots = np.empty(0, dtype=np.intp)
        self._loop = asyncio.get_running_loop()
        os.set_blocking(eventfd, False)
        self._loop.add_reader(eventfd, self._woken)

    def watch(self, slot: int) -> None:
        """A call with this slot begins."""
        self._watched.add(slot)
        self._arrange()

    def unwatch(self, slot: int) -> None:
        """It is over."""
        self._watched.discard(slot)
        self._arrange()

    def close(self) -> None:
        self._loop.remove_reader(self._eventfd)
        os.close(self._eventfd)

    def _arrange(self) -> None:
        self._slots = np.array(sorted(self._watched), dtype=np.intp)

    def _woken(self) -> None:
        try:
            os.eventfd_read(self._eventfd)
        except BlockingIOError:
            return
        slots, waiters = self._slots, self._waiters
        if waiters.writers:
            waiters.wake_writers()
        waiters.wake_readers(slots[self._rx.head[slots] > self._rx.tail[slots]])
