"""The caller's audio, cut into frames at the rate that the agent asked for."""

from __future__ import annotations

from typing import Final

import numpy as np

from sipbot.call.leg import LegAudio, Pcm
from sipbot.call.resample import EMPTY, Resampler
from sipbot.errors import LocalProtocolError

FRAME_MS: Final = 20  # length of every frame that agents get
FRAMES_A_SECOND: Final = 1000 // FRAME_MS


class AudioStream:
    """``async for frame in stream``: ``int16`` arrays of exactly 20 ms at ``rate`` Hz.

    Ends when the call ends, or when ``supersede`` was called since somebody else listens now.
    Frames come as soon as they are complete. A reader that is too slow loses the oldest audio
    once the leg's buffer of about two seconds is full.
    """

    __slots__ = (
        "_audio",
        "_chunk",
        "_resampler",
        "_samples",
        "_start",
        "_superseded",
        "_waiting",
        "rate",
    )

    def __init__(self, audio: LegAudio, rate: int) -> None:
        if rate % FRAMES_A_SECOND:
            raise ValueError(f"the rate must be a multiple of {FRAMES_A_SECOND} Hz")
        self.rate = rate
        self._audio = audio
        self._samples = rate // FRAMES_A_SECOND  # in a frame
        self._resampler = None if rate == audio.rate else Resampler(audio.rate, rate)
        self._chunk: Pcm = EMPTY
        self._start = 0  # of the next frame in the chunk
        self._superseded = False
        self._waiting = False

    def supersede(self) -> None:
        """End this stream when it is next asked for a frame.

        Raises ``LocalProtocolError`` when a task waits for a frame of it right now.
        """
        if self._waiting:
            raise LocalProtocolError("another task already listens to this call")
        self._superseded = True

    @property
    def position_ms(self) -> float:
        """Stream time at the end of the last frame: milliseconds of call audio before it.

        Audio that was lost because the reader was too slow counts.
        """
        waiting = len(self._chunk) - self._start
        return self._audio.received / self._audio.rate * 1000 - waiting / self.rate * 1000

    def __aiter__(self) -> AudioStream:
        return self

    async def __anext__(self) -> Pcm:
        while not self._superseded:
            end = self._start + self._samples
            if end <= len(self._chunk):
                frame = self._chunk[self._start : end]
                self._start = end
                return frame
            self._waiting = True
            try:
                if not await self._audio.wait_readable():
                    break
            finally:
                self._waiting = False
            fresh = self._audio.read()
            if len(fresh) == self._samples and self._resampler is None and not self._rest:
                return fresh
            self._append(fresh)
        raise StopAsyncIteration

    @property
    def _rest(self) -> int:
        """Samples of the chunk that were not given out."""
        return len(self._chunk) - self._start

    def _append(self, fresh: Pcm) -> None:
        if self._resampler is not None:
            fresh = self._resampler.push(fresh)
        rest = self._chunk[self._start :]
        self._chunk = np.concatenate((rest, fresh)) if len(rest) else fresh
        self._start = 0
