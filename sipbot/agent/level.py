"""Lets callers interrupt by speaking: a level detector listens while the bot speaks.

Any loud sound counts, and so does the bot's own voice where the line echoes it loudly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final

from sipbot.call.call import Call
from sipbot.call.events import CallEnded
from sipbot.call.level import SpeechGate
from sipbot.call.speech import Said

RATE: Final = 8_000  # Hz: a level needs no more


async def until_speech(call: Call, speaking: Coroutine[Any, Any, Said]) -> Said:
    """``await speaking`` (a ``say`` or ``present`` of ``call``), cut when the caller speaks.

    While it lasts this is the call's one listener.
    """
    listening = asyncio.create_task(_clear_at_speech(call), name="interruption")
    try:
        return await speaking
    finally:
        listening.cancel()
        await asyncio.wait({listening})


async def _clear_at_speech(call: Call) -> None:
    gate = SpeechGate(RATE)
    with suppress(CallEnded):
        async for frame in call.audio(RATE):
            if gate.push(frame):
                await call.clear()
                return
