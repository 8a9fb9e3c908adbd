"""OpenAI's audio interfaces, also those of servers that imitate them: speech and transcriptions.

Speech streams (``POST {base_url}/audio/speech``, raw samples at 24 kHz). Transcriptions are asked
for one utterance at a time (``POST {base_url}/audio/transcriptions``): no interim texts.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import numpy as np

from sipbot.agent.ports import ListenFor, Transcript
from sipbot.agent.providers.counts import Counts, used
from sipbot.agent.providers.http import Ask, HttpService
from sipbot.agent.providers.patience import insisted
from sipbot.agent.providers.pcm import to_wav
from sipbot.agent.providers.speaking import AUDIO, HttpSynthesizer
from sipbot.call.leg import Pcm
from sipbot.errors import ProviderError

SPEECH_RATE: Final = 24_000  # Hz of the format "pcm"
MAX_TEXT: Final = 4_096  # characters
MAX_UTTERANCE_S: Final = 60  # seconds of audio kept; of longer utterances the end is transcribed
MAX_WAITING: Final = 4  # utterances that wait to be transcribed
MAX_ANSWER: Final = 262_144  # bytes
FRAME_MS: Final = 20  # milliseconds that are looked at together
LEAD_IN_MS: Final = 300  # milliseconds kept before the first sound
QUIET: Final = 30.0  # RMS below which there is no speech, about -61 dBFS
FAINT: Final = 0.03  # of the loudest frame; fainter ones do not begin an utterance
MIN_UTTERANCE_S: Final = 0.1  # seconds; shorter audio is refused by OpenAI and holds no word


class OpenAiSpeech(HttpSynthesizer):
    """Text to speech. ``instructions`` say how to speak, where the model heeds them."""

    def __init__(
        self,
        service: HttpService,
        counts: Counts,
        model: str,
        voice: str,
        *,
        speed: float | None = None,
        instructions: str = "",
    ) -> None:
        super().__init__(service, counts, SPEECH_RATE, MAX_TEXT)
        self._voice = voice
        self._fixed: dict[str, Any] = {"model": model, "response_format": "pcm"}
        if speed is not None:
            self._fixed["speed"] = speed
        if instructions:
            self._fixed["instructions"] = instructions

    def ask(self, text: str, voice: str | None) -> Ask:
        body = {**self._fixed, "input": text, "voice": voice or self._voice}
        return Ask("audio/speech", json=body, accept=AUDIO)


class OpenAiTranscriptions:
    """Implements ``SpeechToText``, utterance by utterance."""

    def __init__(self, service: HttpService, counts: Counts, model: str, prompt: str = "") -> None:
        self._service, self._counts, self._model, self._prompt = service, counts, model, prompt

    async def warm(self) -> None:
        await self._service.warm()

    async def close(self) -> None:
        await self._service.close()

    @asynccontextmanager
    async def open(self, wanted: ListenFor) -> AsyncGenerator[UtteranceTranscriber, None]:
        """Connections are shared between calls, so that entering does not fail."""
        await self.warm()
        transcriber = UtteranceTranscriber(wanted.rate, lambda pcm: self._transcribe(pcm, wanted))
        try:
            yield transcriber
        finally:
            transcriber.close()

    async def _transcribe(self, pcm: Pcm, wanted: ListenFor) -> Transcript:
        provider = self._service.provider
        used(self._counts, provider, "audio-ms", 1000 * len(pcm) // wanted.rate)
        form = {"model": self._model, "response_format": "json"}
        if wanted.language:
            form["language"] = wanted.language.partition("-")[0]  # ISO 639-1
        prompt = " ".join(part for part in (self._prompt, ", ".join(wanted.phrases)) if part)
        if prompt:
            form["prompt"] = prompt
        file = ("speech.wav", to_wav(pcm, wanted.rate), "audio/wav")
        ask = Ask("audio/transcriptions", form=form, file=file, accept=("application/json",))

        async def attempt() -> Transcript:
            body = await self._service.whole(ask, MAX_ANSWER)
            try:
                return Transcript(str(json.loads(body)["text"]).strip(), True)
            except (ValueError, KeyError, TypeError):
                raise ProviderError(provider, "garbage") from None

        return await insisted(self._service.patience, self._counts, attempt)


def spoken_part(pcm: Pcm, rate: int) -> Pcm:
    """``pcm`` without the silence before its first sound: what was pushed while the caller listened
    costs time and money, and models make up words for it. Nothing is left of silence."""
    frame = rate * FRAME_MS // 1_000
    frames = pcm[: len(pcm) - len(pcm) % frame].reshape(-1, frame).astype(np.float32)
    if not len(frames):
        return pcm
    levels = np.sqrt(np.mean(np.square(frames), axis=1))
    loud = np.flatnonzero(levels > max(QUIET, levels.max() * FAINT))
    if not len(loud):
        return pcm[:0]
    return pcm[max(0, (int(loud[0]) - LEAD_IN_MS // FRAME_MS) * frame) :]


class UtteranceTranscriber:
    """Implements ``Transcriber`` for services that take a whole utterance.

    ``transcribe`` runs while the transcripts are read; up to ``MAX_WAITING`` utterances wait.
    """

    def __init__(self, rate: int, transcribe: Callable[[Pcm], Awaitable[Transcript]]) -> None:
        self._rate, self._transcribe = rate, transcribe
        self._parts: list[Pcm] = []
        self._samples = 0
        self._waiting: asyncio.Queue[Pcm | None] = asyncio.Queue(MAX_WAITING)

    async def push(self, pcm: Pcm) -> None:
        """Keep the audio. Of more than ``MAX_UTTERANCE_S`` the oldest is dropped."""
        self._parts.append(pcm)
        self._samples += len(pcm)
        while self._samples - len(self._parts[0]) >= MAX_UTTERANCE_S * self._rate:
            self._samples -= len(self._parts.pop(0))

    async def finish_utterance(self) -> None:
        whole = np.concatenate(self._parts) if self._parts else np.zeros(0, np.int16)
        utterance = spoken_part(whole, self._rate)
        self._parts, self._samples = [], 0
        await self._waiting.put(utterance)

    async def transcripts(self) -> AsyncIterator[Transcript]:
        """A final transcript an utterance."""
        while (utterance := await self._waiting.get()) is not None:
            if len(utterance) < MIN_UTTERANCE_S * self._rate:
                yield Transcript("", True)
            else:
                yield await self._transcribe(utterance)

    def close(self) -> None:
        """Nothing more will be transcribed."""
        while not self._waiting.empty():
            self._waiting.get_nowait()
        self._waiting.put_nowait(None)
