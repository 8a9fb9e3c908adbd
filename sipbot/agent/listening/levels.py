"""Levels of many lines at once, and the noise that each line always has.

The noise floor is the lowest smoothed level of the last three seconds: speech has gaps that short,
so that it follows the line and not the speaker. Levels are dB below full scale (dBFS).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sipbot.agent.listening.silero import Floats

LOWEST_DBFS: Final = -70.0  # what digital silence counts as
LOWEST_POWER: Final = np.float32(10 ** (LOWEST_DBFS / 10))
FIRST_FLOOR_DBFS: Final = -60.0  # of the first window
YOUNG_DBFS: Final = -41.0  # highest floor of a new line: some callers speak at once
SMOOTHING: Final = 0.4  # share of a new window in the smoothed level
BLOCK_WINDOWS: Final = 16  # half a second
BLOCKS: Final = 6  # blocks that are remembered, three seconds


def window_levels(samples: Floats) -> Floats:
    """Levels of windows ``(n, samples)``, from -1 to 1, in dBFS without a constant offset."""
    power = np.einsum("ij,ij->i", samples, samples) / np.float32(samples.shape[1])
    power -= np.square(samples.mean(axis=1))
    levels: Floats = 10 * np.log10(np.maximum(power, LOWEST_POWER))
    return levels


class NoiseFloors:
    """The noise floors of ``slots`` lines, in dBFS."""

    def __init__(self, slots: int) -> None:
        self.floors: Floats = np.full(slots, FIRST_FLOOR_DBFS, np.float32)
        self._smooth = np.zeros(slots, np.float32)
        self._lowest = np.zeros(slots, np.float32)  # of the current block
        self._blocks = np.zeros((slots, BLOCKS), np.float32)
        self._seen = np.zeros(slots, np.int64)  # windows

    def reset(self, slot: int) -> None:
        """A new line takes this slot."""
        self.floors[slot] = FIRST_FLOOR_DBFS
        self._lowest[slot], self._seen[slot] = 0.0, 0
        self._blocks[slot] = 0.0

    def take(self, other: NoiseFloors) -> None:
        """Continue what fewer slots have learned."""
        count = len(other.floors)
        self.floors[:count], self._smooth[:count] = other.floors, other._smooth
        self._lowest[:count], self._blocks[:count] = other._lowest, other._blocks
        self._seen[:count] = other._seen

    def push(self, slots: NDArray[np.intp], levels: Floats) -> None:
        """One window of each of ``slots``."""
        seen = self._seen[slots]
        before = np.where(seen == 0, levels, self._smooth[slots])
        smooth = before + SMOOTHING * (levels - before)
        self._smooth[slots] = smooth
        self._lowest[slots] = np.minimum(self._lowest[slots], smooth)
        self._seen[slots] = seen + 1
        young = slots[seen < BLOCK_WINDOWS]  # the lowest so far is the best guess
        self.floors[young] = np.clip(self._lowest[young], LOWEST_DBFS, YOUNG_DBFS)
        full = slots[(seen + 1) % BLOCK_WINDOWS == 0]
        if len(full):
            place = (self._seen[full] // BLOCK_WINDOWS - 1) % BLOCKS
            self._blocks[full, place] = self._lowest[full]
            self._lowest[full] = 0.0
            self.floors[full] = self._known(full)

    def _known(self, slots: NDArray[np.intp]) -> Floats:
        blocks = self._blocks[slots]
        known = np.where(blocks < 0, blocks, np.float32(0)).min(axis=1)
        lowest: Floats = np.maximum(known, LOWEST_DBFS)
        return lowest
