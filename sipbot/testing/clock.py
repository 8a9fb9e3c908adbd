"""Time that tests hold in their hands."""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, Final, ParamSpec, TypeVar, TypeVarTuple, Unpack

MAX_VIRTUAL_S: Final = 24 * 3600.0  # seconds; a test that needs more waits for nothing
REAL_WAIT_S: Final = 10.0  # seconds that threads may take while nothing else can happen
WALL_START: Final = 1_750_000_000.0  # seconds since 1970 UTC at virtual time 0

P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class NothingHappens(AssertionError):
    """Every task waits, and nothing is scheduled that could ever wake one."""


class ManualClock:
    """A ``Clock`` that moves when told."""

    def __init__(self, now: float = 0.0) -> None:
        self._now = now

    def monotonic(self) -> float:
        """Seconds."""
        return self._now

    def wall(self) -> float:
        """Seconds since 1970 UTC, which began at ``WALL_START``."""
        return WALL_START + self._now

    def advance(self, seconds: float) -> float:
        """Move forward; returns the new time."""
        if seconds < 0:
            raise ValueError("time does not go back")
        self._now += seconds
        return self._now


class LoopClock:
    """A ``Clock`` that shows the time of the running event loop, virtual or real."""

    def monotonic(self) -> float:
        """Seconds."""
        return asyncio.get_running_loop().time()

    def wall(self) -> float:
        """Seconds since 1970 UTC, which began at ``WALL_START``."""
        return WALL_START + self.monotonic()


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock stands still while anything runs, and jumps when all wait.

    ``asyncio.sleep(3600)`` takes no time, and takes exactly 3600 s of ``loop.time()``. While work
    is out in a thread (``asyncio.to_thread``) the loop waits for it instead of jumping. Sockets
    work, but time does not wait for a peer: use in-memory fakes. When nothing can ever happen any
    more, ``NothingHappens`` is raised instead of hanging.
    """

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.threads = 0  # jobs out in threads
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self.clock.monotonic()

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """As usual; time stands still until the job is done."""
        future = super().run_in_executor(executor, func, *args)
        self.threads += 1
        future.add_done_callback(self._job_done)
        return future

    def _job_done(self, _: asyncio.Future[Any]) -> None:
        self.threads -= 1


class _JumpingSelector(selectors.DefaultSelector):
    """Selects without waiting, and moves the clock by what it should have waited."""

    def __init__(self, loop: JumpingLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if self._loop.threads or timeout is None:
            ready = super().select(REAL_WAIT_S)
            if ready:
                return ready
            raise NothingHappens("every task waits and nothing is scheduled")
        if self._loop.time() + timeout > MAX_VIRTUAL_S:
            raise NothingHappens(f"nothing else happens within {MAX_VIRTUAL_S:.0f} virtual seconds")
        self._loop.clock.advance(timeout)
        return ready


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on virtual time, as ``asyncio.run`` does on real time."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(main)


def virtual_time(test: Callable[P, Awaitable[T]]) -> Callable[P, T]:
    """Decorator: make an ``async def`` test a plain one that runs on virtual time.

    Works under any test runner. A task that the test leaves behind fails it.
    """

    @functools.wraps(test)
    def plain(*args: P.args, **kwargs: P.kwargs) -> T:
        async def main() -> T:
            result = await test(*args, **kwargs)
            await asyncio.sleep(0.001)  # for those that are just ending
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, f"tasks left behind: {sorted(task.get_name() for task in left)}"
            return result

        return run(main())

    return plain
