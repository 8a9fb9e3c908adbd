"""One answer as sound: it is played while it is made, can be stopped and goes on where it was.

The whole answer is kept at the line's rate until it is over, so that the played position of the
line tells exactly which of its samples were heard.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

import numpy as np

from sipbot.agent.voice.history import heard_part
from sipbot.agent.voice.settings import FADE_MS
from sipbot.call.call import Call
from sipbot.call.leg import Pcm
from sipbot.call.resample import EMPTY, Resampler
from sipbot.call.speech import Said, SpeechChunk

PIECE_MS: Final = 200  # milliseconds handed to the line at once
TICK_S: Final = 0.02  # seconds between two looks at the played position
AHEAD_S: Final = 30.0  # seconds of unheard speech that may wait
MS_A_CHARACTER: Final = 65  # of speech; a guess where a clause is not finished


@dataclass(slots=True)
class Clause:
    """A piece of text and where its sound lies, in samples. ``part`` groups clauses."""

    text: str
    part: int
    start: int
    end: int | None = None


class Utterance:
    """``add`` sound, ``run`` plays it. Everything in samples at the line's rate."""

    def __init__(self, call: Call) -> None:
        self.rate = call.line.rate
        self.audible_at: float | None = None  # loop time when its first sound left
        self.clauses: list[Clause] = []
        self._call, self._line = call, call.line
        self._pcm: Pcm = EMPTY
        self._made = 0  # samples of _pcm that are filled
        self._written = 0  # samples that the line took, or that were heard when it was stopped
        self._base: int | None = None  # ``line.played`` when sample 0 leaves
        self._held = self._finished = self._soft = False
        self._stops = 0  # how often it was stopped
        self._news = asyncio.Event()
        self._resampler: Resampler | None = None

    # Making

    def begin(self, text: str, part: int = 0) -> None:
        """The sound that follows is that of ``text``."""
        self.clauses.append(Clause(text, part, self._made))
        self._call.note_speech(text)

    async def add(self, chunk: SpeechChunk) -> None:
        """More sound. Waits while very much of it is unheard."""
        await self.wait_heard(AHEAD_S * 1000)
        pcm = chunk.pcm
        if chunk.rate != self.rate:
            self._resampler = self._resampler or Resampler(chunk.rate, self.rate)
            pcm = self._resampler.push(pcm)
        self._append(pcm)

    def end_clause(self) -> None:
        """All sound of the current text is there."""
        if self._resampler is not None:
            self._append(self._resampler.flush())
            self._resampler = None
        self.clauses[-1].end = self._made

    def finish(self) -> None:
        """Nothing follows: ``run`` ends once all was heard."""
        self._finished = True
        self._news.set()

    # Playing

    async def run(self) -> None:
        """Play; returns once it is finished and heard."""
        while not await self._played():
            if self._held or self._written == self._made:
                self._news.clear()
                await self._news.wait()
                continue
            await self._write()

    async def hush(self) -> None:
        """Stop within a few milliseconds, fading. ``resume`` goes on at the sample that follows."""
        if self._held:
            return
        self._held = True
        self._stops += 1
        await self._call.clear()
        self._written, self._base = self.heard, None
        rest = self._pcm[self._written : self._made][: self.rate * FADE_MS // 1000]
        if self._written and len(rest):
            await self._call.play(_ramped(rest, 1.0, 0.0), self.rate)
        self._soft = self._written > 0

    def resume(self) -> None:
        """Go on."""
        self._held = False
        self._news.set()

    # What was heard

    @property
    def heard(self) -> int:
        """Samples that left towards the caller."""
        if self._base is None:
            return self._written
        return min(max(self._line.played - self._base, 0), self._made)

    @property
    def finished(self) -> bool:
        """Whether all of it is made."""
        return self._finished

    @property
    def unheard_ms(self) -> float:
        """What is made already and was not heard."""
        return (self._made - self.heard) * 1000 / self.rate

    def heard_texts(self) -> dict[int, str]:
        """What was heard of each part."""
        heard = self.heard
        parts: dict[int, list[str]] = {}
        for clause in self.clauses:
            text = heard_part(clause.text, _share(clause, heard, self.rate))
            if text:
                parts.setdefault(clause.part, []).append(text)
        return {part: " ".join(texts) for part, texts in parts.items()}

    async def wait_heard(self, left_ms: float) -> None:
        """Wait until no more than ``left_ms`` of what was made is unheard."""
        while True:
            if self.unheard_ms <= left_ms:
                return
            await asyncio.sleep(TICK_S)

    def tell(self) -> None:
        """Tell those who follow the call's speech what became of each clause."""
        heard = self.heard
        for clause in self.clauses:
            end = self._made if clause.end is None else clause.end
            total = end - clause.start
            got = min(max(heard - clause.start, 0), total)
            scale = 1000 / self.rate
            interrupted = clause.end is None or got < total
            self._call.note_speech(
                clause.text, Said(round(got * scale), round(total * scale), interrupted)
            )

    async def _write(self) -> None:
        line, stops = self._line, self._stops
        if self._base is None:
            waiting = line.written - line.consumed
            self._base = line.played + waiting - self._written
        end = min(self._made, self._written + self.rate * PIECE_MS // 1000)
        piece = self._pcm[self._written : end]
        if self._soft:
            count = min(self.rate * FADE_MS // 1000, len(piece))
            piece = np.concatenate((_ramped(piece[:count], 0.0, 1.0), piece[count:]))
            self._soft = False
        first = line.written
        await self._call.play(piece, self.rate)
        if self._stops == stops:
            self._written = end
            if self.audible_at is None:
                await line.wait_consumed(first + 1)
                if self.heard:
                    self.audible_at = asyncio.get_running_loop().time()

    async def _played(self) -> bool:
        if self._held or not self._finished or self._written < self._made:
            return False
        stops = self._stops
        await self._call.drain()
        return stops == self._stops

    def _append(self, pcm: Pcm) -> None:
        need = self._made + len(pcm)
        if need > len(self._pcm):
            grown = np.zeros(max(2 * len(self._pcm), need, self.rate), np.int16)
            grown[: self._made] = self._pcm[: self._made]
            self._pcm = grown
        self._pcm[self._made : need] = pcm
        self._made = need
        self._news.set()


def _share(clause: Clause, heard: int, rate: int) -> float:
    """Which share of a clause was heard, from 0 to 1."""
    end = clause.end
    if end is None:
        end = clause.start + len(clause.text) * MS_A_CHARACTER * rate // 1000
    length = max(end - clause.start, 1)
    return min(max((heard - clause.start) / length, 0.0), 1.0)


def _ramped(pcm: Pcm, first: float, last: float) -> Pcm:
    ramp = np.linspace(first, last, len(pcm), dtype=np.float32)
    faded: Pcm = (pcm * ramp).astype(np.int16)
    return faded
