"""What all recognisers have in common that listen over a WebSocket while the caller speaks."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from sipbot.agent.ports import Transcript
from sipbot.agent.providers.counts import Counts, used
from sipbot.agent.providers.patience import Deadline, Patience
from sipbot.agent.providers.websocket import Socket
from sipbot.call.leg import Pcm
from sipbot.errors import ProviderError

COUNTED_MS: Final = 1_000  # ms of audio that are counted at once
SETTLE_S: Final = 0.4  # seconds to wait for a last word when all seems to be understood already
MAX_SILENT: Final = 2  # ends of utterances without any answer, after which the service is dead


class StreamingTranscriber(ABC):
    """Implements ``Transcriber`` over ``socket``; subclasses know the messages.

    What a service calls final may be one of several parts of an utterance. The utterance ends when
    we say so; its parts are put together until then.
    """

    def __init__(self, socket: Socket, patience: Patience, counts: Counts, rate: int) -> None:
        self.socket, self.patience, self.rate = socket, patience, rate
        self.deadline = Deadline()
        self.pushed = False  # since somebody last looked
        self.ending = False  # the end of the utterance was told, its transcript did not come yet
        self.parts: list[str] = []  # of the utterance, as far as they are certain
        self.interim = ""  # what may come after them
        self.confidence: float | None = None  # the lowest of the parts
        self._counts = counts
        self._samples = 0  # not counted yet
        self._silent = 0  # ends of utterances in a row that nothing was said to
        self._closed = False

    @abstractmethod
    def audio(self, pcm: Pcm) -> dict[str, Any] | bytes:
        """The message that carries ``pcm``."""

    @abstractmethod
    def end(self) -> dict[str, Any]:
        """The message that ends an utterance."""

    @abstractmethod
    def read(self, message: dict[str, Any]) -> Iterator[Transcript]:
        """What a message of the service says. Raises ProviderError, and what bad shapes raise."""

    def part(self, text: str, confidence: float | None = None) -> None:
        """A part of the utterance is certain."""
        self.interim = ""
        if text:
            self.parts.append(text)
        if text and confidence is not None:
            self.confidence = min(confidence, self.confidence or 1.0)

    def so_far(self) -> Transcript:
        """The utterance as far as it is understood."""
        text = " ".join((*self.parts, self.interim)).strip()
        return Transcript(text, False, self.confidence)

    def whole(self) -> Transcript:
        """The utterance is complete; the next one begins."""
        whole = Transcript(" ".join(self.parts), True, self.confidence)
        self.parts, self.interim, self.confidence = [], "", None
        self.ending = False
        return whole

    async def push(self, pcm: Pcm) -> None:
        self.pushed = True
        await self.socket.send(self.audio(pcm))
        self._samples += len(pcm)
        if self._samples * 1_000 >= COUNTED_MS * self.rate:
            self._count()

    async def finish_utterance(self) -> None:
        self.ending = True
        await self.socket.send(self.end())
        settled = self.parts and not self.interim
        self.deadline.within(SETTLE_S if settled else self.patience.first_s)

    async def transcripts(self) -> AsyncIterator[Transcript]:
        while True:
            try:
                found = await self._next()
            except ProviderError:
                if self._closed:
                    return
                raise
            for transcript in found:
                if transcript.final:
                    self.deadline.within(None)
                yield transcript

    def close(self) -> None:
        """The call is over: what comes from now on is no fault."""
        self._closed = True
        self._count()

    async def _next(self) -> list[Transcript]:
        """What the next message says, or what is made of none."""
        try:
            message = await self.deadline.wait(self.socket.receive())
        except TimeoutError:
            return [self._overdue()]
        self._silent = 0
        try:
            return list(self.read(message))
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            raise ProviderError(self.socket.provider, "garbage") from None

    def _overdue(self) -> Transcript:
        """No answer came to the end of an utterance. Noise may be the reason: services say nothing
        of it. Raises ProviderError when it was more than that."""
        self._silent += not self.parts
        if self.interim or self._silent >= MAX_SILENT:
            raise ProviderError(self.socket.provider, "timeout", retry=True)
        return self.whole()

    def _count(self) -> None:
        used(self._counts, self.socket.provider, "audio-ms", self._samples * 1_000 // self.rate)
        self._samples = 0


async def keep_alive(transcriber: StreamingTranscriber, every_s: float, message: Any) -> None:
    """Send ``message`` whenever no audio went out for ``every_s``. Ends when that fails."""
    while True:
        transcriber.pushed = False
        await asyncio.sleep(every_s)
        if transcriber.pushed:
            continue
        try:
            await transcriber.socket.send(message)
        except ProviderError:
            return  # who reads the transcripts is told
