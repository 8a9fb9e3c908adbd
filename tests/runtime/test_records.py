"""Records are written behind the calls' backs: in batches, again after failures, within bounds."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from sipbot.call.leg import EndReason
from sipbot.errors import StoreError
from sipbot.ops.config import Config
from sipbot.ops.counters import Counters
from sipbot.ops.logs import get_logger
from sipbot.runtime import records as module
from sipbot.runtime.records import RecordWriter, open_books
from sipbot.store import engine, storage
from sipbot.store.events import TrunkEvent, TrunkEvents
from sipbot.store.intents import Intents
from sipbot.store.records import Filter, Records
from sipbot.store.storage import Storage
from sipbot.testing.clock import ManualClock
from tests.databases import Postgres
from tests.store.kit import BEGAN, INTENT, RECORD, record

LOG = get_logger("test")
POLLS, POLL_S = 1_000, 0.02  # looks for what a task does in its own time, and seconds between


async def failed(counters: Counters) -> None:
    """Wait until the writer found the store failing."""
    for _ in range(POLLS):
        if counters.value("store_failures"):
            return
        await asyncio.sleep(POLL_S)
    raise AssertionError("the store never failed")


@asynccontextmanager
async def writing(url: str) -> AsyncIterator[tuple[RecordWriter, Storage, Counters]]:
    counters = Counters()
    async with Storage(url, LOG) as opening:
        writer = RecordWriter(opening, ManualClock(), counters, LOG)
        task = asyncio.create_task(writer.run())
        yield writer, opening, counters
        task.cancel()
        await asyncio.wait({task})


async def kept(opening: Storage) -> list[str]:
    found = await Records(await opening.get(10)).find(Filter(), limit=500)
    return [one.call_id for one in reversed(found)]


async def test_records_are_written_in_order_and_once(store_url: str) -> None:
    async with writing(store_url) as (writer, opening, counters):
        for number in range(250):
            writer.put(record(number))
        writer.put(record(7))
        await writer.finish(30)
        assert await kept(opening) == [f"call-{number}" for number in range(250)]
        assert counters.value("records_lost") == 0


async def test_a_record_that_the_database_refuses_takes_no_other_along(store_url: str) -> None:
    async with writing(store_url) as (writer, opening, counters):
        writer.put(record(1))
        writer.put(replace(record(2), keys=2**70))  # more than a column holds
        writer.put(record(3))
        await writer.finish(10)
        assert await kept(opening) == ["call-1", "call-3"]
        assert counters.value("records_lost", rule="refused") == 1


async def test_a_locked_store_is_waited_for(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_S", 0.1)
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.05)
    async with writing(sqlite_url) as (writer, opening, counters):
        await opening.get(10)
        lock = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        writer.put(record(1))
        await failed(counters)
        lock.execute("COMMIT")
        lock.close()
        await writer.finish(30)
        assert await kept(opening) == ["call-1"]
        assert counters.value("records_lost") == 0


async def test_a_database_that_goes_away_and_comes_back(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.05)
    async with writing(postgres.ready()) as (writer, opening, counters):
        writer.put(record(1))
        await writer.finish(30)
        postgres.stop()
        try:
            writer.put(record(2))
            await failed(counters)
        finally:
            postgres.start()
        await writer.finish(30)
        assert await kept(opening) == ["call-1", "call-2"]


async def test_a_store_that_is_down_at_the_start_is_opened_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(module, "OPEN_S", 0.1)
    (tmp_path / "not-yet").write_text("a file where a folder is needed")
    async with writing(f"sqlite:///{tmp_path}/not-yet/store.db") as (writer, opening, counters):
        writer.put(RECORD)
        await failed(counters)
        with pytest.raises(StoreError, match="not open"):
            await opening.get(0)
        (tmp_path / "not-yet").unlink()
        await writer.finish(30)
        assert await kept(opening) == ["call-1"]


async def test_what_waits_is_bounded_and_losses_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 10)
    (tmp_path / "no").write_text("")
    async with writing(f"sqlite:///{tmp_path}/no/store.db") as (writer, _, counters):
        for number in range(15):
            writer.put(record(number))
        assert counters.value("records_lost", rule="overflow") == 5
        await writer.finish(0)
        assert counters.value("records_lost", rule="shutdown") == 10


async def test_books_are_closed_with_everything_written(sqlite_url: str) -> None:
    config = Config.model_validate({"store": {"url": sqlite_url}})
    async with open_books(config, ManualClock(), Counters()) as books:
        books.writer.put(RECORD)
    async with Storage(sqlite_url, LOG) as opening:
        assert await kept(opening) == ["call-1"]


async def test_what_is_too_old_is_forgotten(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_PURGE_S", 0.0)
    clock = ManualClock()
    clock.advance(10 * 86_400 + 2)  # record 2 is ten days old, to the second
    async with Storage(sqlite_url, LOG) as opening:
        store = await opening.get(10)
        async with store.writing() as connection:
            await Records(store).add(connection, [record(1), record(2)])
            event = TrunkEvent("sid-1", "x", "status", "", BEGAN, {"status": "completed"})
            await TrunkEvents(store).put(connection, event)
        await Intents(store).put(INTENT)
        writer = RecordWriter(opening, clock, Counters(), LOG, keep_s=10 * 86_400)
        task = asyncio.create_task(writer.run())
        for _ in range(POLLS):
            await asyncio.sleep(POLL_S)
            if await kept(opening) == ["call-2"] and not await TrunkEvents(store).of(["sid-1"]):
                break
        assert await kept(opening) == ["call-2"]
        assert await TrunkEvents(store).of(["sid-1"]) == {}
        assert await Intents(store).get("sid-1", BEGAN) is None
        task.cancel()
        await asyncio.wait({task})


@pytest.mark.parametrize(
    ("reason", "done"),
    [
        (EndReason.BOT_HUNG_UP, True),
        (EndReason.CALLER_HUNG_UP, True),
        (EndReason.TRANSFERRED, False),
    ],
)
async def test_a_leg_that_ends_otherwise_ends_what_an_earlier_one_wished(
    sqlite_url: str, reason: EndReason, done: bool
) -> None:
    async with writing(sqlite_url) as (writer, opening, _):
        intents = Intents(await opening.get(10))
        await intents.put(INTENT)
        writer.put(replace(RECORD, reason=reason))
        await writer.finish(10)
        assert await intents.get("sid-1", BEGAN) == replace(INTENT, done=done)
