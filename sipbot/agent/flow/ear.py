"""Listens for the answer to one question: a key, or something said, whichever comes first.

Speech is found by its level; it ends with a silence. A recogniser then tells what was said.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from sipbot.agent.keys import KeyReader
from sipbot.agent.ports import ListenFor, SpeechToText, Transcriber, Transcript
from sipbot.call.call import Call
from sipbot.call.events import CallEnded
from sipbot.call.leg import Pcm
from sipbot.call.level import SpeechGate
from sipbot.errors import ProviderError

RATE: Final = 8_000  # Hz, of the line
PRE_ROLL_FRAMES: Final = 15  # of 20 ms before the level rose: the first sounds are soft
MAX_UTTERANCE_S: Final = 12.0  # seconds; what is longer is decoded as it is
FINAL_S: Final = 6.0  # seconds to wait for the transcript


@dataclass(frozen=True, slots=True)
class Key:
    """The caller pressed a key."""

    key: str


@dataclass(frozen=True, slots=True)
class Heard:
    """The caller spoke. ``text`` is empty when it was not understood."""

    text: str


Answer: TypeAlias = Key | Heard | None  # None: the caller was silent


@dataclass(frozen=True, slots=True)
class Manner:
    """How to listen. ``interrupt``: whether speech cuts the question short."""

    patterns: Sequence[str]
    language: str
    timeout_s: float
    end_ms: int
    interrupt: bool


class Ear:
    """The ear of one call."""

    def __init__(self, call: Call, keys: KeyReader, recogniser: SpeechToText) -> None:
        self._call, self._keys, self._recogniser = call, keys, recogniser
        self._speaking = False  # whether the caller speaks

    async def answer(
        self, asking: Callable[[], Coroutine[Any, Any, object]], manner: Manner
    ) -> Answer:
        """Ask, and wait for the answer. Keys typed ahead answer before the question is spoken.

        Raises ``CallEnded``.
        """
        hearing: asyncio.Task[Heard] | None = None
        try:
            if self._typed_ahead():
                return await self._key(manner.timeout_s)
            if manner.interrupt and manner.patterns:
                hearing = self._hear(manner, cut=True)
            await asking()
            if self._typed_ahead():
                return await self._key(manner.timeout_s)
            if hearing is None and manner.patterns:
                hearing = self._hear(manner, cut=False)
            if hearing is None:
                return await self._key(manner.timeout_s)
            return await self._first(hearing, manner.timeout_s)
        finally:
            if hearing is not None:
                hearing.cancel()
                await asyncio.wait({hearing})

    def _typed_ahead(self) -> bool:
        return self._keys.waiting

    async def _key(self, timeout_s: float) -> Answer:
        key = await self._keys.key(timeout_s)
        return None if key is None else Key(key)

    async def _first(self, hearing: asyncio.Task[Heard], timeout_s: float) -> Answer:
        """The first answer. Somebody who has begun to speak may finish."""
        pressing = asyncio.create_task(self._key(timeout_s), name="key")
        try:
            await asyncio.wait({pressing, hearing}, return_when="FIRST_COMPLETED")
            if pressing.done():
                key = await pressing
                if key is not None or not (self._speaking or hearing.done()):
                    return key
            return await hearing
        finally:
            pressing.cancel()
            await asyncio.wait({pressing})

    def _hear(self, manner: Manner, *, cut: bool) -> asyncio.Task[Heard]:
        self._speaking = False
        return asyncio.create_task(self._utterance(manner, cut=cut), name="ear")

    async def _utterance(self, manner: Manner, *, cut: bool) -> Heard:
        """What is said next. Trouble with the recogniser counts as not understood."""
        wanted = ListenFor(RATE, manner.language, manner.patterns, only=True)
        try:
            async with self._recogniser.open(wanted) as transcriber:
                async with aclosing(self._speech(manner.end_ms, cut=cut)) as frames:
                    async for frame in frames:
                        await transcriber.push(frame)
                async with asyncio.timeout(FINAL_S):
                    await transcriber.finish_utterance()
                    return Heard((await _final(transcriber)).text)
        except TimeoutError:
            self._call.log.warning("recogniser failed", reason="timeout")
        except ProviderError as error:
            self._call.log.warning("recogniser failed", reason=error.reason)
            if not self._speaking:
                await self._call.wait_ended()  # keys still answer
        return Heard("")

    async def _speech(self, end_ms: int, *, cut: bool) -> AsyncGenerator[Pcm, None]:
        """The frames of one utterance, from shortly before it until the silence behind it."""
        gate = SpeechGate(RATE, hangover_ms=end_ms)
        before: deque[Pcm] = deque(maxlen=PRE_ROLL_FRAMES)
        left = int(MAX_UTTERANCE_S * 50)  # frames
        async for frame in self._call.audio(RATE):
            if gate.push(frame):
                self._speaking = True
                if cut:
                    with suppress(CallEnded):
                        await self._call.clear()
                while before:
                    yield before.popleft()
            if not self._speaking:
                before.append(frame)
                continue
            yield frame
            left -= 1
            if not gate.speaking or left <= 0:
                return
        await self._call.wait_ended()


async def _final(transcriber: Transcriber) -> Transcript:
    async for transcript in transcriber.transcripts():
        if transcript.final:
            return transcript
    return Transcript("", final=True)
