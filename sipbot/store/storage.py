"""The store of one process: opened as soon as it can be, asked for with a limit of time."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final, Self

from sipbot.errors import StoreError
from sipbot.ops.logs import Logger
from sipbot.store.engine import Store

FIRST_PAUSE_S: Final = 0.5  # seconds between the first two tries to open; doubled each time
LONGEST_PAUSE_S: Final = 30.0  # seconds, at most


class Storage:
    """``async with`` it: it opens in the background, so that nobody has to wait for a database.

    A store that is down is tried again and again; meanwhile ``get`` raises StoreError.
    """

    def __init__(self, url: str, log: Logger) -> None:
        self._url, self._log = url, log
        self._store: Store | None = None
        self._opened, self._tried = asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.get_running_loop().create_task(self._open(), name="store")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        store, self._store = self._store, None
        if store is not None:
            await store.close()

    async def tried(self) -> None:
        """Wait until it was opened, or could not be at first.

        The first try imports a driver and more, which is better over before the first call.
        """
        await self._tried.wait()

    async def get(self, limit_s: float) -> Store:
        """The open store. Raises StoreError when it is not open within ``limit_s``."""
        if self._store is None:
            try:
                async with asyncio.timeout(limit_s):
                    await self._opened.wait()
            except TimeoutError:
                raise StoreError("store: not open") from None
        if self._store is None:
            raise StoreError("store: closed")
        return self._store

    async def _open(self) -> None:
        pause = FIRST_PAUSE_S
        while True:
            try:
                self._store = await Store.open(self._url)
            except StoreError as error:
                self._log.error("store unavailable", error=str(error), again_s=pause)
            else:
                self._opened.set()
                return
            finally:
                self._tried.set()
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)
