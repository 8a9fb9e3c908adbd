"""The recogniser behind the ``SpeechToText`` port.

Decoding begins when an utterance is over and takes about a tenth of its length. One process decodes
for all calls; utterances wait in line for it, as many as ``MAX_WAITING``.
"""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Final

import numpy as np

from sipbot.agent.ports import ListenFor, Transcript
from sipbot.agent.recognise.decoder import RATE, Decoded
from sipbot.agent.recognise.process import NAME, DecoderProcess
from sipbot.call.leg import Pcm
from sipbot.call.resample import Resampler
from sipbot.errors import ProviderError

MAX_WAITING: Final = 64  # utterances that wait for a decoder
MAX_UTTERANCES: Final = 16  # transcripts of one call that nobody has fetched
MAX_AUDIO_BYTES: Final = 30 * RATE * 2  # half a minute
ACCEPTED: Final = 0.5  # confidence from which on a phrase counts as said
_NOTHING: Final[Mapping[str, str]] = {}


class OfflineRecogniser:
    """Implements ``SpeechToText`` for ``ListenFor`` with phrases (``phrases.parse``).

    Only these can be heard, ``only`` or not. A final transcript with an empty text says that
    something else was said. ``pronounced`` has ARPABET pronunciations of words that the dictionary
    lacks. Open to several calls at once.
    """

    def __init__(self, processes: int = 1, pronounced: Mapping[str, str] = _NOTHING) -> None:
        self._engine = _Engine(processes)
        self._pronounced = dict(pronounced)

    def pronouncing(self, pronounced: Mapping[str, str]) -> OfflineRecogniser:
        """The same recogniser, which knows these words too."""
        other = OfflineRecogniser.__new__(OfflineRecogniser)
        other._engine = self._engine
        other._pronounced = {**self._pronounced, **pronounced}
        return other

    async def warm(self, phrases: Sequence[str]) -> None:
        """Load the model and make these phrases ready. Raises ProviderError."""
        await self._engine.decode(b"", phrases, self._pronounced)

    @asynccontextmanager
    async def open(self, wanted: ListenFor) -> AsyncIterator[_Utterances]:
        """A transcriber for one call."""
        if not wanted.phrases:
            raise ProviderError(NAME, "no-phrases")
        transcriber = _Utterances(self._engine, wanted, self._pronounced)
        try:
            yield transcriber
        finally:
            transcriber.close()

    def close(self) -> None:
        """End the processes. A later utterance starts them again."""
        self._engine.close()


class _Engine:
    """Threads, each with a process that it waits for."""

    def __init__(self, processes: int) -> None:
        self._idle = [DecoderProcess() for _ in range(processes)]
        self._all = tuple(self._idle)
        self._threads = ThreadPoolExecutor(processes, "recognise")
        self._waiting = 0
        atexit.register(self.close)

    async def decode(
        self, pcm: bytes, patterns: Sequence[str], pronounced: Mapping[str, str]
    ) -> Decoded:
        """Wait for a decoder and its answer. Raises ProviderError."""
        if self._waiting >= MAX_WAITING:
            raise ProviderError(NAME, "busy", retry=True)
        self._waiting += 1
        working = asyncio.get_running_loop().run_in_executor(
            self._threads, self._work, pcm, tuple(patterns), pronounced
        )
        working.add_done_callback(self._worked)
        return await working

    def close(self) -> None:
        for process in self._all:
            process.close()

    def _worked(self, working: asyncio.Future[Decoded]) -> None:
        self._waiting -= 1
        if not working.cancelled():
            working.exception()  # seen, also when nobody waits for it any more

    def _work(self, pcm: bytes, patterns: Sequence[str], pronounced: Mapping[str, str]) -> Decoded:
        process = self._idle.pop()  # as many threads as processes: there is one
        try:
            return process.decode(pcm, patterns, pronounced)
        finally:
            self._idle.append(process)


class _Utterances:
    """Implements ``Transcriber``."""

    def __init__(self, engine: _Engine, wanted: ListenFor, pronounced: Mapping[str, str]) -> None:
        self._engine, self._wanted, self._pronounced = engine, wanted, pronounced
        self._results: asyncio.Queue[Transcript | None] = asyncio.Queue(MAX_UTTERANCES + 1)
        self._begin()

    async def push(self, pcm: Pcm) -> None:
        """Audio of the utterance; what makes it longer than half a minute is dropped."""
        fresh = pcm if self._resampler is None else self._resampler.push(pcm)
        room = MAX_AUDIO_BYTES // 2 - self._samples
        if room > 0:
            self._parts.append(fresh[:room])
            self._samples += len(self._parts[-1])

    async def finish_utterance(self) -> None:
        """Decode what was pushed; returns when its transcript waits. Raises ProviderError."""
        if self._resampler is not None:
            self._parts.append(self._resampler.flush())
        pcm = np.concatenate(self._parts).astype("<i2").tobytes() if self._parts else b""
        self._begin()
        if not pcm:
            self._give(Transcript("", final=True, confidence=0.0))
            return
        found = await self._engine.decode(
            pcm[:MAX_AUDIO_BYTES], self._wanted.phrases, self._pronounced
        )
        accepted = found.words if found.confidence >= ACCEPTED else ""
        self._give(Transcript(accepted, final=True, confidence=found.confidence))

    async def transcripts(self) -> AsyncIterator[Transcript]:
        """Final transcripts, in order."""
        while (transcript := await self._results.get()) is not None:
            yield transcript

    def close(self) -> None:
        """End ``transcripts``."""
        if self._results.full():
            self._results.get_nowait()
        self._results.put_nowait(None)

    def _begin(self) -> None:
        rate = self._wanted.rate
        self._resampler = None if rate == RATE else Resampler(rate, RATE)
        self._parts: list[Pcm] = []
        self._samples = 0

    def _give(self, transcript: Transcript) -> None:
        if self._results.qsize() >= MAX_UTTERANCES:
            self._results.get_nowait()  # the oldest, which nobody waits for
        self._results.put_nowait(transcript)
