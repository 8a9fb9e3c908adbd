"""Piper on this machine: neural speech without a network.

The library is an extra (``pip install piper-tts``); a voice is an ``.onnx`` file with its
``.onnx.json``. Nothing is ever downloaded.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar, TypeVarTuple, Unpack

import numpy as np

from sipbot.agent.providers.counts import Counts, used
from sipbot.call.speech import SpeechChunk
from sipbot.errors import SpeechServiceError

PIPER: Final = "piper"
LIBRARY: Final = "piper"
MAX_TEXT: Final = 5_000  # characters
TIMEOUT_S: Final = 15.0  # seconds for one sentence, with the wait for those before it

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class PiperVoice:
    """Implements ``Synthesizer`` and ``Service``; sentences are made one at a time."""

    def __init__(self, model: Path, counts: Counts) -> None:
        self._model, self._counts = model, counts
        self._thread = ThreadPoolExecutor(1, "piper")
        self._voice: Any = None  # loaded and used in the thread

    async def warm(self) -> None:
        """Load the voice. What is wrong is told when somebody speaks."""
        try:
            await self._in_thread(self._load)
        except SpeechServiceError:
            return

    async def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def synthesize(
        self, text: str, voice: str | None = None
    ) -> AsyncGenerator[SpeechChunk, None]:
        """A chunk a sentence. Other voices than the configured one are not known."""
        if len(text) > MAX_TEXT:
            raise SpeechServiceError(PIPER, "text-too-long")
        await self._in_thread(self._load)
        used(self._counts, PIPER, "characters", len(text))
        sentences = iter(self._voice.synthesize(text))
        while (chunk := await self._in_thread(self._next, sentences)) is not None:
            yield chunk

    async def _in_thread(self, work: Callable[[Unpack[Ts]], T], *arguments: *Ts) -> T:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await loop.run_in_executor(self._thread, work, *arguments)
        except TimeoutError:
            raise SpeechServiceError(PIPER, "timeout", retry=True) from None

    def _load(self) -> None:
        if self._voice is not None:
            return
        if not self._model.is_file():
            raise SpeechServiceError(PIPER, "no-model")
        try:
            library = importlib.import_module(LIBRARY)
        except ImportError:
            raise SpeechServiceError(PIPER, "no-library") from None
        try:
            self._voice = library.PiperVoice.load(str(self._model))
        except (RuntimeError, ValueError, OSError, KeyError):
            raise SpeechServiceError(PIPER, "no-model") from None

    def _next(self, sentences: Any) -> SpeechChunk | None:
        """In the thread: the next sentence. Nothing that the library raises is handed on."""
        try:
            chunk = next(sentences, None)
        except (RuntimeError, ValueError):
            raise SpeechServiceError(PIPER, "failed", retry=True) from None
        if chunk is None:
            return None
        pcm = np.frombuffer(chunk.audio_int16_bytes, "<i2").astype(np.int16, copy=False)
        return SpeechChunk(pcm, int(chunk.sample_rate))
