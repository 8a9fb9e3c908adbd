"""``LegAudio`` over a stream of messages: two bounded queues, and who waits for what."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import numpy as np

from sipbot.call.leg import Pcm
from sipbot.legs.voicebot_line import MARK_WAIT_S, PlayLine

QUEUE_S: Final = 2.04  # seconds of audio that each direction holds
SAMPLE_BYTES: Final = 2
_SOON_S: Final = 0.001  # seconds; the least that a waiter's alarm is set ahead


class VoicebotAudio:
    """Both directions of one stream at ``rate`` Hz. Nothing moves before ``open``.

    At most one task reads at a time; any number may wait for a played position. ``changed`` is
    called whenever there is something new to send.
    """

    def __init__(self, rate: int, changed: Callable[[], None]) -> None:
        self._rate, self._changed = rate, changed
        self.line = PlayLine(rate)
        self.overruns = 0  # samples that the reader was too slow for
        self.last_write = 0.0  # loop time
        self.clear_wanted = False  # the peer must be told to drop what it has
        self._most = round(rate * QUEUE_S) * SAMPLE_BYTES
        self._in, self._out = bytearray(), bytearray()
        self._received = self._written = self._cleared = 0
        self._open = self._ended = False
        self._final_played = 0
        self._reader: asyncio.Future[bool] | None = None
        self._positions: list[tuple[int, asyncio.Future[bool]]] = []
        self._alarm: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    # --- the port -------------------------------------------------------------------------------

    @property
    def rate(self) -> int:
        return self._rate

    @property
    def received(self) -> int:
        return self._received

    @property
    def written(self) -> int:
        return self._written

    @property
    def consumed(self) -> int:
        return self.played + self._cleared

    @property
    def played(self) -> int:
        return self._final_played if self._ended else self.line.played(self._loop.time())

    def read(self) -> Pcm:
        arrived, self._in = self._in, bytearray()
        return np.frombuffer(arrived, np.int16)

    async def wait_readable(self) -> bool:
        if self._ended:
            return False
        if self._in:
            return True
        self._reader = self._loop.create_future()
        return await self._reader

    def write(self, pcm: Pcm) -> int:
        if not self._open or self._ended:
            return 0
        count = min(len(pcm), (self._most - len(self._out)) // SAMPLE_BYTES)
        if count > 0:
            self._out += pcm[:count].tobytes()
            self._written += count
            self.last_write = self._loop.time()
            self._changed()
        return count

    async def wait_consumed(self, position: int) -> bool:
        if self.consumed >= position:
            return True
        if self._ended:
            return False
        reached: asyncio.Future[bool] = self._loop.create_future()
        self._positions.append((position, reached))
        self.moved()
        self._changed()
        return await reached

    async def clear(self) -> int:
        """Discard what waits here, and have the peer discard what it has not begun to play."""
        if self._ended:
            return 0
        now = self._loop.time()
        if self.line.sent and now < self.line.end + MARK_WAIT_S:
            self.clear_wanted = True
        unheard = len(self._out) // SAMPLE_BYTES + self.line.clear(now)
        self._out.clear()
        self._cleared += unheard
        self._changed()
        self.moved()
        return unheard

    # --- for the leg ----------------------------------------------------------------------------

    def open(self) -> None:
        """The call is answered."""
        self._open = True

    def arrive(self, pcm: bytes) -> None:
        """The caller's audio, whole samples as they lie in memory here; the oldest is lost when
        nobody reads."""
        if not self._open or self._ended or not pcm:
            return
        self._received += len(pcm) // SAMPLE_BYTES
        self._in += pcm
        excess = len(self._in) - self._most
        if excess > 0:
            del self._in[:excess]
            self.overruns += excess // SAMPLE_BYTES
        if self._reader is not None:
            reader, self._reader = self._reader, None
            if not reader.done():
                reader.set_result(True)

    @property
    def urgent(self) -> bool:
        """Whether there is something to send, or to wait for."""
        return bool(self._out or self._positions or self.clear_wanted)

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for a position to be played."""
        return bool(self._positions)

    @property
    def queued(self) -> int:
        """Samples that wait to be sent."""
        return len(self._out) // SAMPLE_BYTES

    def take(self, samples: int) -> bytes:
        """Take up to so many of them, as they lie in memory here."""
        size = samples * SAMPLE_BYTES
        taken = bytes(self._out[:size])
        del self._out[:size]
        return taken

    def moved(self) -> None:
        """Something was sent, played or cleared: resume those for whom it is enough."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if not self._positions or self._ended:
            return
        consumed, waiting = self.consumed, []
        for position, waiter in self._positions:
            if waiter.done():
                continue
            if consumed >= position:
                waiter.set_result(True)
            else:
                waiting.append((position, waiter))
        self._positions = waiting
        self._set_alarm()

    def end(self) -> None:
        """The leg is over: counters stand still and everybody may go."""
        if self._ended:
            return
        self._final_played = self.line.played(self._loop.time())
        self._ended = True
        self._out.clear()
        self._in.clear()
        if self._alarm is not None:
            self._alarm.cancel()
        consumed = self.consumed
        for position, waiter in self._positions:
            if not waiter.done():
                waiter.set_result(consumed >= position)
        self._positions.clear()
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(False)
        self._reader = None

    def _set_alarm(self) -> None:
        if not self._positions:
            return
        now = self._loop.time()
        nearest = min(position for position, _ in self._positions)
        when = self.line.when(nearest - self._cleared, now)
        if when is not None:
            self._alarm = self._loop.call_at(max(when, now + _SOON_S), self.moved)
