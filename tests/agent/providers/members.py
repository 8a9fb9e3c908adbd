"""Members of chains that do as they are told, without a network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager

from sipbot.agent.ports import (
    Delta,
    ListenFor,
    Message,
    RealtimeEvent,
    RealtimeSession,
    RealtimeSetup,
    TextDelta,
    Tool,
    Transcript,
)
from sipbot.call.leg import Pcm
from sipbot.call.speech import SpeechChunk
from sipbot.errors import ProviderError
from sipbot.testing.speech import tone

DOWN = ProviderError("down", "unavailable", retry=True)
WRONG_KEY = ProviderError("down", "unauthorised")


class Model:
    """Yields ``words``, then fails with ``error`` or hangs. Without words it fails at once."""

    def __init__(
        self, *words: str, error: ProviderError | None = None, hangs: bool = False
    ) -> None:
        self.words, self.error, self.hangs = words, error, hangs
        self.asked = self.closed = 0

    async def reply(
        self, messages: Sequence[Message], tools: Sequence[Tool] = ()
    ) -> AsyncGenerator[Delta, None]:
        self.asked += 1
        try:
            for word in self.words:
                yield TextDelta(word)
            if self.hangs:
                await asyncio.Event().wait()
            if self.error is not None:
                raise self.error
        finally:
            self.closed += 1


class Voice:
    def __init__(self, rate: int, error: Exception | None = None) -> None:
        self.rate, self.error = rate, error
        self.voices: list[str | None] = []

    async def synthesize(
        self, text: str, voice: str | None = None
    ) -> AsyncGenerator[SpeechChunk, None]:
        self.voices.append(voice)
        if self.error is not None:
            raise self.error
        yield SpeechChunk(tone(20, self.rate), self.rate)


class Ears:
    """A recogniser that "understands" the first sample of each part. It fails as it is told:
    ``refuses`` to open, or is ``broken`` at any time in the middle."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.refuses = False
        self.broken = asyncio.Event()
        self.heals = False  # works again when it is opened again
        self.opened = self.left = 0

    @asynccontextmanager
    async def open(self, wanted: ListenFor) -> AsyncGenerator[Ear, None]:
        if self.refuses:
            raise DOWN
        self.opened += 1
        if self.heals:
            self.broken.clear()
        ear = Ear(self)
        try:
            yield ear
        finally:
            self.left += 1
            ear.closed.set()


class Ear:
    def __init__(self, ears: Ears) -> None:
        self.closed = asyncio.Event()
        self._ears = ears
        self._heard: list[str] = []
        self._ready: asyncio.Queue[Transcript] = asyncio.Queue()

    async def push(self, pcm: Pcm) -> None:
        if self._ears.broken.is_set():
            raise DOWN
        self._heard.append(str(pcm[0]))

    async def finish_utterance(self) -> None:
        if self._ears.broken.is_set():
            raise DOWN
        text = f"{self._ears.name}: {' '.join(self._heard)}"
        self._heard = []
        self._ready.put_nowait(Transcript(text, True))

    async def transcripts(self) -> AsyncIterator[Transcript]:
        while True:
            tasks = [
                asyncio.ensure_future(work)
                for work in (self._ready.get(), self._ears.broken.wait(), self.closed.wait())
            ]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                if tasks[0].done():
                    transcript = tasks[0].result()
                    assert isinstance(transcript, Transcript)
                elif tasks[1].done():
                    raise DOWN
                else:
                    return
            finally:
                for task in tasks:
                    task.cancel()
            yield transcript


class Duplex:
    """A speech-to-speech model that can be reached, or not."""

    def __init__(self, error: ProviderError | None = None) -> None:
        self.error = error
        self.left = 0

    @asynccontextmanager
    async def open(self, setup: RealtimeSetup) -> AsyncGenerator[RealtimeSession, None]:
        if self.error is not None:
            raise self.error
        try:
            yield DuplexSession()
        finally:
            self.left += 1


class DuplexSession:
    async def push(self, pcm: Pcm) -> None: ...

    async def interrupt(self, heard_ms: int) -> None: ...

    async def tool_result(self, call_id: str, output: str) -> None: ...

    async def say(self, instruction: str) -> None: ...

    async def events(self) -> AsyncIterator[RealtimeEvent]:
        nothing: tuple[RealtimeEvent, ...] = ()
        for event in nothing:
            yield event
