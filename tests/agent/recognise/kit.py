"""Speech for tests of the recogniser, as a telephone line carries it."""

from __future__ import annotations

import numpy as np

from sipbot.agent.providers.espeak import EspeakSynthesizer, EspeakVoice
from sipbot.call.leg import Pcm
from sipbot.call.resample import Resampler

LINE_RATE = 8_000
QUIET: Pcm = np.zeros(LINE_RATE // 4, np.int16)


async def spoken(text: str, voice: str = "en-us") -> Pcm:
    """``text`` at 8 kHz between two quarters of a second of silence."""
    chunks = [chunk async for chunk in EspeakSynthesizer(EspeakVoice(voice)).synthesize(text)]
    resampler = Resampler(chunks[0].rate, LINE_RATE)
    pcm = resampler.push(np.concatenate([chunk.pcm for chunk in chunks]))
    return np.concatenate((QUIET, pcm, resampler.flush(), QUIET))
