"""``LegAudio`` over a stream of the media plane, and the waking of those who wait for it.

The plane reports once a tick which slots moved; ``SlotWaiters.wake`` then resumes the readers and
writers of just those slots. Nobody polls, and no task exists for a frame.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from sipbot.call.leg import Pcm

_NOTHING: Final = np.empty(0, dtype=np.int16)


class AudioSlot(Protocol):
    """One call's place in the rings: a ``MediaStream`` beside the plane, elsewhere a ``RingSlot``.

    Samples are ``numpy.int16``; positions count samples since the slot was allocated.
    """

    @property
    def slot(self) -> int: ...

    @property
    def rate(self) -> int: ...

    @property
    def readable(self) -> bool: ...

    def read(self) -> Pcm: ...

    def write(self, pcm: Pcm) -> int: ...

    def clear(self) -> None: ...

    @property
    def received(self) -> int: ...

    @property
    def written(self) -> int: ...

    @property
    def consumed(self) -> int: ...

    @property
    def played(self) -> int: ...


class _Closed:
    """In place of a stream that was closed and its slot given away: what its counters said."""

    readable = False

    def __init__(self, stream: AudioSlot) -> None:
        self.slot, self.rate = stream.slot, stream.rate
        self.received, self.written = stream.received, stream.written
        self.consumed, self.played = stream.consumed, stream.played

    def read(self) -> Pcm:
        return _NOTHING

    def write(self, pcm: Pcm) -> int:
        return 0

    def clear(self) -> None:
        """Nothing is left to clear."""


class StreamAudio:
    """Both directions of one media stream, as an agent's call wants them.

    At most one task reads at a time; any number may wait for a played position.
    """

    __slots__ = (
        "_ended",
        "_loop",
        "_positions",
        "_stream",
        "_waiters",
        "read",
        "reader",
        "write",
    )

    def __init__(self, stream: AudioSlot, waiters: SlotWaiters) -> None:
        self._stream: AudioSlot = stream
        self._waiters = waiters
        # Bound once: a call reads and writes fifty times a second.
        self.read: Callable[[], Pcm] = stream.read
        self.write: Callable[[Pcm], int] = stream.write
        self.reader: asyncio.Future[bool] | None = None  # for SlotWaiters alone
        self._positions: list[tuple[int, asyncio.Future[bool]]] = []
        self._ended = False
        self._loop: asyncio.AbstractEventLoop | None = None
        waiters.register(stream.slot, self)

    @property
    def slot(self) -> int:
        """Which ring it is."""
        return self._stream.slot

    @property
    def rate(self) -> int:
        return self._stream.rate

    @property
    def received(self) -> int:
        return self._stream.received

    @property
    def written(self) -> int:
        return self._stream.written

    @property
    def consumed(self) -> int:
        return self._stream.consumed

    @property
    def played(self) -> int:
        return self._stream.played

    async def wait_readable(self) -> bool:
        if self._stream.readable:
            return True
        if self._ended:
            return False
        self.reader = reader = self._future()
        return await reader

    async def wait_consumed(self, position: int) -> bool:
        if self.consumed >= position:
            return True
        if self._ended:
            return False
        reached = self._future()
        self._positions.append((position, reached))
        self._waiters.writers.add(self.slot)
        return await reached

    async def clear(self) -> int:
        """Discard what waits; returns once the plane, which alone moves the tail, has done so."""
        if self._ended:
            return 0
        cleared, target = self.consumed - self.played, self.written
        self._stream.clear()
        await self.wait_consumed(target)
        return self.consumed - self.played - cleared

    def wake(self) -> None:
        """The plane moved this slot: resume whoever waits for what is now true."""
        reader = self.reader
        if reader is not None and self._stream.readable:
            self.reader = None
            if not reader.done():
                reader.set_result(True)
        if self._positions:
            self.wake_writers()

    def wake_writers(self) -> None:
        """The plane took audio: resume those who wait for what is now gone."""
        consumed = self._stream.consumed
        waiting = []
        for position, waiter in self._positions:
            if consumed < position:
                waiting.append((position, waiter))
            elif not waiter.done():
                waiter.set_result(True)
        self._positions = waiting
        if not waiting:
            self._waiters.writers.discard(self.slot)

    def _future(self) -> asyncio.Future[bool]:
        # The loop is remembered, for asking for it is a system call (Python 3.11 looks for forks).
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop.create_future()

    def end(self) -> None:
        """The stream is about to be closed: remember its counters and let everybody go."""
        if self._ended:
            return
        self._waiters.unregister(self._stream.slot)
        self._stream, self._ended = _Closed(self._stream), True
        self.read, self.write = self._stream.read, self._stream.write
        self.wake_writers()
        for _, waiter in self._positions:
            if not waiter.done():
                waiter.set_result(False)
        self._positions.clear()
        self._waiters.writers.discard(self.slot)
        if self.reader is not None and not self.reader.done():
            self.reader.set_result(False)
        self.reader = None


class SlotWaiters:
    """Who waits on which slot of the plane. ``writers``: slots of which a position is awaited."""

    def __init__(self, slots: int) -> None:
        self.writers: set[int] = set()
        self._audio: list[StreamAudio | None] = [None] * slots

    def register(self, slot: int, audio: StreamAudio) -> None:
        self._audio[slot] = audio

    def unregister(self, slot: int) -> None:
        self._audio[slot] = None

    def wake(self, slots: NDArray[np.intp]) -> None:
        """Resume the waiters of ``slots``, the plane's report of one tick."""
        table = self._audio
        for slot in slots.tolist():
            audio = table[slot]
            if audio is not None:
                audio.wake()

    def wake_readers(self, slots: NDArray[np.intp]) -> None:
        """Resume those who wait for audio of ``slots``, all of which have some."""
        table = self._audio
        for slot in slots.tolist():
            audio = table[slot]
            if audio is None:
                continue
            reader = audio.reader
            if reader is not None:
                audio.reader = None
                if not reader.done():
                    reader.set_result(True)

    def wake_writers(self) -> None:
        """Resume those whose audio is gone."""
        for slot in tuple(self.writers):
            audio = self._audio[slot]
            if audio is not None:
                audio.wake_writers()
