"""What all services have in common that make speech by an HTTP request a text."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from typing import Final

from sipbot.agent.providers.counts import Counts, used
from sipbot.agent.providers.http import Ask, HttpService
from sipbot.agent.providers.patience import Patience, repeated
from sipbot.agent.providers.pcm import NotPcmError, PcmReader
from sipbot.call.speech import SpeechChunk
from sipbot.errors import ProviderError, SpeechServiceError

MAX_SPEECH_S: Final = 600  # seconds of speech of one text; a service that makes more babbles
AUDIO: Final = ("audio/", "application/octet-stream", "binary/octet-stream")  # content types


class HttpSynthesizer(ABC):
    """Implements ``Synthesizer``: raw samples at ``rate`` Hz that stream as they are made."""

    def __init__(self, service: HttpService, counts: Counts, rate: int, max_text: int) -> None:
        self.rate = rate
        self._service, self._counts, self._max_text = service, counts, max_text

    @abstractmethod
    def ask(self, text: str, voice: str | None) -> Ask:
        """The request for one text."""

    @property
    def patience(self) -> Patience:
        """How long the service may take."""
        return self._service.patience

    async def warm(self) -> None:
        await self._service.warm()

    async def close(self) -> None:
        await self._service.close()

    async def synthesize(
        self, text: str, voice: str | None = None
    ) -> AsyncGenerator[SpeechChunk, None]:
        """Chunks as they come. Raises ``SpeechServiceError``."""
        provider = self._service.provider
        if not text.strip():
            return
        if len(text) > self._max_text:
            raise SpeechServiceError(provider, "text-too-long")
        used(self._counts, provider, "characters", len(text))
        chunks = repeated(
            self._service.patience, self._counts, lambda: self._attempt(self.ask(text, voice))
        )
        try:
            async for chunk in chunks:
                yield chunk
        except ProviderError as error:
            raise SpeechServiceError(
                provider, error.reason, retry=error.retry, retry_after_s=error.retry_after_s
            ) from None
        finally:
            await chunks.aclose()

    async def _attempt(self, ask: Ask) -> AsyncGenerator[SpeechChunk, None]:
        provider = self._service.provider
        reader = PcmReader(self.rate)
        made = 0
        pieces = self._service.pieces(ask)
        try:
            async for piece in pieces:
                pcm = reader.feed(piece)
                made += len(pcm)
                if made > MAX_SPEECH_S * reader.rate:
                    raise ProviderError(provider, "babble")
                if len(pcm):
                    yield SpeechChunk(pcm, reader.rate)
        except NotPcmError:
            raise ProviderError(provider, "garbage") from None
        finally:
            await pieces.aclose()
        if not made:
            raise ProviderError(provider, "empty", retry=True)
