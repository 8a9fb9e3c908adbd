"""Speech of known length, without a synthesiser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Final

import numpy as np

from sipbot.call.leg import Pcm
from sipbot.call.speech import SpeechChunk
from sipbot.errors import SpeechError

CHUNK_MS: Final = 100  # milliseconds of speech made at once
MS_A_CHARACTER: Final = 60  # milliseconds of speech for a character of text, about normal speed


def tone(ms: int, rate: int = 8_000, hz: float = 440.0, level: int = 8_000) -> Pcm:
    """A sine of ``level`` (peak, of 32,767)."""
    time = np.arange(rate * ms // 1000) / rate
    samples: Pcm = np.rint(level * np.sin(2 * np.pi * hz * time)).astype(np.int16)
    return samples


class ScriptedSynthesizer:
    """Says everything as a tone; ``asked`` lists the texts in order.

    A text lasts 60 ms a character, or what ``lengths_ms`` says. ``delay_s`` passes before each
    chunk. Texts in ``failing`` raise ``SpeechError``.
    """

    def __init__(
        self,
        *,
        rate: int = 8_000,
        lengths_ms: Mapping[str, int] | None = None,
        delay_s: float = 0.0,
        failing: frozenset[str] = frozenset(),
    ) -> None:
        self.asked: list[str] = []
        self.closed = 0  # syntheses that ended, whole or not
        self._rate, self._lengths_ms = rate, lengths_ms or {}
        self._delay_s, self._failing = delay_s, failing

    def length_ms(self, text: str) -> int:
        """How long ``text`` lasts."""
        return self._lengths_ms.get(text, MS_A_CHARACTER * len(text))

    async def synthesize(
        self, text: str, voice: str | None = None
    ) -> AsyncGenerator[SpeechChunk, None]:
        """A tone in chunks of 100 ms."""
        self.asked.append(text)
        if text in self._failing:
            raise SpeechError("scripted failure")
        try:
            left = self.length_ms(text)
            while left > 0:
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                yield SpeechChunk(tone(min(left, CHUNK_MS), self._rate), self._rate)
                left -= CHUNK_MS
        finally:
            self.closed += 1
