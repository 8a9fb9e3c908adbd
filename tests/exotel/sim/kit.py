"""A line in memory, on virtual time, with a bot that reacts to keys and speech."""

from __future__ import annotations

import asyncio
from typing import Final

import numpy as np

from sipbot.call.leg import Pcm
from sipbot.exotel.sim.ears import Ears
from sipbot.exotel.sim.line import EndedBy
from sipbot.testing import tone

RATE: Final = 8_000
TICK_S: Final = 0.02
FRAME: Final = 160


class FakeLine:
    """Implements ``Line``. The bot plays what is in ``bot``; ``cut_after_ms`` is how soon a key or
    speech empties that, ``reply_ms`` what it then says after ``reply_after_ms``."""

    rate = RATE

    def __init__(self) -> None:
        self.ears = Ears(RATE)
        self.ended_by: EndedBy | None = None
        self.bot: Pcm = np.zeros(0, np.int16)
        self.cut_after_ms: int | None = None
        self.reply_after_ms, self.reply_ms = 0, 0
        self.pressed: list[str] = []
        self.spoken = 0  # samples
        self.holds: list[bool] = []
        self.can_hold = True
        self._task = asyncio.create_task(self._run())

    def says(self, *pieces: tuple[int, int]) -> None:
        """Queue silence and tone, in turns: (ms of silence, ms of tone)."""
        for quiet, loud in pieces:
            silence = np.zeros(quiet * RATE // 1000, np.int16)
            self.bot = np.concatenate((self.bot, silence, tone(loud)))

    def ends(self, by: EndedBy) -> None:
        if self.ended_by is None:
            self.ended_by = by
            self.ears.close()

    async def speak(self, pcm: Pcm) -> None:
        self.spoken += len(pcm)
        self._noticed()
        await asyncio.sleep(len(pcm) / RATE)

    async def press(self, keys: str) -> None:
        self.pressed.append(keys)
        self._noticed()
        await asyncio.sleep(0.2 * len(keys))

    async def hold(self, on: bool) -> bool:
        self.holds.append(on)
        return self.can_hold

    async def hang_up(self) -> None:
        self.ends("caller")

    async def close(self) -> None:
        self.ends("caller")
        self._task.cancel()
        await asyncio.wait({self._task})

    def _noticed(self) -> None:
        if self.cut_after_ms is not None:
            asyncio.get_running_loop().call_later(self.cut_after_ms / 1000, self._cut)

    def _cut(self) -> None:
        self.bot = self.bot[:0]
        if self.reply_ms:
            self.says((self.reply_after_ms, self.reply_ms))

    async def _run(self) -> None:
        while self.ended_by is None:
            await asyncio.sleep(TICK_S)
            frame, self.bot = self.bot[:FRAME], self.bot[FRAME:]
            self.ears.feed(np.concatenate((frame, np.zeros(FRAME - len(frame), np.int16))))
