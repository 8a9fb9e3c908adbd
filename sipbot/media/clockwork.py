"""Drives a plane from an asyncio loop: one timer, armed anew after each tick."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sipbot.clock import Clock


class Ticking(Protocol):
    """What is driven; ``MediaPlane`` is one."""

    @property
    def clock(self) -> Clock: ...

    def tick(self, now: float) -> NDArray[np.intp]: ...

    def next_tick(self, now: float) -> float: ...


class Clockwork:
    """Calls ``plane.tick`` on its grid, and ``wake`` with the slots that moved.

    ``on_error`` hears of an exception out of either; the clock goes on, for a fault in one call
    must not silence the others. ``failures`` counts them.
    """

    def __init__(
        self,
        plane: Ticking,
        loop: asyncio.AbstractEventLoop,
        wake: Callable[[NDArray[np.intp]], None],
        on_error: Callable[[Exception], None] | None = None,
    ) -> None:
        self.failures = 0
        self._plane, self._loop, self._wake, self._on_error = plane, loop, wake, on_error
        self._clock = plane.clock
        self._timer: asyncio.TimerHandle | None = None
        self._running = False

    def start(self) -> None:
        """Begin to tick."""
        self._running = True
        self._arm()

    def stop(self) -> None:
        """Tick no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._running = False

    def _arm(self) -> None:
        if self._running:
            now = self._clock.monotonic()
            self._timer = self._loop.call_later(self._plane.next_tick(now) - now, self._run)

    def _run(self) -> None:
        try:
            moved = self._plane.tick(self._clock.monotonic())
            if len(moved):
                self._wake(moved)
        except Exception as error:
            self.failures += 1
            if self._on_error is not None:
                self._on_error(error)
        finally:
            self._arm()


async def run_plane(
    plane: Ticking,
    loop: asyncio.AbstractEventLoop,
    wake: Callable[[NDArray[np.intp]], None],
    on_error: Callable[[Exception], None] | None = None,
) -> None:
    """Tick ``plane`` on ``loop`` until cancelled; see ``Clockwork``."""
    clockwork = Clockwork(plane, loop, wake, on_error)
    clockwork.start()
    try:
        await loop.create_future()
    finally:
        clockwork.stop()
