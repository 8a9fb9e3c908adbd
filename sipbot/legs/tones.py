"""Keys as sound, for legs that have no other way to send them (ITU-T Q.23)."""

from __future__ import annotations

from typing import Final

import numpy as np

from sipbot.call.leg import Pcm

_LEVEL: Final = 6_000  # amplitude of each of the two tones
_LOW: Final = (697, 770, 852, 941)  # Hz, rows
_HIGH: Final = (1_209, 1_336, 1_477, 1_633)  # Hz, columns
_ROWS: Final = ("123A", "456B", "789C", "*0#D")
_PAIRS: Final = {
    key: (_LOW[row], _HIGH[column])
    for row, keys in enumerate(_ROWS)
    for column, key in enumerate(keys)
}


def key_tones(digits: str, rate: int, duration_ms: int, gap_ms: int) -> Pcm:
    """Each key of ``digits`` for ``duration_ms``, then ``gap_ms`` of silence; others are left out.

    Samples at ``rate`` Hz.
    """
    time = np.arange(rate * duration_ms // 1000) / rate
    gap = np.zeros(rate * gap_ms // 1000)
    parts = []
    for digit in digits.upper():
        if digit in _PAIRS:
            low, high = _PAIRS[digit]
            sound = np.sin(2 * np.pi * low * time) + np.sin(2 * np.pi * high * time)
            parts += [_LEVEL * sound, gap]
    whole = np.concatenate(parts) if parts else gap[:0]
    samples: Pcm = np.rint(whole).astype(np.int16)
    return samples
