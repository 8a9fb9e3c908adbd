"""Speech by espeak-ng: offline, no key, no download, two seconds of speech in some milliseconds.

The library keeps global state and is not thread-safe, so that one thread of the process owns it.
A text holds that thread only while it is made, never while it is being played: the chunks of one
text, whose length is bounded, wait in memory for their call.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeAlias

from sipbot.agent.providers.espeak_library import EspeakLibrary
from sipbot.call.leg import Pcm
from sipbot.call.speech import SpeechChunk
from sipbot.errors import SpeechError

MAX_TEXT: Final = 5_000  # characters; longer texts are refused
MAX_SPEECH_S: Final = 600  # seconds of speech of one text; the rest is refused
MAX_WAITING_TEXTS: Final = 500  # texts that may wait for the thread
CACHE_BYTES: Final = 32 * 1024 * 1024  # about 12 minutes of speech

_Key: TypeAlias = tuple[str, str]
_Item: TypeAlias = Pcm | None  # None: the text is complete

_thread: Final = ThreadPoolExecutor(1, "espeak")
_library: EspeakLibrary | None = None  # made and used in the thread only


@dataclass(frozen=True, slots=True)
class EspeakVoice:
    """How to speak. ``volume`` 100 is the library's usual, whose peaks come near full scale."""

    name: str = "en-gb"
    words_per_minute: int = 155
    volume: int = 90  # 0 to 200; about -22 dBFS while it speaks
    pitch: int = 50  # 0 to 100


class EspeakSynthesizer:
    """Implements ``Synthesizer``; keeps the speech of recent texts, up to ``cache_bytes``."""

    def __init__(self, voice: EspeakVoice | None = None, cache_bytes: int = CACHE_BYTES) -> None:
        self.voice = voice or EspeakVoice()
        self.hits = self.misses = 0  # of the cache
        self._cache: OrderedDict[_Key, tuple[SpeechChunk, ...]] = OrderedDict()
        self._cached_bytes = 0
        self._cache_bytes = cache_bytes
        self._waiting = 0

    async def check(self) -> int:
        """Load the library and the voice; returns the sample rate. Raises ``SpeechError``."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(_thread, self._ready, self.voice.name)

    async def synthesize(
        self, text: str, voice: str | None = None
    ) -> AsyncGenerator[SpeechChunk, None]:
        """Chunks of 22,050 Hz as they are made; closing stops the work."""
        key = (text, voice or self.voice.name)
        cached = self._cache.get(key)
        if cached is not None:
            self.hits += 1
            self._cache.move_to_end(key)
            for chunk in cached:
                yield chunk
            return
        self.misses += 1
        if len(text) > MAX_TEXT:
            raise SpeechError(f"a text has more than {MAX_TEXT} characters")
        if self._waiting >= MAX_WAITING_TEXTS:
            raise SpeechError("too many texts wait to be spoken")
        job = _Job(asyncio.get_running_loop(), text)
        made: list[SpeechChunk] = []
        self._waiting += 1
        working = job.loop.run_in_executor(_thread, self._work, job, key[1])
        working.add_done_callback(self._worked)
        try:
            while (pcm := await job.chunks.get()) is not None:
                made.append(SpeechChunk(pcm, job.rate))
                yield made[-1]
            await working
        finally:
            job.abandoned = True
        self._keep(key, tuple(made))

    def _worked(self, working: asyncio.Future[None]) -> None:
        self._waiting -= 1
        if not working.cancelled():
            working.exception()  # seen here in case the caller has gone

    def _keep(self, key: _Key, chunks: tuple[SpeechChunk, ...]) -> None:
        size = sum(chunk.pcm.nbytes for chunk in chunks)
        if key in self._cache or size > self._cache_bytes // 4:
            return
        self._cache[key] = chunks
        self._cached_bytes += size
        while self._cached_bytes > self._cache_bytes:
            _, dropped = self._cache.popitem(last=False)
            self._cached_bytes -= sum(chunk.pcm.nbytes for chunk in dropped)

    def _ready(self, voice: str) -> int:
        """In the thread: the library with our voice and manner; returns its rate in Hz."""
        library = _the_library()
        library.set_voice(voice)
        manner = self.voice
        library.set_manner(manner.words_per_minute, manner.volume, manner.pitch)
        return library.rate

    def _work(self, job: _Job, voice: str) -> None:
        """In the thread: make one text, and tell its end in any case."""
        try:
            if not job.abandoned:
                job.rate = self._ready(voice)
                _the_library().speak(job.text, job.take)
                if job.room < 0:
                    raise SpeechError(f"a text takes more than {MAX_SPEECH_S} s to speak")
        finally:
            job.tell(None)


class _Job:
    """One text on its way through the thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, text: str) -> None:
        self.loop, self.text = loop, text
        self.chunks: asyncio.Queue[_Item] = asyncio.Queue()  # bounded by ``room``
        self.rate = 0  # Hz, known before the first chunk
        self.room = 0  # samples that may still come
        self.abandoned = False
        self._begun = False

    def take(self, pcm: Pcm) -> bool:
        """In the thread: one chunk; False stops the work."""
        if not self._begun:
            self._begun, self.room = True, MAX_SPEECH_S * self.rate
        self.room -= len(pcm)
        return not self.abandoned and self.room >= 0 and self.tell(pcm)

    def tell(self, item: _Item) -> bool:
        """In the thread: hand over to the event loop; False when that is closed."""
        try:
            self.loop.call_soon_threadsafe(self.chunks.put_nowait, item)
        except RuntimeError:  # the loop is closed: nobody listens any more
            return False
        return True


def _the_library() -> EspeakLibrary:
    global _library
    if _library is None:
        _library = EspeakLibrary()
    return _library
