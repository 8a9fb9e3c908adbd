"""Finds sound in audio by its level alone: no model, no training, a few operations a frame.

It hears that somebody speaks, not what; a cough, a slammed door and music count too.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from sipbot.call.leg import Pcm

FRAME_MS: Final = 10  # length of the pieces whose level is taken
THRESHOLD_DBFS: Final = -42.0  # usual speech on a telephone is around -25, line noise below -55
FULL_SCALE: Final = 32_768.0


class LevelFrames:
    """Cuts a stream of mono 16-bit audio at ``rate`` Hz into frames of 10 ms, loud or not."""

    def __init__(self, rate: int, threshold_dbfs: float = THRESHOLD_DBFS) -> None:
        self._size = rate * FRAME_MS // 1000
        self._power = (FULL_SCALE * 10 ** (threshold_dbfs / 20)) ** 2
        self._rest: Pcm = np.zeros(0, np.int16)

    def push(self, pcm: Pcm) -> list[bool]:
        """Whether each frame that ``pcm`` completes is loud, in order."""
        joined = np.concatenate((self._rest, pcm)) if len(self._rest) else pcm
        whole = len(joined) // self._size * self._size
        self._rest = joined[whole:].copy()
        if not whole:
            return []
        frames = joined[:whole].astype(np.float64).reshape(-1, self._size)
        frames -= frames.mean(axis=1, keepdims=True)  # a constant offset is no sound
        loud: list[bool] = (np.square(frames).mean(axis=1) >= self._power).tolist()
        return loud


class SpeechGate:
    """Decides whether somebody speaks. ``push`` tells when that changes.

    Speech begins once ``onset_ms`` of the last ``2 * onset_ms`` were loud, and ends after
    ``hangover_ms`` without a loud frame.
    """

    def __init__(
        self,
        rate: int,
        *,
        threshold_dbfs: float = THRESHOLD_DBFS,
        onset_ms: int = 60,
        hangover_ms: int = 300,
    ) -> None:
        self.speaking = False
        self._frames = LevelFrames(rate, threshold_dbfs)
        self._needed = max(1, onset_ms // FRAME_MS)
        self._hangover = max(1, hangover_ms // FRAME_MS)
        self._recent: list[bool] = []
        self._quiet = 0  # frames since the last loud one

    def push(self, pcm: Pcm) -> bool:
        """Take audio; returns True when speech began in it."""
        began = False
        for loud in self._frames.push(pcm):
            self._recent = [*self._recent[1 - 2 * self._needed :], loud]
            self._quiet = 0 if loud else self._quiet + 1
            if not self.speaking and sum(self._recent) >= self._needed:
                self.speaking = began = True
            elif self.speaking and self._quiet >= self._hangover:
                self.speaking, self._recent = False, []
        return began
