"""Text to speech as a call sees it: a port that providers implement, and what came of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from sipbot.call.leg import Pcm
from sipbot.errors import SpeechError


@dataclass(frozen=True, slots=True)
class SpeechChunk:
    """A piece of speech: mono signed 16-bit samples at ``rate`` Hz."""

    pcm: Pcm
    rate: int


@dataclass(frozen=True, slots=True)
class Said:
    """What became of a text.

    ``total_ms`` is the length of the speech as far as it was made, ``heard_ms`` how much of it
    really left towards the caller. ``interrupted`` when the caller pressed a key or ``clear`` was
    called before its end.
    """

    heard_ms: int
    total_ms: int
    interrupted: bool


class Synthesizer(Protocol):
    """Makes speech."""

    def synthesize(self, text: str, voice: str | None = None) -> AsyncGenerator[SpeechChunk, None]:
        """Chunks of speech as they are made, all at one rate.

        ``voice`` None means the provider's configured voice. Closing the generator stops the
        work. Raises ``SpeechError``, whose text holds nothing of ``text``.
        """
        ...


class NoSynthesizer:
    """Stands in where no speech is configured: speaking fails with a clear error."""

    async def synthesize(
        self, text: str, voice: str | None = None
    ) -> AsyncGenerator[SpeechChunk, None]:
        """Raises ``SpeechError``."""
        nothing: tuple[SpeechChunk, ...] = ()
        for chunk in nothing:  # makes this a generator
            yield chunk
        raise SpeechError("no speech synthesiser is configured")
