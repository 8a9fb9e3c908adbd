"""One answer of the model on its way to the caller."""

from __future__ import annotations

import asyncio

from sipbot.agent.ports import SpokenAudio
from sipbot.agent.voice.utterance import Utterance
from sipbot.call.call import Call
from sipbot.call.speech import Said, SpeechChunk


class Answer:
    """``add`` never waits; ``run`` plays. How much may come is bounded by the provider."""

    def __init__(self, call: Call) -> None:
        self.texts: list[str] = []  # what the model says that it says
        self._call, self._sound = call, Utterance(call)
        self._waiting: asyncio.Queue[SpeechChunk | None] = asyncio.Queue()
        self._made_s = 0.0
        self._stopped = False

    @property
    def heard_ms(self) -> int:
        """How much of it left towards the caller."""
        return self._sound.heard * 1_000 // self._sound.rate

    @property
    def left_s(self) -> float:
        """Seconds that the caller has yet to hear."""
        return max(0.0, self._made_s - self.heard_ms / 1_000)

    def add(self, audio: SpokenAudio) -> None:
        self._made_s += len(audio.pcm) / audio.rate
        self._waiting.put_nowait(SpeechChunk(audio.pcm, audio.rate))

    def finish(self) -> None:
        """Nothing follows."""
        self._waiting.put_nowait(None)

    async def run(self) -> None:
        """Play; returns once all was heard."""
        feeding = asyncio.create_task(self._feed())
        try:
            await self._sound.run()
        finally:
            feeding.cancel()
            await asyncio.wait({feeding})

    async def stop(self) -> None:
        """Stop within a few milliseconds, for good."""
        self._stopped = True
        await self._sound.hush()

    def tell(self) -> None:
        """Tell those who follow the call's speech what became of it."""
        said = Said(self.heard_ms, round(self._made_s * 1_000), self._stopped)
        for text in self.texts:
            self._call.note_speech(text)
            self._call.note_speech(text, said)

    async def _feed(self) -> None:
        while (chunk := await self._waiting.get()) is not None:
            await self._sound.add(chunk)
        self._sound.finish()
