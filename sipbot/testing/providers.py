"""Speech and language services that follow a script, with known delays and no network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

from sipbot.agent.ports import (
    Delta,
    ListenFor,
    Message,
    TextDelta,
    Tool,
    ToolCall,
    Transcriber,
    Transcript,
    Usage,
)
from sipbot.call.leg import Pcm
from sipbot.call.speech import SpeechChunk
from sipbot.errors import ProviderError
from sipbot.testing.speech import MS_A_CHARACTER, tone

CHUNK_MS: Final = 100  # milliseconds of speech in a chunk
PIECE_CHARS: Final = 8  # of an answer that come at once

Answer: TypeAlias = str | ToolCall | ProviderError | Sequence[str | ToolCall]


class ScriptedTranscriber:
    """Hears nothing: each utterance that is finished becomes the next text of the script."""

    def __init__(self, owner: ScriptedStt) -> None:
        self._owner = owner
        self._said: asyncio.Queue[Transcript | ProviderError] = asyncio.Queue()

    async def push(self, pcm: Pcm) -> None:
        self._owner.pushed += len(pcm)

    async def finish_utterance(self) -> None:
        owner = self._owner
        owner.finished += 1
        text = owner.script.pop(0) if owner.script else owner.otherwise
        if text is not None:
            asyncio.get_running_loop().call_later(owner.delay_s, self._say, text)

    async def transcripts(self) -> AsyncIterator[Transcript]:
        while True:
            said = await self._said.get()
            if isinstance(said, ProviderError):
                raise said
            yield said

    def partial(self, text: str) -> None:
        """Something is understood while the caller still speaks."""
        self._said.put_nowait(Transcript(text, False))

    def final(self, text: str) -> None:
        """A final transcript that nobody asked for."""
        self._said.put_nowait(Transcript(text, True))

    def fail(self, error: ProviderError) -> None:
        """The connection breaks."""
        self._said.put_nowait(error)

    def _say(self, text: str | ProviderError) -> None:
        if isinstance(text, ProviderError):
            self.fail(text)
        else:
            self.final(text)


class ScriptedStt:
    """A final transcript comes ``delay_s`` after an utterance was finished.

    ``script`` has what is understood, one text for each utterance; None in it says nothing at all,
    an error breaks the connection. After it ``otherwise``. ``failing`` counts openings that fail.
    """

    def __init__(
        self,
        script: Sequence[str | ProviderError | None] = (),
        *,
        delay_s: float = 0.15,
        otherwise: str | None = "",
        failing: int = 0,
    ) -> None:
        self.script, self.delay_s, self.otherwise = list(script), delay_s, otherwise
        self.failing = failing
        self.pushed = self.finished = self.opened = self.open_now = 0
        self.lines: list[ScriptedTranscriber] = []

    @asynccontextmanager
    async def open(self, wanted: ListenFor) -> AsyncIterator[Transcriber]:
        if self.failing:
            self.failing -= 1
            raise ProviderError("scripted-stt", "unreachable", retry=True)
        self.opened += 1
        self.open_now += 1
        line = ScriptedTranscriber(self)
        self.lines.append(line)
        try:
            yield line
        finally:
            self.open_now -= 1


class ScriptedLlm:
    """The first piece of an answer comes after ``delay_s``, the others ``pace_s`` apart.

    ``script`` has one entry for each request: a text, a tool call, several of them, or an error.
    After it ``otherwise``. ``asked`` has what it was asked; ``hangs`` answers never.
    """

    def __init__(
        self,
        script: Sequence[Answer] = (),
        *,
        delay_s: float = 0.2,
        pace_s: float = 0.02,
        otherwise: str | Callable[[Sequence[Message]], str] = "All right.",
        hangs: bool = False,
    ) -> None:
        self.script, self.delay_s, self.pace_s = list(script), delay_s, pace_s
        self.otherwise, self.hangs = otherwise, hangs
        self.asked: list[tuple[Message, ...]] = []
        self.cancelled = 0
        self.warmed = 0

    async def warm(self) -> None:
        self.warmed += 1

    async def reply(
        self, messages: Sequence[Message], tools: Sequence[Tool] = ()
    ) -> AsyncGenerator[Delta, None]:
        self.asked.append(tuple(messages))
        whole = False
        try:
            await asyncio.sleep(1e4 if self.hangs else self.delay_s)
            answer = self.script.pop(0) if self.script else self._otherwise(messages)
            if isinstance(answer, ProviderError):
                raise answer
            parts = [answer] if isinstance(answer, str | ToolCall) else answer
            for part in parts:
                if isinstance(part, ToolCall):
                    yield part
                    continue
                for start in range(0, len(part), PIECE_CHARS):
                    yield TextDelta(part[start : start + PIECE_CHARS])
                    await asyncio.sleep(self.pace_s)
            yield Usage("scripted-llm", "requests", 1)
            whole = True
        finally:
            self.cancelled += not whole

    def _otherwise(self, messages: Sequence[Message]) -> str:
        return self.otherwise if isinstance(self.otherwise, str) else self.otherwise(messages)


class ScriptedTts:
    """The first sound of a text comes after ``delay_s``, the rest ``pace`` times as fast as it is
    spoken. Every text is a tone of 60 ms a character. ``hangs`` never says anything."""

    def __init__(
        self,
        *,
        delay_s: float = 0.1,
        rate: int = 8_000,
        pace: float = 10.0,
        hangs: bool = False,
        failing: bool = False,
    ) -> None:
        self.delay_s, self.rate, self.pace = delay_s, rate, pace
        self.hangs, self.failing = hangs, failing
        self.asked: list[str] = []
        self.closed = 0

    async def synthesize(
        self, text: str, voice: str | None = None
    ) -> AsyncGenerator[SpeechChunk, None]:
        self.asked.append(text)
        try:
            await asyncio.sleep(1e4 if self.hangs else self.delay_s)
            if self.failing:
                raise ProviderError("scripted-tts", "unreachable", retry=True)
            left = MS_A_CHARACTER * len(text)
            while left > 0:
                yield SpeechChunk(tone(min(left, CHUNK_MS), self.rate), self.rate)
                left -= CHUNK_MS
                await asyncio.sleep(CHUNK_MS / 1000 / self.pace)
        finally:
            self.closed += 1
