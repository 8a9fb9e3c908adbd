"""Sarvam, for the languages of India: recognition over a WebSocket, and streamed speech.

Recognition (``/speech-to-text/ws``) takes base64 audio in JSON and answers a transcript for each
utterance, without interim ones; ``flush`` ends one. Speech is ``POST /text-to-speech/stream``.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from sipbot.agent.ports import ListenFor, Transcript
from sipbot.agent.providers.counts import Counts
from sipbot.agent.providers.http import Ask, HttpService
from sipbot.agent.providers.listening import StreamingTranscriber
from sipbot.agent.providers.patience import PATIENT, Patience
from sipbot.agent.providers.pcm import to_bytes
from sipbot.agent.providers.speaking import AUDIO, HttpSynthesizer
from sipbot.agent.providers.websocket import opened
from sipbot.call.leg import Pcm
from sipbot.errors import LocalProtocolError, ProviderError

SARVAM: Final = "sarvam"
RATES: Final = (8_000, 16_000)  # Hz that recognition takes
UNKNOWN: Final = "unknown"  # language that is to be found out
MAX_TEXT: Final = 3_500  # characters
LANGUAGES: Final = {"or": "od-IN"}  # where Sarvam's name is not that of BCP 47


def authorization(key: str) -> dict[str, str]:
    return {"api-subscription-key": key}


def language_code(language: str) -> str:
    """``hi`` and ``hi-IN`` are ``hi-IN``."""
    short = language.partition("-")[0].lower()
    return LANGUAGES.get(short, language if "-" in language else f"{short}-IN")


class SarvamEars:
    """Implements ``SpeechToText`` for audio of 8 or 16 kHz."""

    def __init__(
        self,
        url: str,
        key: str,
        counts: Counts,
        *,
        model: str,
        language: str | None = None,
        options: Mapping[str, str] | None = None,
        patience: Patience = PATIENT,
    ) -> None:
        self._url, self._headers, self._counts = url, authorization(key), counts
        self._model, self._language, self._options = model, language, dict(options or {})
        self._patience = patience

    @asynccontextmanager
    async def open(self, wanted: ListenFor) -> AsyncGenerator[SarvamTranscriber, None]:
        """Connect. Raises ProviderError."""
        if wanted.rate not in RATES:
            raise LocalProtocolError("Sarvam listens at 8000 or 16000 Hz")
        language = self._language or wanted.language
        query: dict[str, str | list[str]] = {
            "language-code": language_code(language) if language else UNKNOWN,
            "model": self._model,
            "sample_rate": str(wanted.rate),
            "input_audio_codec": "pcm_s16le",
            "flush_signal": "true",
            **self._options,
        }
        url = f"{self._url.rstrip('/')}/speech-to-text/ws"
        async with opened(
            SARVAM, url, self._headers, self._patience, self._counts, query
        ) as socket:
            transcriber = SarvamTranscriber(socket, self._patience, self._counts, wanted.rate)
            try:
                yield transcriber
            finally:
                transcriber.close()


class SarvamTranscriber(StreamingTranscriber):
    """One connection."""

    def audio(self, pcm: Pcm) -> dict[str, Any]:
        return {
            "audio": {
                "data": base64.b64encode(to_bytes(pcm)).decode("ascii"),
                "sample_rate": str(self.rate),
                "encoding": "audio/wav",
            }
        }

    def end(self) -> dict[str, Any]:
        return {"type": "flush"}

    def read(self, message: dict[str, Any]) -> Iterator[Transcript]:
        kind = message.get("type")
        if kind == "error":
            raise ProviderError(SARVAM, "failed", retry=True)
        if kind == "data":
            self.part(str(message["data"]["transcript"]).strip())
            yield self.whole() if self.ending else self.so_far()


class SarvamVoice(HttpSynthesizer):
    """A voice is one of Sarvam's speakers; the language is that of the texts."""

    def __init__(
        self,
        service: HttpService,
        counts: Counts,
        model: str,
        voice: str,
        *,
        language: str,
        rate: int,
        pace: float | None = None,
    ) -> None:
        super().__init__(service, counts, rate, MAX_TEXT)
        self._voice = voice
        self._fixed: dict[str, Any] = {
            "model": model,
            "target_language_code": language_code(language),
            "speech_sample_rate": rate,
            "output_audio_codec": "linear16",
        }
        if pace is not None:
            self._fixed["pace"] = pace

    def ask(self, text: str, voice: str | None) -> Ask:
        body = {**self._fixed, "text": text, "speaker": voice or self._voice}
        return Ask("text-to-speech/stream", json=body, accept=AUDIO)
