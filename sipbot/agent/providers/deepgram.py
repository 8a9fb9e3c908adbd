"""Deepgram: streaming recognition (``/v1/listen``) and speech (``/v1/speak``).

Recognition runs over a WebSocket: audio in binary messages, results in JSON. Where an utterance
ends is decided here and told by ``Finalize``; a silent connection is kept by ``KeepAlive``, which
Deepgram wants within 10 s.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from sipbot.agent.ports import ListenFor, Transcript
from sipbot.agent.providers.counts import Counts
from sipbot.agent.providers.http import Ask, HttpService
from sipbot.agent.providers.listening import StreamingTranscriber, keep_alive
from sipbot.agent.providers.patience import PATIENT, Patience
from sipbot.agent.providers.pcm import to_bytes
from sipbot.agent.providers.speaking import AUDIO, HttpSynthesizer
from sipbot.agent.providers.websocket import alongside, opened
from sipbot.call.leg import Pcm
from sipbot.errors import ProviderError

DEEPGRAM: Final = "deepgram"
KEEP_ALIVE_S: Final = 4.0  # seconds of silence on the connection
MAX_TEXT: Final = 2_000  # characters
MAX_TERMS: Final = 100  # key terms in the URL


def authorization(key: str) -> dict[str, str]:
    return {"Authorization": f"Token {key}"}


class DeepgramEars:
    """Implements ``SpeechToText``. ``options`` are more query parameters, as Deepgram has them."""

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
        keep_alive_s: float = KEEP_ALIVE_S,
    ) -> None:
        self._url, self._headers, self._counts = url, authorization(key), counts
        self._model, self._language, self._options = model, language, dict(options or {})
        self._patience, self._keep_alive_s = patience, keep_alive_s

    @asynccontextmanager
    async def open(self, wanted: ListenFor) -> AsyncGenerator[DeepgramTranscriber, None]:
        """Connect. Raises ProviderError."""
        async with opened(
            DEEPGRAM,
            f"{self._url.rstrip('/')}/listen",
            self._headers,
            self._patience,
            self._counts,
            self._query(wanted),
        ) as socket:
            transcriber = DeepgramTranscriber(socket, self._patience, self._counts, wanted.rate)
            beat = keep_alive(transcriber, self._keep_alive_s, {"type": "KeepAlive"})
            async with alongside(beat):
                try:
                    yield transcriber
                finally:
                    transcriber.close()

    def _query(self, wanted: ListenFor) -> dict[str, str | list[str]]:
        query: dict[str, str | list[str]] = {
            "model": self._model,
            "encoding": "linear16",
            "sample_rate": str(wanted.rate),
            "channels": "1",
            "interim_results": "true",
            "punctuate": "true",
            "endpointing": "false",
        }
        language = self._language or wanted.language
        if language:
            query["language"] = language
        if wanted.phrases:
            term = "keyterm" if self._model.startswith("nova-3") else "keywords"
            query[term] = list(wanted.phrases[:MAX_TERMS])
        return {**query, **self._options}


class DeepgramTranscriber(StreamingTranscriber):
    """One connection."""

    def audio(self, pcm: Pcm) -> bytes:
        return to_bytes(pcm)

    def end(self) -> dict[str, Any]:
        return {"type": "Finalize"}

    def read(self, message: dict[str, Any]) -> Iterator[Transcript]:
        kind = message.get("type")
        if kind == "Error":
            raise ProviderError(DEEPGRAM, "failed", retry=True)
        if kind != "Results":
            return
        best = message["channel"]["alternatives"][0]
        text = str(best["transcript"]).strip()
        if message.get("is_final"):
            self.part(text, float(best["confidence"]))
        else:
            self.interim = text
        if message.get("from_finalize") or message.get("speech_final"):
            yield self.whole()
        elif text:
            yield self.so_far()


class DeepgramVoice(HttpSynthesizer):
    """Text to speech; a voice is a model such as ``aura-2-thalia-en``."""

    def __init__(self, service: HttpService, counts: Counts, voice: str, rate: int) -> None:
        super().__init__(service, counts, rate, MAX_TEXT)
        self._voice = voice

    def ask(self, text: str, voice: str | None) -> Ask:
        query = {
            "model": voice or self._voice,
            "encoding": "linear16",
            "container": "none",
            "sample_rate": str(self.rate),
        }
        return Ask("speak", json={"text": text}, query=query, accept=AUDIO)
