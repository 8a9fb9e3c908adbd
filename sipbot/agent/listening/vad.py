"""Voice activity for the calls of one process: one run of the model for all that have a window.

Lines push audio as it comes. What is complete waits for the windows of other lines, a few
milliseconds at most, and is judged with them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from sipbot.agent.listening.batch import VadBatch
from sipbot.agent.listening.silero import SileroModel, VadModel, VadUnavailable
from sipbot.call.leg import Pcm

FEW_LINES: Final = 8  # up to so many, nobody waits for others
GATHER_S: Final = 0.016  # seconds that a window waits for those of other lines
MAX_BACKLOG: Final = 64  # windows of one line that may wait, two seconds; older ones are dropped


class VadWindow(NamedTuple):
    """One judged window of a line. ``end`` counts the line's samples up to its end."""

    probability: float
    level: float  # dBFS
    floor: float  # dBFS, the noise of the line
    end: int


WindowListener: TypeAlias = Callable[[VadWindow], None]


class VadService:
    """One for each process and rate. ``model`` None: the Silero model, loaded at the first line."""

    def __init__(self, rate: int = 8_000, model: VadModel | None = None) -> None:
        self.rate = rate
        self.degraded = ""  # why there is no model, so that levels alone decide
        self._model, self._batch = model, None if model is None else VadBatch(rate, model)
        self._lines: set[VadLine] = set()
        self._due: dict[VadLine, None] = {}  # lines with a whole window, in order
        self._timer: asyncio.Handle | None = None

    @property
    def batch(self) -> VadBatch:
        """What is run. Loads the model when that was not done."""
        if self._batch is None:
            try:
                self._batch = VadBatch(self.rate, self._model or SileroModel(self.rate))
            except VadUnavailable as error:
                self.degraded = str(error)
                self._batch = VadBatch(self.rate, None)
        return self._batch

    def open(self, hear: WindowListener) -> VadLine:
        """A new line; ``hear`` is called for each of its windows, in order, until it is closed."""
        line = VadLine(self, self.batch.add(), self.batch.size, hear)
        self._lines.add(line)
        return line

    def close(self, line: VadLine) -> None:
        """For ``VadLine.close``."""
        if line in self._lines:
            self._lines.remove(line)
            self._due.pop(line, None)
            self.batch.remove(line.slot)

    def ready(self, line: VadLine) -> None:
        """For lines: a window is complete."""
        self._due[line] = None
        if self._timer is None:
            loop = asyncio.get_running_loop()
            if len(self._lines) <= FEW_LINES:
                self._timer = loop.call_soon(self._run)
            else:
                self._timer = loop.call_later(GATHER_S, self._run)

    def _run(self) -> None:
        self._timer = None
        while self._due:
            lines, self._due = tuple(self._due), {}
            windows = np.stack([line.take() for line in lines])
            results = self.batch.run([line.slot for line in lines], windows)
            for line, (probability, level, floor) in zip(lines, results, strict=True):
                if line in self._lines:
                    line.judged(probability, level, floor)


class VadLine:
    """One call's audio on its way to the model."""

    __slots__ = (
        "_buffer",
        "_end",
        "_filled",
        "_hear",
        "_service",
        "_size",
        "_start",
        "dropped",
        "slot",
    )

    def __init__(self, service: VadService, slot: int, size: int, hear: WindowListener) -> None:
        self.slot = slot
        self.dropped = 0  # samples that were never judged: the process was too slow
        self._service, self._size, self._hear = service, size, hear
        self._buffer: Pcm = np.zeros(2 * size, np.int16)
        self._start = self._filled = 0  # of what waits in the buffer
        self._end = 0  # samples that were taken or dropped

    def push(self, pcm: Pcm) -> None:
        """Audio that follows what was pushed before."""
        filled = self._filled + len(pcm)
        if filled > len(self._buffer):
            pcm, filled = self._make_room(pcm)
        self._buffer[filled - len(pcm) : filled] = pcm
        self._filled = filled
        if filled - self._start >= self._size:
            self._service.ready(self)

    def take(self) -> Pcm:
        """For the service: the next whole window, valid until the next push."""
        first = self._start
        self._start += self._size
        self._end += self._size
        return self._buffer[first : self._start]

    def judged(self, probability: float, level: float, floor: float) -> None:
        """For the service: what came of the window taken last."""
        end = self._end
        if self._filled - self._start >= self._size:
            self._service.ready(self)
        self._hear(VadWindow(probability, level, floor, end))

    def close(self) -> None:
        """Nothing more is heard. May be done twice."""
        self._service.close(self)

    def _make_room(self, pcm: Pcm) -> tuple[Pcm, int]:
        """Move what waits to the front; returns what to add and how much there is then."""
        waiting = self._buffer[self._start : self._filled]
        rest = np.concatenate((waiting, pcm))
        most = self._size * MAX_BACKLOG
        if len(rest) > most:
            self.dropped += len(rest) - most
            self._end += len(rest) - most
            rest = rest[-most:]
        if len(rest) > len(self._buffer):
            self._buffer = np.zeros(len(rest), np.int16)
        self._start = 0
        kept = max(len(rest) - len(pcm), 0)
        self._buffer[:kept] = rest[:kept]
        return rest[kept:], len(rest)
