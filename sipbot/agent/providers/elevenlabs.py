"""ElevenLabs: speech, streamed (``POST /v1/text-to-speech/{voice}/stream``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from sipbot.agent.providers.counts import Counts
from sipbot.agent.providers.http import Ask, HttpService
from sipbot.agent.providers.speaking import AUDIO, HttpSynthesizer

MAX_TEXT: Final = 5_000  # characters


class ElevenLabsVoice(HttpSynthesizer):
    """``settings`` are ElevenLabs' ``voice_settings``: stability, similarity_boost, speed …"""

    def __init__(
        self,
        service: HttpService,
        counts: Counts,
        model: str,
        voice: str,
        *,
        rate: int,
        language: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(service, counts, rate, MAX_TEXT)
        self._voice = voice
        self._fixed: dict[str, Any] = {"model_id": model}
        if language:
            self._fixed["language_code"] = language
        if settings:
            self._fixed["voice_settings"] = dict(settings)

    def ask(self, text: str, voice: str | None) -> Ask:
        path = f"text-to-speech/{quote(voice or self._voice, safe='')}/stream"
        query = {"output_format": f"pcm_{self.rate}"}
        return Ask(path, json={**self._fixed, "text": text}, query=query, accept=AUDIO)
