"""The connection to the database: SQLite or PostgreSQL behind one URL."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Table, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from sipbot.errors import StoreError
from sipbot.store.schema import upgrade

BUSY_S: Final = 5.0  # seconds that SQLite waits for another writer
CONNECT_S: Final = 5.0  # seconds to reach PostgreSQL
COMMAND_S: Final = 10.0  # seconds for one statement of PostgreSQL
POOL: Final = 4  # connections of one process, at most
WAL_TRIES: Final = 20  # tries to turn SQLite's write-ahead log on while others open the file
WAL_PAUSE_S: Final = 0.05  # seconds between them
_DRIVERS: Final = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}
_READS: Final = "AUTOCOMMIT"


def store_url(given: str) -> URL:
    """Read ``sqlite:///FILE`` or ``postgresql://USER:PASSWORD@HOST/NAME``. Raises ValueError."""
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):
        url = None
    if url is None or url.drivername not in _DRIVERS or not url.database:
        raise ValueError("must look like sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME")
    return url.set(drivername=_DRIVERS[url.drivername])


class Store:
    """An open store whose schema is up to date."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._reader = engine.execution_options(isolation_level=_READS)

    @classmethod
    async def open(cls, url: str) -> Store:
        """Connect, and bring the schema up to date. Raises StoreError."""
        try:
            parsed = store_url(url)
        except ValueError as error:
            raise StoreError(f"the URL of the store {error}") from None
        store = cls(_engine(parsed))
        try:
            if parsed.drivername.startswith("sqlite"):
                await store._log_ahead()
            async with store.writing() as connection:
                await connection.run_sync(upgrade)
        except BaseException:
            await store.close()
            raise
        return store

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection on which each statement stands alone. Raises StoreError."""
        with _translated():
            async with self._reader.connect() as connection:
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """One transaction: committed at the end, undone by an exception. Raises StoreError."""
        with _translated():
            async with self._engine.begin() as connection:
                yield connection

    def insert(self, table: Table) -> Any:
        """An ``INSERT`` that knows ``on_conflict_do_nothing`` and ``on_conflict_do_update``."""
        if self._engine.dialect.name == "postgresql":
            return postgresql.insert(table)
        return sqlite.insert(table)

    async def _log_ahead(self) -> None:
        """Readers beside a writer. It stays on in the file; only the first has to turn it on."""
        for remaining in reversed(range(WAL_TRIES)):
            try:
                async with self.reading() as connection:
                    await connection.execute(text("PRAGMA journal_mode = WAL"))
            except StoreError:
                if not remaining:
                    raise
                await asyncio.sleep(WAL_PAUSE_S)
            else:
                return


async def probe(url: str) -> str:
    """What is there: ``"ready"``, or ``"new"`` for a file yet to be made. Changes nothing.

    Raises StoreError when it cannot be reached.
    """
    try:
        parsed = store_url(url)
    except ValueError as error:
        raise StoreError(f"the URL of the store {error}") from None
    if parsed.drivername.startswith("sqlite") and _to_be_made(Path(str(parsed.database))):
        return "new"
    store = Store(_engine(parsed))
    try:
        async with store.reading() as connection:
            await connection.execute(text("SELECT 1"))
    finally:
        await store.close()
    return "ready"


def _to_be_made(file: Path) -> bool:
    """Whether the file is missing. Raises StoreError when it could not be made."""
    if file.exists():
        return False
    folder = next(one for one in file.absolute().parents if one.exists())
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise StoreError(f"{file} cannot be made in {folder}")
    return True


class _translated:  # noqa: N801  # reads as a verb at its use
    """What databases and drivers raise becomes StoreError, without statements and values."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: object) -> None:
        if isinstance(error, SQLAlchemyError | OSError) or _of_driver(kind):
            cause = getattr(error, "orig", None) or error
            raise StoreError(f"store: {type(cause).__name__}") from error


def _of_driver(kind: type[BaseException] | None) -> bool:
    """What asyncpg raises while it connects does not pass through SQLAlchemy."""
    return kind is not None and kind.__module__.partition(".")[0] == "asyncpg"


def _engine(url: URL) -> AsyncEngine:
    if url.drivername.startswith("postgresql"):
        return create_async_engine(
            url,
            pool_size=POOL,
            max_overflow=0,
            pool_timeout=CONNECT_S,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={"timeout": CONNECT_S, "command_timeout": COMMAND_S},
        )
    _make_private(Path(str(url.database)))
    engine = create_async_engine(
        url,
        pool_size=POOL,
        max_overflow=0,
        pool_timeout=BUSY_S,
        hide_parameters=True,
        connect_args={"timeout": BUSY_S},
    )
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _make_private(file: Path) -> None:
    """Others on this machine may not read whom callers are. Raises StoreError."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise StoreError(f"cannot open the store {file}: {error.strerror}") from error


def _prepare_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    """Writers take their turn at the beginning, so that none fails in the middle."""
    if connection.get_execution_options().get("isolation_level") != _READS:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
