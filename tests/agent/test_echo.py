"""The echo agent: what comes back, when, and what a stall does."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

from sipbot.agent.echo import MAX_WAITING_MS, EchoAgent
from sipbot.agent.loopback import LoopbackAgent
from sipbot.call.call import Call
from sipbot.call.leg import Pcm
from sipbot.errors import LocalProtocolError
from sipbot.testing import FakeLeg, simulate, tone, virtual_time


def delay_samples(sent: Pcm, heard: Pcm) -> int:
    """Where ``sent`` begins in ``heard``."""
    return int(np.argmax(np.abs(heard) > 0)) - int(np.argmax(np.abs(sent) > 0))


@virtual_time
async def test_the_caller_hears_exactly_what_was_said() -> None:
    async with simulate(EchoAgent()) as caller:
        caller.says(tone(1_000))
        await caller.waits(2.0)
        heard = caller.leg.heard
        start = delay_samples(tone(1_000), heard)
        assert np.array_equal(heard[start : start + 8_000], tone(1_000))
        assert start <= 3 * 160


@virtual_time
async def test_a_stall_leaves_no_delay_behind() -> None:
    async with simulate(EchoAgent()) as caller:
        await caller.waits(1.0)
        for _ in range(75):
            caller.leg.tick()  # 1.5 s of audio pass while the agent gets no turn
        await caller.waits(0.1)
        assert caller.call.waiting_ms <= MAX_WAITING_MS + 20


@virtual_time
async def test_a_frame_that_keeps_waiting_is_dropped_after_half_a_second() -> None:
    async with simulate(EchoAgent()) as caller:
        await caller.waits(1.0)
        before = caller.call.waiting_ms
        await caller.call.play(np.zeros(320, np.int16), 8_000)
        await caller.waits(0.2)
        assert caller.call.waiting_ms >= before + 40 - 20
        await caller.waits(1.5)
        assert caller.call.waiting_ms <= 20


@virtual_time
async def test_a_line_that_cannot_loop_back_says_so() -> None:
    with pytest.raises(LocalProtocolError, match="loop back"):
        async with simulate(LoopbackAgent()) as caller:
            await caller.waits(1.0)


@virtual_time
async def test_loop_back_is_left_to_the_line() -> None:
    class LoopingLeg(FakeLeg):
        looping = False

        def loopback(self, on: bool) -> None:
            self.looping = on

    leg = LoopingLeg()
    call = Call(leg, call_id="c1")
    await call.answer()
    task = asyncio.create_task(LoopbackAgent().run(call))
    await asyncio.sleep(1.0)
    assert leg.looping
    leg.hang_up()
    await task


@virtual_time
async def test_a_frame_costs_microseconds() -> None:
    """A bound so wide that only a change of kind breaks it (a task or timer for each frame)."""
    leg = FakeLeg(autorun=False)
    call = Call(leg, call_id="c1")
    await call.answer()
    task = asyncio.create_task(EchoAgent().run(call))
    await asyncio.sleep(0)
    spent = 0.0
    for _ in range(500):
        leg.tick()
        began = time.perf_counter()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        spent += time.perf_counter() - began
    leg.hang_up()
    await task
    assert leg.audio.played >= 490 * 160
    assert spent / 500 < 0.001
