"""The schema: made by the steps, once however many begin at the same time, and as declared."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, select, text

from sipbot.errors import StoreError
from sipbot.store import migrations
from sipbot.store.engine import Store
from sipbot.store.tables import CALLS, METADATA

FOLDER = Path(migrations.__file__).parent


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": False})
    return list(compare_metadata(context, METADATA))


async def test_the_steps_make_what_is_declared(store: Store) -> None:
    async with store.reading() as connection:
        assert await connection.run_sync(differences) == []


def test_head_names_the_last_step() -> None:
    assert ScriptDirectory(str(FOLDER)).get_heads() == [migrations.HEAD]


async def test_many_may_begin_at_once(database_url: str) -> None:
    stores = await asyncio.gather(*(Store.open(database_url) for _ in range(5)))
    for store in stores:
        async with store.reading() as connection:
            assert await connection.scalar(select(func.count()).select_from(CALLS)) == 0
        await store.close()


async def test_a_store_is_opened_again_with_what_it_held(database_url: str) -> None:
    first = await Store.open(database_url)
    async with first.writing() as connection:
        await connection.execute(text("CREATE TABLE kept (n INTEGER)"))
        await connection.execute(text("INSERT INTO kept VALUES (7)"))
    await first.close()
    second = await Store.open(database_url)
    async with second.reading() as connection:
        assert await connection.scalar(text("SELECT n FROM kept")) == 7
    await second.close()


async def test_a_store_of_a_newer_release_is_left_alone(database_url: str) -> None:
    store = await Store.open(database_url)
    async with store.writing() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = 'r9999'"))
    await store.close()
    with pytest.raises(StoreError, match="newer release"):
        await Store.open(database_url)


async def test_a_transaction_that_fails_leaves_nothing(store: Store) -> None:
    async def half() -> None:
        async with store.writing() as connection:
            await connection.execute(text("CREATE TABLE half (n INTEGER)"))
            await connection.execute(text("INSERT INTO nowhere VALUES (1)"))

    with pytest.raises(StoreError):
        await half()
    with pytest.raises(StoreError):
        async with store.reading() as connection:
            await connection.execute(text("SELECT * FROM half"))


async def test_writers_take_turns(store: Store) -> None:
    async with store.writing() as connection:
        await connection.execute(text("CREATE TABLE counted (n INTEGER)"))
        await connection.execute(text("INSERT INTO counted VALUES (0)"))

    async def add() -> None:
        async with store.writing() as connection:
            await connection.execute(text("UPDATE counted SET n = n + 1"))

    await asyncio.gather(*(add() for _ in range(12)))
    async with store.reading() as connection:
        assert await connection.scalar(text("SELECT n FROM counted")) == 12


async def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "store.db"
    store = await Store.open(f"sqlite:///{file}")
    await store.close()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_errors_name_no_values(store: Store) -> None:
    with pytest.raises(StoreError) as caught:
        async with store.reading() as connection:
            await connection.execute(
                text("SELECT :number FROM nowhere"), {"number": "+919812345610"}
            )
    assert "9812345610" not in f"{caught.value} {caught.value.__cause__}"


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite://", "nonsense", "postgresql://host"])
async def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(StoreError, match="must look like"):
        await Store.open(url)


async def test_a_database_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        await Store.open(f"postgresql://sipbot@/nothing?host={tmp_path}")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a folder that cannot be made")
async def test_a_file_that_cannot_be_made() -> None:
    with pytest.raises(StoreError, match="cannot open the store"):
        await Store.open("sqlite:////proc/nowhere/store.db")
