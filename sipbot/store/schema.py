"""Brings a store's schema to what this release needs."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from sipbot.errors import StoreError
from sipbot.store.migrations import HEAD

LOCK: Final = 0x73_69_70_62_6F_74  # PostgreSQL advisory lock: one process migrates, others wait
_FOLDER: Final = Path(__file__).parent / "migrations"


def upgrade(connection: Connection) -> None:
    """Run what is missing, within the open transaction of ``connection``.

    Safe when several processes and nodes begin at once: SQLite's transaction is already exclusive,
    on PostgreSQL a lock is taken. Raises StoreError when a newer release made the store.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": LOCK})
    if _revision(connection) != HEAD:
        _run_steps(connection)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _run_steps(connection: Connection) -> None:
    from alembic import command  # takes a while to import, and a store is seldom new
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StoreError("the store was made by a newer release of sipbot") from error
