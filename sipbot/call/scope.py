"""A block of awaits that somebody else may end at once."""

from __future__ import annotations

import asyncio
from types import TracebackType


class Scope:
    """``async with Scope() as scope:`` runs its body until it is done or ``interrupt`` is called.

    An interrupted body sees ``CancelledError`` at its current await and the block ends without an
    exception; ``interrupted`` tells which of the two it was. Cancellation from elsewhere passes
    through untouched. The counting of cancellations is that of ``asyncio.timeout``.
    """

    def __init__(self) -> None:
        self.interrupted = False
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._fired = False

    async def __aenter__(self) -> Scope:
        self._task = asyncio.current_task()
        assert self._task is not None, "a scope needs a task"
        self._cancelling = self._task.cancelling()
        if self.interrupted:
            self._fire_soon()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        task, self._task = self._task, None
        if task is None or not self._fired:
            return False
        return task.uncancel() <= self._cancelling and kind is asyncio.CancelledError

    def interrupt(self) -> None:
        """End the block. May be called at any time, from the block's own task too."""
        if self.interrupted:
            return
        self.interrupted = True
        if self._task is asyncio.current_task():
            self._fire_soon()  # a task must not cancel itself: the mark would outlive the block
        else:
            self._fire()

    def _fire_soon(self) -> None:
        asyncio.get_running_loop().call_soon(self._fire)

    def _fire(self) -> None:
        if self._task is not None and not self._fired:
            self._fired = True
            self._task.cancel()
