"""Agents that behave badly on purpose, for the tests with real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import time

from sipbot.call.call import Call

TROUBLE_AFTER_S = 0.5
BLOCK_S = 1.0
LEAK_BYTES = 40_000_000


async def _listen(call: Call) -> None:
    async for _ in call.audio(8_000):
        pass


class Mirror:
    """Plays back every frame, whatever that does to the delay."""

    async def run(self, call: Call) -> None:
        async for frame in call.audio(8_000):
            await call.play(frame, 8_000)


class Quiet:
    """Listens, and says nothing."""

    async def run(self, call: Call) -> None:
        await _listen(call)


class Blocks:
    """Computes for a second without letting anybody else in the process run; then goes on."""

    async def run(self, call: Call) -> None:
        await asyncio.sleep(TROUBLE_AFTER_S)
        time.sleep(BLOCK_S)  # noqa: ASYNC251 - that is the point
        await _listen(call)


class Hangs:
    """Never lets anybody else in the process run again."""

    async def run(self, call: Call) -> None:
        await asyncio.sleep(TROUBLE_AFTER_S)
        while True:
            time.sleep(BLOCK_S)  # noqa: ASYNC251 - that is the point


class Raises:
    async def run(self, call: Call) -> None:
        await asyncio.sleep(TROUBLE_AFTER_S)
        raise RuntimeError("on purpose")


class Dies:
    """Takes its whole process along."""

    async def run(self, call: Call) -> None:
        await asyncio.sleep(TROUBLE_AFTER_S)
        os.kill(os.getpid(), signal.SIGKILL)


class Leaks:
    """Fills its memory until somebody stops it."""

    async def run(self, call: Call) -> None:
        kept = []
        while True:
            await asyncio.sleep(0.1)
            kept.append(os.urandom(1_000) * (LEAK_BYTES // 1_000))
