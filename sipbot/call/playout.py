"""The outgoing half of a call: who may speak when, and what was really heard.

Speech and audio leave in the order in which they were asked for. The leg's counters are the only
truth about what was heard: ``played`` moves when samples leave towards the peer, ``consumed`` also
when they are cleared.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np

from sipbot.call.events import CallEnded, MarkReached
from sipbot.call.leg import EndReason, LegAudio, Pcm
from sipbot.call.resample import EMPTY, Resampler
from sipbot.call.scope import Scope
from sipbot.call.speech import Said, SpeechChunk
from sipbot.errors import LocalProtocolError

REFILL_MS: Final = 100  # a writer facing a full leg comes back after this much was played
MAX_MARKS: Final = 1_000  # marks not yet reached
_INT16: Final = np.dtype(np.int16)
_WIRE: Final = np.dtype("<i2")  # of audio as bytes


@dataclass(slots=True)
class _Speech:
    """One text under way. Sample counts are at the leg's rate."""

    interruptible: bool
    clears: int  # how often the line had been cleared when this was asked for
    keys: int  # how many keys had been pressed then
    made: int = 0  # samples that the synthesiser gave
    written: int = 0  # samples that the leg took
    ahead: int = 0  # ``played`` at which its first sample leaves


@dataclass(frozen=True, slots=True)
class _Mark:
    name: str
    position: int  # of ``consumed``
    due: int  # ``played`` when nothing is cleared before


class Playout:
    """Queues audio on a leg. ``emit`` hears of marks."""

    def __init__(self, audio: LegAudio, emit: Callable[[MarkReached], None]) -> None:
        self._audio, self._rate, self._emit = audio, audio.rate, emit
        self._turns = asyncio.Lock()
        self._users = 0  # who have the turn or wait for it
        self._clears = self._keys = 0
        self._speaking: tuple[_Speech, Scope] | None = None
        self._marks: deque[_Mark] = deque()
        self._watcher: asyncio.Task[None] | None = None
        self._resampler: Resampler | None = None  # of ``play``
        self._ended: EndReason | None = None

    @property
    def waiting(self) -> int:
        """Samples in the leg that were not played yet."""
        return self._audio.written - self._audio.consumed

    @property
    def waiting_ms(self) -> int:
        """The same in milliseconds."""
        return (self._audio.written - self._audio.consumed) * 1000 // self._rate

    async def play(self, pcm: Pcm | bytes, rate: int) -> None:
        """Queue audio; returns once the leg took all of it, or the line was cleared."""
        if self._ended is not None:
            raise CallEnded(self._ended)
        clears = self._clears
        if self._users == 0:
            samples = self._at_leg_rate(pcm, rate)
            taken = self._audio.write(samples)
            if taken == len(samples):
                return
            async with self._turn():
                await self._write(samples[taken:], clears)
            return
        async with self._turn():
            if self._clears == clears:
                await self._write(self._at_leg_rate(pcm, rate), clears)

    async def speak(self, chunks: AsyncGenerator[SpeechChunk, None], interruptible: bool) -> Said:
        """Play speech while it is being made; returns once it was heard or interrupted."""
        self._check()
        speech = _Speech(interruptible, self._clears, self._keys)
        async with aclosing(chunks), self._turn():
            if self._is_stale(speech):
                return Said(0, 0, True)
            await self._flush()
            speech.ahead = self._audio.played + self.waiting
            try:
                interrupted = await self._deliver(chunks, speech)
            except asyncio.CancelledError:
                await self._discard()
                raise
            if interrupted:
                await self._discard()
            return self._said(speech, interrupted)

    async def clear(self) -> int:
        """Discard everything asked for before; returns samples that the leg had but not played."""
        self._clears += 1
        self._resampler = None
        if self._speaking is not None:
            self._speaking[1].interrupt()
        return await self._discard()

    def key_pressed(self) -> None:
        """The caller pressed a key: interruptible speech ends."""
        self._keys += 1
        if self._speaking is not None and self._speaking[0].interruptible:
            self._speaking[1].interrupt()

    async def drain(self) -> None:
        """Wait until everything asked for before was played."""
        self._check()
        async with self._turn():
            await self._flush()
            await self._consumed(self._audio.written)

    async def mark(self, name: str) -> None:
        """Emit ``MarkReached(name)`` once everything asked for before is gone."""
        self._check()
        if len(self._marks) >= MAX_MARKS:
            raise LocalProtocolError("too many marks are waiting")
        async with self._turn():
            await self._flush()
            due = self._audio.played + self.waiting
            self._marks.append(_Mark(name, self._audio.written, due))
        if self._watcher is None or self._watcher.done():
            self._watcher = asyncio.create_task(self._watch_marks())

    def end(self, reason: EndReason) -> None:
        """The leg is over: marks settle, and whoever waits here gets ``CallEnded``."""
        self._ended = reason
        self._settle(len(self._marks))
        if self._watcher is not None:
            self._watcher.cancel()
        if self._speaking is not None:
            self._speaking[1].interrupt()

    async def _deliver(self, chunks: AsyncIterator[SpeechChunk], speech: _Speech) -> bool:
        """Returns whether it was interrupted."""
        async with Scope() as scope:
            self._speaking = (speech, scope)
            try:
                await self._feed(chunks, speech)
                await self._consumed(self._audio.written)
            finally:
                self._speaking = None
        self._check()
        return scope.interrupted

    async def _feed(self, chunks: AsyncIterator[SpeechChunk], speech: _Speech) -> None:
        resampler: Resampler | None = None
        async for chunk in chunks:
            pcm = chunk.pcm
            if chunk.rate != self._audio.rate:
                resampler = resampler or Resampler(chunk.rate, self._audio.rate)
                pcm = resampler.push(pcm)
            await self._utter(pcm, speech)
        if resampler is not None:
            await self._utter(resampler.flush(), speech)

    async def _utter(self, pcm: Pcm, speech: _Speech) -> None:
        speech.made += len(pcm)
        before = self._audio.written
        try:
            await self._write(pcm, speech.clears)
        finally:
            speech.written += self._audio.written - before

    async def _write(self, samples: Pcm, clears: int) -> None:
        audio = self._audio
        done = audio.write(samples)
        refill = audio.rate * REFILL_MS // 1000
        while done < len(samples):
            self._check()
            await self._consumed(audio.consumed + min(len(samples) - done, refill))
            if self._clears != clears:
                return
            done += audio.write(samples[done:])

    async def _consumed(self, position: int) -> None:
        if not await self._audio.wait_consumed(position):
            raise CallEnded(self._ended or EndReason.CALLER_HUNG_UP)

    async def _flush(self) -> None:
        """Hand over what the resampler of ``play`` still holds."""
        if self._resampler is not None:
            resampler, self._resampler = self._resampler, None
            await self._write(resampler.flush(), self._clears)

    async def _discard(self) -> int:
        unheard = await self._audio.clear()
        self._settle(sum(mark.position <= self._audio.consumed for mark in self._marks))
        return unheard

    async def _watch_marks(self) -> None:
        while self._marks:
            if not await self._audio.wait_consumed(self._marks[0].position):
                return
            self._settle(sum(mark.position <= self._audio.consumed for mark in self._marks))

    def _settle(self, count: int) -> None:
        for _ in range(count):
            mark = self._marks.popleft()
            self._emit(MarkReached(mark.name, self._audio.played >= mark.due))

    def _said(self, speech: _Speech, interrupted: bool) -> Said:
        heard = min(max(self._audio.played - speech.ahead, 0), speech.written)
        rate = self._audio.rate
        return Said(heard * 1000 // rate, speech.made * 1000 // rate, interrupted)

    def _is_stale(self, speech: _Speech) -> bool:
        self._check()
        pressed = speech.interruptible and speech.keys != self._keys
        return pressed or speech.clears != self._clears

    def _check(self) -> None:
        if self._ended is not None:
            raise CallEnded(self._ended)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        self._users += 1
        try:
            async with self._turns:
                self._check()
                yield
        finally:
            self._users -= 1

    def _at_leg_rate(self, pcm: Pcm | bytes, rate: int) -> Pcm:
        samples = pcm if isinstance(pcm, np.ndarray) else np.frombuffer(pcm, _WIRE)
        if samples.dtype != _INT16 or samples.ndim != 1:
            raise TypeError("audio must be one-dimensional int16")
        resampler = self._resampler
        if resampler is None and rate == self._rate:
            return samples
        if resampler is not None and resampler.rate_in == rate:
            return resampler.push(samples)
        tail = EMPTY if resampler is None else resampler.flush()
        if rate == self._rate:
            self._resampler = None
        else:
            self._resampler = Resampler(rate, self._rate)
            samples = self._resampler.push(samples)
        return np.concatenate((tail, samples)) if len(tail) else samples
