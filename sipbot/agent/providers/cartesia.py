"""Cartesia: speech, streamed (``POST /tts/bytes``)."""

from __future__ import annotations

from typing import Any, Final

from sipbot.agent.providers.counts import Counts
from sipbot.agent.providers.http import Ask, HttpService
from sipbot.agent.providers.speaking import AUDIO, HttpSynthesizer

VERSION: Final = "2025-04-16"  # of the interface, in the header Cartesia-Version
MAX_TEXT: Final = 5_000  # characters


def authorization(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}", "Cartesia-Version": VERSION}


class CartesiaVoice(HttpSynthesizer):
    """A voice is the id of one of Cartesia's."""

    def __init__(
        self,
        service: HttpService,
        counts: Counts,
        model: str,
        voice: str,
        *,
        rate: int,
        language: str | None = None,
    ) -> None:
        super().__init__(service, counts, rate, MAX_TEXT)
        self._voice = voice
        self._fixed: dict[str, Any] = {
            "model_id": model,
            "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": rate},
        }
        if language:
            self._fixed["language"] = language

    def ask(self, text: str, voice: str | None) -> Ask:
        chosen = {"mode": "id", "id": voice or self._voice}
        body = {**self._fixed, "transcript": text, "voice": chosen}
        return Ask("tts/bytes", json=body, accept=AUDIO)
