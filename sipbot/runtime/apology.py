"""Makes the apology for callers who lose their worker, while there is time for it."""

from __future__ import annotations

from typing import Final

import numpy as np

from sipbot.call.leg import Pcm
from sipbot.call.resample import Resampler
from sipbot.call.speech import Synthesizer
from sipbot.errors import SpeechError
from sipbot.media.slots import RATE
from sipbot.ops.logs import Logger

MAX_APOLOGY_S: Final = 10  # seconds; the rest is cut off

_NOTHING: Final = np.empty(0, dtype=np.int16)


async def make_apology(synthesizer: Synthesizer, text: str, log: Logger) -> Pcm:
    """Speech at 8 kHz; empty for an empty text, and when there is no speech."""
    parts: list[Pcm] = []
    resampler: Resampler | None = None
    if not text:
        return _NOTHING
    try:
        async for chunk in synthesizer.synthesize(text):
            resampler = resampler or Resampler(chunk.rate, RATE)
            parts.append(resampler.push(chunk.pcm))
    except SpeechError as error:
        log.warning("no apology", error=str(error))
        return _NOTHING
    if resampler is not None:
        parts.append(resampler.flush())
    whole = np.concatenate(parts) if parts else _NOTHING
    return whole[: MAX_APOLOGY_S * RATE]
