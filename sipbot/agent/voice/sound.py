"""The bot's voice: texts become sound, with a fall-back where the service fails."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from sipbot.call.call import Call
from sipbot.call.speech import SpeechChunk, Synthesizer
from sipbot.errors import ProviderError, SpeechError

MAX_PHRASES: Final = 64  # fixed phrases whose sound is kept
MAX_PHRASE_SAMPLES: Final = 3_000_000  # of one; longer ones are made each time


class Voice:
    """The voice of one agent, for all its calls.

    ``synthesizer`` None: the one that calls have anyway, which is also what is fallen back to.
    Fixed phrases are made once.
    """

    def __init__(
        self, synthesizer: Synthesizer | None, voice: str | None, timeout_s: float
    ) -> None:
        self._synthesizer, self._voice, self._timeout_s = synthesizer, voice, timeout_s
        self._phrases: OrderedDict[str, list[SpeechChunk]] = OrderedDict()

    async def keep(self, call: Call, text: str) -> None:
        """Make a fixed phrase now. Raises ``SpeechError``, ``ProviderError``."""
        if not text or text in self._phrases:
            return
        chunks: list[SpeechChunk] = []
        samples = 0
        async with aclosing(self._first_choice(call, text)) as speech:
            async for chunk in speech:
                chunks.append(chunk)
                samples += len(chunk.pcm)
                if samples > MAX_PHRASE_SAMPLES:
                    return
        self._phrases[text] = chunks
        while len(self._phrases) > MAX_PHRASES:
            self._phrases.popitem(last=False)

    async def speech(self, call: Call, text: str) -> AsyncGenerator[SpeechChunk, None]:
        """The sound of a text: kept, or from the service, or from what stands in for it.

        A service that fails in the middle ends the sound there. Raises ``SpeechError`` when there
        is no sound at all.
        """
        kept = self._phrases.get(text)
        if kept is not None:
            for chunk in kept:
                yield chunk
            return
        begun = False
        try:
            async with aclosing(self._first_choice(call, text)) as speech:
                async for chunk in speech:
                    begun = True
                    yield chunk
            return
        except (ProviderError, SpeechError) as error:
            call.log.warning("speech failed", error=str(error), begun=begun)
        if begun:
            return
        if self._synthesizer is None:
            raise SpeechError("the synthesiser failed")
        async with aclosing(self.sure(call, text)) as speech:
            async for chunk in speech:
                yield chunk

    async def sure(self, call: Call, text: str) -> AsyncGenerator[SpeechChunk, None]:
        """The sound of a text without the service: for when it is that which fails."""
        kept = self._phrases.get(text)
        if kept is not None:
            for chunk in kept:
                yield chunk
            return
        async with aclosing(self._in_time(call.synthesize(text))) as speech:
            async for chunk in speech:
                yield chunk

    def _first_choice(self, call: Call, text: str) -> AsyncGenerator[SpeechChunk, None]:
        if self._synthesizer is None:
            return self._in_time(call.synthesize(text, self._voice))
        return self._in_time(self._synthesizer.synthesize(text, self._voice))

    async def _in_time(
        self, speech: AsyncGenerator[SpeechChunk, None]
    ) -> AsyncGenerator[SpeechChunk, None]:
        async with aclosing(speech):
            while True:
                try:
                    async with asyncio.timeout(self._timeout_s):
                        chunk = await anext(speech, None)
                except TimeoutError as error:
                    raise SpeechError("the synthesiser takes too long") from error
                if chunk is None:
                    return
                yield chunk
