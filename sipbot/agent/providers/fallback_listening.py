"""A chain of recognisers that goes on in the middle of a call.

The audio since the last final transcript is kept, so that the next recogniser hears the utterance
from its beginning and nothing that the caller said is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from sipbot.agent.ports import ListenFor, SpeechToText, Transcriber, Transcript
from sipbot.agent.providers.circuit import Chain, Circuit
from sipbot.agent.providers.counts import Counts
from sipbot.agent.providers.fallback import close_all, warm_all
from sipbot.call.leg import Pcm
from sipbot.clock import Clock, SystemClock
from sipbot.errors import ProviderError

KEPT_S: Final = 30  # seconds of audio that the next recogniser gets to hear
MAX_SWITCHES: Final = 8  # without a final transcript between them; then the last error counts
PAUSE_S: Final = 0.1  # seconds before the second switch in a row; doubles with each


class FallbackSpeechToText:
    """Implements ``SpeechToText`` and ``Service``."""

    def __init__(
        self,
        members: Sequence[tuple[str, SpeechToText]],
        counts: Counts,
        clock: Clock | None = None,
    ) -> None:
        self._chain = Chain("stt", members, counts, clock or SystemClock())

    async def warm(self) -> None:
        await warm_all(one.provider for one in self._chain.circuits)

    async def close(self) -> None:
        await close_all(one.provider for one in self._chain.circuits)

    @asynccontextmanager
    async def open(self, wanted: ListenFor) -> AsyncGenerator[FallbackTranscriber, None]:
        """Connect to the first that can be reached. Raises the last one's ProviderError."""
        transcriber = FallbackTranscriber(self._chain, wanted)
        try:
            await transcriber.connect()
            yield transcriber
        finally:
            await transcriber.close()


class _Kept:
    """The audio that no final transcript covers yet, with the ends of utterances in it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit  # samples
        self._items: list[Pcm | None] = []  # None: the utterance ended here
        self._samples = 0

    def add(self, pcm: Pcm) -> None:
        self._items.append(pcm)
        self._samples += len(pcm)
        while self._samples > self._limit and len(self._items) > 1:
            self._drop_first()

    def end(self) -> None:
        self._items.append(None)

    def understood(self) -> None:
        """A final transcript came: forget the utterance that it covers."""
        ends = (number for number, item in enumerate(self._items, 1) if item is None)
        for _ in range(next(ends, len(self._items))):
            self._drop_first()

    def items(self) -> tuple[Pcm | None, ...]:
        return tuple(self._items)

    def _drop_first(self) -> None:
        item = self._items.pop(0)
        self._samples -= 0 if item is None else len(item)


class FallbackTranscriber:
    """Implements ``Transcriber`` by one of several at a time."""

    def __init__(self, chain: Chain[SpeechToText], wanted: ListenFor) -> None:
        self._chain, self._wanted = chain, wanted
        self._kept = _Kept(KEPT_S * wanted.rate)
        self._lock = asyncio.Lock()  # one switch at a time
        self._switches = 0
        self._circuit: Circuit[SpeechToText] | None = None
        self._context: AbstractAsyncContextManager[Transcriber] | None = None
        self._now: Transcriber | None = None
        self._closed = False

    async def connect(self) -> None:
        """Open the first recogniser that can be, and let it hear what is kept."""
        last: ProviderError | None = None
        for circuit in self._chain.candidates(self._circuit):
            try:
                await self._open(circuit)
            except ProviderError as error:
                self._chain.failed(circuit, error)
                last = error
            else:
                return
        assert last is not None
        raise last

    async def push(self, pcm: Pcm) -> None:
        self._kept.add(pcm)
        now = self._current()
        try:
            await now.push(pcm)
        except ProviderError as error:
            await self._switch(now, error)

    async def finish_utterance(self) -> None:
        self._kept.end()
        now = self._current()
        try:
            await now.finish_utterance()
        except ProviderError as error:
            await self._switch(now, error)

    async def transcripts(self) -> AsyncIterator[Transcript]:
        while not self._closed:
            now = self._current()
            try:
                async for transcript in now.transcripts():
                    if transcript.final:
                        self._kept.understood()
                        self._proven()
                    yield transcript
                error = ProviderError("stt", "cut-off", retry=True)
            except ProviderError as raised:
                error = raised
            if not self._closed:
                await self._switch(now, error)

    async def close(self) -> None:
        self._closed = True
        await self._leave()

    async def _switch(self, failed: Transcriber, error: ProviderError) -> None:
        """Go on with another recogniser, unless somebody else did so already."""
        async with self._lock:
            if self._closed or self._now is not failed:
                return
            assert self._circuit is not None
            self._chain.failed(self._circuit, error)
            self._switches += 1
            if self._switches > MAX_SWITCHES:
                raise error
            if self._switches > 1:
                await asyncio.sleep(PAUSE_S * 2 ** (self._switches - 2))
            await self.connect()

    async def _open(self, circuit: Circuit[SpeechToText]) -> None:
        await self._leave()
        self._circuit = circuit
        context = circuit.provider.open(self._wanted)
        now = await context.__aenter__()
        self._context = context
        for item in self._kept.items():
            await (now.finish_utterance() if item is None else now.push(item))
        self._now = now

    async def _leave(self) -> None:
        context, self._context = self._context, None
        if context is not None:
            await context.__aexit__(None, None, None)

    def _current(self) -> Transcriber:
        assert self._now is not None
        return self._now

    def _proven(self) -> None:
        self._switches = 0
        if self._circuit is not None:
            self._circuit.succeeded()
