"""Agents that the interop tests hand to the server by name."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from sipbot.call.call import Call
from sipbot.call.events import Dtmf

from .harness import KEYS_FILE

ANSWER_DELAY_S = 3.0
TALK_S = 0.3


class KeyCollector:
    """Writes each pressed key to the file named by the environment, one a line."""

    async def run(self, call: Call) -> None:
        target = Path(os.environ[KEYS_FILE])
        async for event in call.events():
            if isinstance(event, Dtmf):
                with target.open("a") as out:  # noqa: ASYNC230 - one short line in a test
                    out.write(event.digit + "\n")


class SlowToAnswer:
    """Rings for ``ANSWER_DELAY_S`` before it takes the call."""

    async def prepare(self, call: Call) -> None:
        await asyncio.sleep(ANSWER_DELAY_S)

    async def run(self, call: Call) -> None:
        async for _ in call.events():
            pass


class Brief:
    """Hangs up soon after the answer."""

    async def run(self, call: Call) -> None:
        await asyncio.sleep(TALK_S)
