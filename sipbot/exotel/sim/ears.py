"""What the scripted caller hears: when there was sound, on the time line of the audio itself.

Times are milliseconds of audio heard since the answer. Every wait is bounded in that time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from sipbot.call.leg import Pcm
from sipbot.call.level import FRAME_MS, LevelFrames

SHORTEST_MS: Final = 30  # sounds that are shorter are clicks
SAME_MS: Final = 40  # sounds closer than this are one
MAX_SOUNDS: Final = 20_000  # of one talk; more are not told apart any more

T = TypeVar("T")


class Deaf(Exception):
    """The line ended while something was awaited on it."""


@dataclass(slots=True)
class Sound:
    """A stretch of sound: [``start``, ``end``) in milliseconds."""

    start: int
    end: int


class Ears:
    """Fed with everything that the line carries, silence included."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.position = 0  # ms heard
        self.closed = False
        self.kept: list[Pcm] | None = None  # gets everything heard from now on, if there is one
        self._sounds: list[Sound] = []
        self._frames = LevelFrames(rate)
        self._news = asyncio.Event()

    def feed(self, pcm: Pcm) -> None:
        """Hear a piece."""
        if self.kept is not None:
            self.kept.append(pcm)
        for loud in self._frames.push(pcm):
            start, self.position = self.position, self.position + FRAME_MS
            if loud:
                self._loud(start)
        self._news.set()

    def close(self) -> None:
        """The line has ended: nothing more will be heard."""
        self.closed = True
        self._news.set()

    @property
    def sounds(self) -> list[Sound]:
        """Everything heard that is no click."""
        return [sound for sound in self._sounds if sound.end - sound.start >= SHORTEST_MS]

    @property
    def sound_ms(self) -> int:
        """How much sound there was in all."""
        return sum(sound.end - sound.start for sound in self.sounds)

    @property
    def sounding(self) -> bool:
        """Whether there is sound right now."""
        return bool(self._sounds) and self._sounds[-1].end > self.position - SAME_MS

    def first_sound(self, since: int) -> int | None:
        """When the first sound after ``since`` began; at ``since`` if one is going on then."""
        for sound in self.sounds:
            if sound.end > since:
                return max(sound.start, since)
        return None

    def first_silence(self, since: int, length: int) -> int | None:
        """When the first silence of ``length`` that lies after ``since`` began."""
        quiet_from = since
        for sound in self.sounds:
            if sound.end <= since:
                continue
            if sound.start - quiet_from >= length:
                return quiet_from
            quiet_from = max(quiet_from, sound.end)
        return quiet_from if self.position - quiet_from >= length else None

    async def until(self, found: Callable[[], T | None], within_ms: int) -> T | None:
        """Wait until ``found`` gives something, for ``within_ms`` of audio; None if not.

        Raises ``Deaf`` when the line ends first.
        """
        limit = self.position + within_ms
        while (result := found()) is None:
            if self.closed:
                raise Deaf
            if self.position >= limit:
                return None
            self._news.clear()
            await self._news.wait()
        return result

    def _loud(self, start: int) -> None:
        last = self._sounds[-1] if self._sounds else None
        close = last is not None and start - last.end < SAME_MS
        if last is not None and (close or len(self._sounds) >= MAX_SOUNDS):
            last.end = start + FRAME_MS
        else:
            self._sounds.append(Sound(start, start + FRAME_MS))
