"""Writes what is to be kept of calls, behind their backs: a call never waits for the store."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from sqlalchemy.ext.asyncio import AsyncConnection

from sipbot.call.leg import EndReason
from sipbot.call.record import CallRecord
from sipbot.clock import Clock
from sipbot.errors import StoreError
from sipbot.exotel.callbacks import Stage
from sipbot.ops.config import Config
from sipbot.ops.config_exotel import default_store_url
from sipbot.ops.counters import Counters
from sipbot.ops.logs import Logger, get_logger
from sipbot.runtime.directories import state_directory
from sipbot.store.engine import Store
from sipbot.store.events import TrunkEvent, TrunkEvents
from sipbot.store.intents import Intents
from sipbot.store.jobs import Jobs
from sipbot.store.records import Records
from sipbot.store.storage import Storage

MAX_WAITING: Final = 5_000  # items that wait for a store that is slow or down; more are lost
MAX_BATCH: Final = 100  # items of one transaction
GATHER_S: Final = 0.1  # seconds until the first of a batch is written
OPEN_S: Final = 5.0  # seconds to wait for the store to be open
WRITE_S: Final = 10.0  # seconds for one transaction
FIRST_PAUSE_S: Final = 0.5  # seconds after a failure; doubled each time
LONGEST_PAUSE_S: Final = 30.0  # seconds, at most
LAST_S: Final = 3.0  # seconds at the end for what still waits
FIRST_PURGE_S: Final = 60.0  # seconds until the first look for what is too old
PURGE_S: Final = 3_600.0  # seconds between the later ones
DAY_S: Final = 86_400.0  # seconds

_AFTER_CONNECT: Final = frozenset(one.value for one in Stage if one is not Stage.BOT)

Item: TypeAlias = CallRecord | TrunkEvent

LOST: Final = "records_lost"  # counter
OVERFLOW: Final = "overflow"  # too many waited
REFUSED: Final = "refused"  # the database does not take it
SHUTDOWN: Final = "shutdown"  # still waiting at the end


@dataclass(frozen=True, slots=True)
class Books:
    """The store of this process and the one who writes to it."""

    storage: Storage
    writer: RecordWriter
    counters: Counters
    orders: asyncio.Event = field(default_factory=asyncio.Event)  # set when calls are ordered


@contextlib.asynccontextmanager
async def open_books(config: Config, clock: Clock, counters: Counters) -> AsyncIterator[Books]:
    """Keep books while inside; at the end what waits is written, within ``LAST_S``."""
    log = get_logger("store")
    url = config.store.url or default_store_url(state_directory())
    days = config.store.keep_days
    async with Storage(url, log) as storage:
        await storage.tried()
        keep_s = None if days is None else days * DAY_S
        writer = RecordWriter(storage, clock, counters, log, keep_s)
        task = asyncio.get_running_loop().create_task(writer.run(), name="records")
        try:
            yield Books(storage, writer, counters)
            await writer.finish(LAST_S)
        finally:
            task.cancel()
            await asyncio.wait({task})


class RecordWriter:
    """A bounded queue and its writer. What is lost is counted by its cause, and logged."""

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        counters: Counters,
        log: Logger,
        keep_s: float | None = None,
    ) -> None:
        self._storage, self._clock = storage, clock
        self._counters, self._log = counters, log
        self._keep_s = keep_s
        self._waiting: deque[Item] = deque()
        self._news, self._idle, self._hurry = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._idle.set()

    def put(self, item: Item) -> None:
        """Have it written soon. Never waits, never raises."""
        if len(self._waiting) >= MAX_WAITING:
            self._lost(OVERFLOW, 1)
            return
        self._waiting.append(item)
        self._idle.clear()
        self._news.set()

    async def finish(self, limit_s: float) -> None:
        """Wait until all is written, or until time is up: then the rest is lost."""
        self._hurry.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._idle.wait()
        self._hurry.clear()
        if self._waiting:
            self._lost(SHUTDOWN, len(self._waiting))
            self._waiting.clear()

    async def run(self) -> None:
        """Write until cancelled, and forget what is too old."""
        now = asyncio.get_running_loop().time
        purge_at = now() + FIRST_PURGE_S
        while True:
            try:
                async with asyncio.timeout_at(purge_at):
                    await self._news.wait()
            except TimeoutError:
                await self._purge()
                purge_at = now() + PURGE_S
            else:
                self._news.clear()
                await self._gather()
                await self._write_waiting()

    async def _gather(self) -> None:
        """Let more come: together they cost less than half. Not at the end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GATHER_S):
                await self._hurry.wait()

    async def _write_waiting(self) -> None:
        pause = FIRST_PAUSE_S
        while self._waiting:
            batch = [self._waiting[index] for index in range(min(len(self._waiting), MAX_BATCH))]
            try:
                await self._write(batch)
            except StoreError as error:
                self._counters.count("store_failures")
                self._log.error(
                    "records wait", error=str(error), waiting=len(self._waiting), again_s=pause
                )
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)
            else:
                pause = FIRST_PAUSE_S
                for _ in range(min(len(batch), len(self._waiting))):
                    self._waiting.popleft()
        self._idle.set()

    async def _write(self, batch: Sequence[Item]) -> None:
        """All of them; each alone when together they cannot be. Raises StoreError."""
        store = await self._storage.get(OPEN_S)
        try:
            await _transact(store, batch)
        except StoreError:
            await _transact(store, ())  # raises when it is not for the records
            for item in batch:
                try:
                    await _transact(store, (item,))
                except StoreError as error:
                    self._log.error("record refused", error=str(error))
                    self._lost(REFUSED, 1)

    async def _purge(self) -> None:
        try:
            store = await self._storage.get(OPEN_S)
            now = self._clock.wall()
            await Intents(store).purge(now - DAY_S)
            if self._keep_s is not None:
                gone = await Records(store).purge(now - self._keep_s)
                await TrunkEvents(store).purge(now - self._keep_s)
                await Jobs(store).purge(now - self._keep_s)
                self._log.info("old calls forgotten", calls=gone)
        except StoreError as error:
            self._log.warning("old calls not forgotten", error=str(error))

    def _lost(self, rule: str, count: int) -> None:
        total = self._counters.count(LOST, count, rule=rule)
        if total == count or total % MAX_BATCH == 0:
            self._log.error("records lost", rule=rule, total=total)


async def _transact(store: Store, items: Sequence[Item]) -> None:
    """Write all or nothing. Raises StoreError and nothing else: the writer must live on."""
    try:
        async with asyncio.timeout(WRITE_S), store.writing() as connection:
            await _put(store, connection, items)
    except StoreError:
        raise
    except TimeoutError:
        raise StoreError("store: too slow") from None
    except Exception as error:  # such as a driver's OverflowError
        raise StoreError(f"store: {type(error).__name__}") from error


async def _put(store: Store, connection: AsyncConnection, items: Sequence[Item]) -> None:
    records = [item for item in items if isinstance(item, CallRecord)]
    events = [item for item in items if isinstance(item, TrunkEvent)]
    await Records(store).add(connection, records)
    for event in events:
        await TrunkEvents(store).put(connection, event)
    # Where the flow went on, what an earlier leg of the same call wished is over.
    over = [
        (record.trunk_call_id, record.ended_at)
        for record in records
        if record.trunk_call_id and record.reason is not EndReason.TRANSFERRED
    ]
    over += [(event.trunk_call_id, event.at) for event in events if event.stage in _AFTER_CONNECT]
    await Intents(store).close(connection, over)
