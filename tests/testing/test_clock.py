"""Virtual time."""

from __future__ import annotations

import asyncio
import time

import pytest

from sipbot.testing import JumpingLoop, LoopClock, ManualClock, NothingHappens, run, virtual_time
from sipbot.testing.clock import WALL_START


def test_a_manual_clock_moves_when_told() -> None:
    clock = ManualClock(5.0)
    assert clock.advance(2.5) == 7.5 == clock.monotonic()
    assert clock.wall() == WALL_START + 7.5
    with pytest.raises(ValueError, match="back"):
        clock.advance(-1)


def test_hours_take_no_time() -> None:
    async def sleep() -> float:
        await asyncio.gather(asyncio.sleep(3_600), asyncio.sleep(7_200))
        return asyncio.get_running_loop().time()

    began = time.monotonic()
    assert run(sleep()) == pytest.approx(7_200)
    assert time.monotonic() - began < 5


def test_waiting_for_nothing_is_an_error_and_not_a_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sipbot.testing.clock.REAL_WAIT_S", 0.01)

    async def wait() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(NothingHappens):
        run(wait())


def test_waiting_for_ever_is_an_error_too() -> None:
    async def wait() -> None:
        for _ in range(1_000):
            await asyncio.sleep(3_600)

    with pytest.raises(NothingHappens, match="virtual seconds"):
        run(wait())


@virtual_time
async def test_time_stands_still_while_a_thread_works() -> None:
    async with asyncio.timeout(1):
        await asyncio.to_thread(time.sleep, 0.02)
    assert asyncio.get_running_loop().time() == 0.0


@virtual_time
async def test_the_loop_clock_shows_loop_time() -> None:
    assert isinstance(asyncio.get_running_loop(), JumpingLoop)
    await asyncio.sleep(3)
    assert LoopClock().monotonic() == pytest.approx(3)
    assert LoopClock().wall() == pytest.approx(WALL_START + 3)


def test_tasks_left_behind_fail_the_test() -> None:
    @virtual_time
    async def leaky() -> None:
        leaky_tasks.append(asyncio.create_task(asyncio.sleep(100)))

    leaky_tasks: list[asyncio.Task[None]] = []
    with pytest.raises(AssertionError, match="left behind"):
        leaky()
