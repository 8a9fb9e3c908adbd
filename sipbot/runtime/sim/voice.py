"""The voice of scripted callers: espeak-ng, WAV files, tones. Made before the call begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from sipbot.agent.providers.espeak import EspeakSynthesizer
from sipbot.call.leg import Pcm
from sipbot.call.resample import Resampler
from sipbot.call.wav import Wav
from sipbot.exotel.sim.caller import tone
from sipbot.exotel.sim.steps import Action


class Voices:
    """Audio of the callers' actions. ``sounds`` has the files that they play."""

    def __init__(self, sounds: Mapping[str, Wav]) -> None:
        self._sounds = sounds
        self._synthesizer = EspeakSynthesizer()
        self._made: dict[str, Wav] = {}

    async def prepare(self, actions: Iterable[Action]) -> None:
        """Make the speech of all actions. Raises SpeechError."""
        for action in actions:
            if action.say is not None and action.say not in self._made:
                self._made[action.say] = await self._spoken(action.say)

    async def audio(self, action: Action, rate: int) -> Pcm:
        """What the caller lets be heard, at ``rate`` Hz."""
        if action.tone_ms is not None:
            return tone(action.tone_ms, rate)
        if action.play is not None:
            return at_rate(self._sounds[action.play], rate)
        await self.prepare([action])
        return at_rate(self._made[action.say or ""], rate)

    async def _spoken(self, text: str) -> Wav:
        chunks = [chunk async for chunk in self._synthesizer.synthesize(text)]
        if not chunks:
            return Wav(np.zeros(0, np.int16), 8_000)
        return Wav(np.concatenate([chunk.pcm for chunk in chunks]), chunks[0].rate)


def at_rate(wav: Wav, rate: int) -> Pcm:
    """The samples at ``rate`` Hz."""
    if wav.rate == rate:
        return wav.pcm
    resampler = Resampler(wav.rate, rate)
    return np.concatenate((resampler.push(wav.pcm), resampler.flush()))
