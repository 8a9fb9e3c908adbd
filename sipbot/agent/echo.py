"""Gives callers their own voice back: the simplest agent, and a measure of the whole path."""

from __future__ import annotations

from typing import Final

from sipbot.call.call import Call

RATE: Final = 8_000  # Hz, that of the telephone: nothing is resampled
FRAME_MS: Final = 20  # of a frame, and of echo that waits when one frame waits
MAX_WAITING_MS: Final = 40  # milliseconds of echo that may wait to be played
STANDING_FRAMES: Final = 25  # frames in a row that found another one still waiting: half a second


class EchoAgent:
    """Plays every frame back.

    What a stall leaves behind must not become a delay that stays: a frame is dropped at once while
    more than ``MAX_WAITING_MS`` wait, and one when the queue did not run empty for
    ``STANDING_FRAMES``. A frame that only met a late departure is not dropped.
    """

    async def run(self, call: Call) -> None:
        standing = 0
        async for frame in call.audio(RATE):
            waiting_ms = call.waiting_ms
            standing = standing + 1 if waiting_ms >= FRAME_MS else 0
            if waiting_ms > MAX_WAITING_MS or standing >= STANDING_FRAMES:
                standing = 0
            else:
                await call.play(frame, RATE)
