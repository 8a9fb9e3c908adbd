"""Call records: written once, read by those who look after the service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from sqlalchemy import Row, String, and_, delete, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from sipbot.call.leg import EndReason
from sipbot.call.record import CallRecord
from sipbot.store.engine import Store
from sipbot.store.tables import CALLS
from sipbot.store.values import plain, plain_stats

MAX_PAGE: Final = 500  # records of one answer
_FIELDS: Final = tuple(field.name for field in fields(CallRecord))
_COLUMNS: Final = tuple(CALLS.c[name] for name in _FIELDS)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which records: every condition that is set must hold. Times are seconds since 1970 UTC."""

    since: float | None = None
    until: float | None = None
    trunk: str | None = None
    agent: str | None = None
    caller: str | None = None
    callee: str | None = None
    reason: str | None = None
    trunk_call_id: str | None = None


class Records:
    """The table of finished calls."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def add(self, connection: AsyncConnection, records: Sequence[CallRecord]) -> None:
        """Write records within a transaction. A second one of the same call changes nothing."""
        if records:
            statement = self._store.insert(CALLS).on_conflict_do_nothing()
            await connection.execute(statement, [_row(record) for record in records])

    async def get(self, call_id: str) -> CallRecord | None:
        """One record."""
        async with self._store.reading() as connection:
            found = await connection.execute(select(*_COLUMNS).where(CALLS.c.call_id == call_id))
            row = found.one_or_none()
        return None if row is None else _record(row)

    async def find(
        self, wanted: Filter, *, limit: int = 100, after: str | None = None
    ) -> Sequence[CallRecord]:
        """The newest records that fit; ``after`` is the id of the last one of the page before."""
        query = select(*_COLUMNS).order_by(CALLS.c.invited_at.desc(), CALLS.c.call_id.desc())
        query = query.limit(min(limit, MAX_PAGE))
        for name in ("trunk", "agent", "caller", "callee", "reason", "trunk_call_id"):
            value = getattr(wanted, name)
            if value is not None:
                query = query.where(CALLS.c[name] == plain(value))
        if wanted.since is not None:
            query = query.where(CALLS.c.invited_at >= wanted.since)
        if wanted.until is not None:
            query = query.where(CALLS.c.invited_at < wanted.until)
        if after is not None:
            began = select(CALLS.c.invited_at).where(CALLS.c.call_id == plain(after))
            last = began.scalar_subquery()
            tie = and_(CALLS.c.invited_at == last, CALLS.c.call_id < plain(after))
            query = query.where(or_(CALLS.c.invited_at < last, tie))
        async with self._store.reading() as connection:
            return tuple(_record(row) for row in await connection.execute(query))

    async def purge(self, before: float) -> int:
        """Forget calls that began earlier; returns how many."""
        async with self._store.writing() as connection:
            done = await connection.execute(delete(CALLS).where(CALLS.c.invited_at < before))
        return int(done.rowcount)


def _row(record: CallRecord) -> dict[str, Any]:
    row = asdict(record)
    row["reason"] = record.reason.value
    row["stats"] = plain_stats(record.stats)
    for name, value in row.items():
        if isinstance(value, str):
            kind = CALLS.c[name].type
            row[name] = plain(value, kind.length if isinstance(kind, String) else None)
    return row


def _record(row: Row[Any]) -> CallRecord:
    values = dict(zip(_FIELDS, row, strict=True))
    return CallRecord(**values | {"reason": EndReason(values["reason"])})
