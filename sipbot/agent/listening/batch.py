"""Voice activity of many lines: windows go in, probabilities of speech come out.

No task, clock or socket is here. Windows that are clearly silence are not given to the model: near
a line's noise floor there is nothing to judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sipbot.agent.listening.levels import NoiseFloors, window_levels
from sipbot.agent.listening.silero import STATE_SIZE, Floats, VadModel, context_size, window_size
from sipbot.call.leg import Pcm

GATE_DB: Final = 2.5  # above the noise floor a window may be speech
QUIETEST_DBFS: Final = -58.0  # below this level nothing is speech
AFTER_SPEECH: Final = 6  # windows after the last loud one that are judged whatever their level
FORGET_AFTER: Final = 30  # windows of silence after which the model starts anew, about a second
SURE: Final = 0.3  # probability from which a loud window keeps the gate open
GROWTH: Final = 64  # slots that are added at once
LOUD_DB: Final = 12.0  # without a model: this far above the floor is speech


class Judged(NamedTuple):
    """One window: probability of speech (0 to 1), its level and the line's floor in dBFS."""

    probability: float
    level: float
    floor: float


class VadBatch:
    """States of all lines at one rate. Without a model, levels alone decide."""

    def __init__(self, rate: int, model: VadModel | None) -> None:
        self.rate = rate
        self.size = window_size(rate)
        self.runs = self.judged = self.skipped = 0  # model runs; windows it saw; windows gated
        self._model, self._keep = model, context_size(rate)
        self._free: list[int] = []
        self._states = np.zeros((2, 0, STATE_SIZE), np.float32)
        self._contexts = np.zeros((0, self._keep), np.float32)
        self._open = np.zeros(0, np.int64)  # windows for which each gate stays open
        self._floors = NoiseFloors(0)

    def add(self) -> int:
        """A new line; returns its slot."""
        if not self._free:
            self._grow()
        slot = self._free.pop()
        self._states[:, slot] = 0
        self._contexts[slot] = 0
        self._open[slot] = AFTER_SPEECH
        self._floors.reset(slot)
        return slot

    def remove(self, slot: int) -> None:
        """The line is over."""
        self._free.append(slot)

    def run(self, lines: Sequence[int], windows: Pcm) -> list[Judged]:
        """Judge one window of each line: ``windows`` is ``(n, size)``."""
        slots = np.array(lines, np.intp)
        samples = windows.astype(np.float32)
        samples *= np.float32(1 / 32_768)
        levels = window_levels(samples)
        floors = self._floors.floors[slots]
        loud = levels >= np.maximum(floors + GATE_DB, QUIETEST_DBFS)
        left = np.where(loud, np.maximum(self._open[slots], 1), self._open[slots])
        chosen = np.flatnonzero(left > 0)
        probabilities = np.zeros(len(slots), np.float32)
        if len(chosen):
            where = slots[chosen]
            probabilities[chosen] = self._judge(where, samples[chosen], levels[chosen])
            self.judged += len(chosen)
        self.skipped += len(slots) - len(chosen)
        self._contexts[slots] = samples[:, -self._keep :]
        self._count(slots, left, loud & (probabilities >= SURE))
        self._floors.push(slots, levels)
        return list(map(Judged, probabilities.tolist(), levels.tolist(), floors.tolist()))

    def _judge(self, slots: NDArray[np.intp], samples: Floats, levels: Floats) -> Floats:
        if self._model is None:
            above = levels - self._floors.floors[slots]
            guess: Floats = np.where(above >= LOUD_DB, 0.9, 0.0).astype(np.float32)
            return guess
        rows = np.concatenate((self._contexts[slots], samples), axis=1)
        probabilities, states = self._model.run(rows, self._states[:, slots])
        self._states[:, slots] = states
        self.runs += 1
        return probabilities

    def _count(
        self, slots: NDArray[np.intp], left: NDArray[np.int64], speech: NDArray[np.bool_]
    ) -> None:
        """How long each line's gate stays open; negative: windows that it has been shut."""
        after = np.where(speech, AFTER_SPEECH, left - 1)
        self._open[slots] = after
        stale = slots[after == -FORGET_AFTER]
        if len(stale):
            self._states[:, stale] = 0

    def _grow(self) -> None:
        old = len(self._open)
        slots = old + GROWTH
        states = np.zeros((2, slots, STATE_SIZE), np.float32)
        contexts = np.zeros((slots, self._keep), np.float32)
        opened = np.zeros(slots, np.int64)
        floors = NoiseFloors(slots)
        states[:, :old], contexts[:old], opened[:old] = self._states, self._contexts, self._open
        floors.take(self._floors)
        self._states, self._contexts, self._open, self._floors = states, contexts, opened, floors
        self._free.extend(range(slots - 1, old - 1, -1))
