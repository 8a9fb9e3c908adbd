"""Whisper on this machine, by the library faster-whisper: one run for each utterance.

The library and its model are an extra (``pip install faster-whisper``). A model is a directory on
the disk; nothing is ever downloaded.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar, TypeVarTuple, Unpack

import numpy as np

from sipbot.agent.ports import ListenFor, Transcript
from sipbot.agent.providers.counts import Counts, failed, used
from sipbot.agent.providers.openai_audio import UtteranceTranscriber
from sipbot.call.leg import Pcm
from sipbot.call.resample import Resampler
from sipbot.errors import ProviderError

WHISPER: Final = "whisper"
LIBRARY: Final = "faster_whisper"
RATE: Final = 16_000  # Hz
TIMEOUT_S: Final = 15.0  # seconds for one utterance, with the wait for those before it

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True, slots=True)
class WhisperSettings:
    """``model`` is a directory."""

    model: Path
    language: str | None = None
    device: str = "cpu"
    compute_type: str = "int8"
    threads: int = 2


class WhisperEars:
    """Implements ``SpeechToText`` and ``Service``; one transcription runs at a time."""

    def __init__(self, settings: WhisperSettings, counts: Counts) -> None:
        self._settings, self._counts = settings, counts
        self._thread = ThreadPoolExecutor(1, "whisper")
        self._model: Any = None  # loaded and used in the thread

    async def warm(self) -> None:
        """Load the model. What is wrong is told when somebody listens."""
        try:
            await self._in_thread(self._load)
        except ProviderError:
            return

    async def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    @asynccontextmanager
    async def open(self, wanted: ListenFor) -> AsyncGenerator[UtteranceTranscriber, None]:
        """Raises ProviderError ``no-library`` or ``no-model``."""
        try:
            await self._in_thread(self._load)
        except ProviderError as error:
            failed(self._counts, error)
            raise
        transcriber = UtteranceTranscriber(wanted.rate, lambda pcm: self._transcribe(pcm, wanted))
        try:
            yield transcriber
        finally:
            transcriber.close()

    async def _transcribe(self, pcm: Pcm, wanted: ListenFor) -> Transcript:
        used(self._counts, WHISPER, "audio-ms", 1_000 * len(pcm) // wanted.rate)
        try:
            return await self._in_thread(self._work, pcm, wanted)
        except ProviderError as error:
            failed(self._counts, error)
            raise

    async def _in_thread(self, work: Callable[[Unpack[Ts]], T], *arguments: *Ts) -> T:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await loop.run_in_executor(self._thread, work, *arguments)
        except TimeoutError:
            raise ProviderError(WHISPER, "timeout", retry=True) from None

    def _load(self) -> None:
        if self._model is not None:
            return
        settings = self._settings
        if not settings.model.is_dir():
            raise ProviderError(WHISPER, "no-model")
        try:
            library = importlib.import_module(LIBRARY)
        except ImportError:
            raise ProviderError(WHISPER, "no-library") from None
        try:
            self._model = library.WhisperModel(
                str(settings.model),
                device=settings.device,
                compute_type=settings.compute_type,
                cpu_threads=settings.threads,
                local_files_only=True,
            )
        except (RuntimeError, ValueError, OSError):
            raise ProviderError(WHISPER, "no-model") from None

    def _work(self, pcm: Pcm, wanted: ListenFor) -> Transcript:
        """In the thread. Nothing that the library raises is handed on: it may quote."""
        sound = pcm
        if wanted.rate != RATE:
            resampler = Resampler(wanted.rate, RATE)
            sound = np.concatenate((resampler.push(pcm), resampler.flush()))
        language = self._settings.language or wanted.language
        try:
            segments, _ = self._model.transcribe(
                sound.astype(np.float32) / 32_768,
                language=language.partition("-")[0] if language else None,
                beam_size=1,
                condition_on_previous_text=False,
                initial_prompt=", ".join(wanted.phrases) or None,
            )
            text = " ".join(segment.text.strip() for segment in segments)
        except (RuntimeError, ValueError):
            raise ProviderError(WHISPER, "failed", retry=True) from None
        return Transcript(text.strip(), True)
