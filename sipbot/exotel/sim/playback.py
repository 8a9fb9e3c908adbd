"""The queue of what a stream's bot sent, played in real time. No clock: the player takes samples.

What is documented: messages play one after the other; a mark comes back when everything before it
was played; ``clear`` drops the messages that have not begun, while the one that plays goes on. What
is not: where marks behind dropped messages go. Here they stay, and come back when it is their turn.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from sipbot.call.leg import Pcm

MAX_QUEUED_S: Final = 600  # seconds of audio; what goes beyond is dropped
_FRAME_SAMPLES: Final = 160  # 320 bytes: the rest of a message waits until they are full


@dataclass(slots=True)
class _Message:
    pcm: Pcm
    taken: int = 0


class PlayQueue:
    """Messages and marks at ``rate`` Hz, in order."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.dropped = 0  # messages that ``clear`` dropped
        self.overflowed = 0  # messages beyond ``MAX_QUEUED_S``
        self._queue: deque[_Message | str] = deque()
        self._waiting = 0  # samples

    @property
    def waiting_ms(self) -> int:
        """Audio that was not played yet."""
        return self._waiting * 1000 // self.rate

    def media(self, audio: bytes) -> None:
        """A message: its last frame is filled up with silence."""
        pcm: Pcm = np.frombuffer(audio[: len(audio) // 2 * 2], "<i2").astype(np.int16)
        missing = -len(pcm) % _FRAME_SAMPLES
        if self._waiting + len(pcm) > MAX_QUEUED_S * self.rate:
            self.overflowed += 1
            return
        self._queue.append(_Message(np.concatenate((pcm, np.zeros(missing, np.int16)))))
        self._waiting += len(pcm) + missing

    def mark(self, name: str) -> None:
        """A mark behind everything so far."""
        self._queue.append(name)

    def clear(self) -> None:
        """Drop every message that has not begun."""
        kept: deque[_Message | str] = deque()
        for item in self._queue:
            if isinstance(item, str) or item.taken:
                kept.append(item)
            else:
                self.dropped += 1
                self._waiting -= len(item.pcm)
        self._queue = kept

    def take(self, samples: int) -> tuple[Pcm, list[str]]:
        """The next piece of what the caller hears, silence included, and the marks passed."""
        out: Pcm = np.zeros(samples, np.int16)
        filled, marks = 0, []
        while self._queue:
            item = self._queue[0]
            if isinstance(item, str):
                marks.append(item)
                self._queue.popleft()
                continue
            if filled == samples:
                break
            part = item.pcm[item.taken : item.taken + samples - filled]
            out[filled : filled + len(part)] = part
            filled += len(part)
            item.taken += len(part)
            self._waiting -= len(part)
            if item.taken == len(item.pcm):
                self._queue.popleft()
        return out, marks
