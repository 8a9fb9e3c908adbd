"""The driver: ticks on the grid, survives failures, stops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from sipbot.media.clockwork import Clockwork, run_plane
from tests.media.kit import ManualClock


class FakeTimer:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeLoop:
    """Keeps the one timer that is armed."""

    def __init__(self) -> None:
        self.delay = 0.0
        self.callback: Callable[[], None] | None = None
        self.timer = FakeTimer()

    def call_later(self, delay: float, callback: Callable[[], None]) -> FakeTimer:
        self.delay, self.callback = delay, callback
        return self.timer

    def fire(self) -> None:
        callback, self.callback = self.callback, None
        assert callback is not None
        callback()


class FakePlane:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.ticks: list[float] = []
        self.moved: list[int] = []
        self.fault: Exception | None = None

    def tick(self, now: float) -> NDArray[np.intp]:
        self.ticks.append(now)
        if self.fault is not None:
            raise self.fault
        return np.array(self.moved, dtype=np.intp)

    def next_tick(self, now: float) -> float:
        return now + 0.005


def made(wake: Callable[[Any], None]) -> tuple[Clockwork, FakePlane, FakeLoop, list[Exception]]:
    plane, loop, errors = FakePlane(), FakeLoop(), list[Exception]()
    work = Clockwork(plane, cast(asyncio.AbstractEventLoop, loop), wake, errors.append)
    work.start()
    return work, plane, loop, errors


def test_ticks_and_wakes() -> None:
    woken: list[list[int]] = []
    work, plane, loop, _ = made(lambda slots: woken.append(slots.tolist()))
    assert loop.delay == pytest.approx(0.005)
    loop.fire()
    plane.moved = [1, 4]
    plane.clock.now += 1
    loop.fire()
    assert plane.ticks == [1_000.0, 1_001.0]
    assert woken == [[1, 4]]
    work.stop()
    assert loop.timer.cancelled


def test_goes_on_after_a_failure() -> None:
    work, plane, loop, errors = made(lambda slots: None)
    plane.fault = RuntimeError("plane")
    loop.fire()
    plane.fault = None
    loop.fire()
    assert (work.failures, len(errors), len(plane.ticks)) == (1, 1, 2)


def test_failure_of_the_waker_is_told() -> None:
    def wake(slots: NDArray[np.intp]) -> None:
        raise RuntimeError("waker")

    work, plane, loop, errors = made(wake)
    plane.moved = [0]
    loop.fire()
    assert (work.failures, len(errors)) == (1, 1)
    assert loop.callback is not None


def test_stopped_inside_a_tick_arms_nothing() -> None:
    work, plane, loop, _ = made(lambda slots: work.stop())
    plane.moved = [0]
    loop.fire()
    assert loop.callback is None


async def test_run_plane_until_cancelled() -> None:
    plane = FakePlane()
    plane.moved = [2]
    loop = asyncio.get_running_loop()
    ticked: asyncio.Future[list[int]] = loop.create_future()

    def wake(slots: NDArray[np.intp]) -> None:
        if not ticked.done():
            ticked.set_result(slots.tolist())

    task = asyncio.ensure_future(run_plane(plane, loop, wake))
    assert await ticked == [2]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
