"""Streams over real sockets: from the upgrade to the end of the call."""

from __future__ import annotations

import asyncio

import numpy as np

from sipbot.agent.echo import EchoAgent
from sipbot.call.call import Call
from tests.http.stream_kit import FRAME, WAIT_S, Exotel, Recorder, serving


async def next_call(agent: Recorder) -> Call:
    async with asyncio.timeout(WAIT_S):
        return await agent.calls.get()


async def test_echo_over_a_stream() -> None:
    async with serving({"echo": EchoAgent()}) as bot:
        exotel = (await Exotel.dial(bot.ws("/exotel/voicebot/echo"))).start()
        await asyncio.sleep(0)
        loud = np.full(FRAME, 5_000, np.int16)
        for _ in range(200):
            exotel.speaks(loud)
            await asyncio.sleep(0.02)
            if len(exotel.heard) >= 2 * FRAME:
                break
        assert (await exotel.hear(2 * FRAME)).max() == 5_000
        exotel.stops()
        assert await exotel.end() == (1000, "caller-hung-up")
        await bot.settled()
        assert bot.counters.value("calls", trunk="") == 1
        assert bot.counters.value("calls_ended", reason="caller-hung-up") == 1
        assert bot.capacity.calls == 0
