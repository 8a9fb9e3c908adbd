"""Transfer intents: where a call is to go when its trunk asks, on whichever node it asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sipbot.store.engine import Store
from sipbot.store.tables import INTENTS
from sipbot.store.values import plain

NOT_ASKED: Final = -1  # the attempt of an intent that nobody was connected by yet
MAX_ID: Final = 128  # characters of a trunk's call id


@dataclass(frozen=True, slots=True)
class Intent:
    """One wish of an agent. Times are seconds since 1970 UTC.

    ``destination`` is plain JSON. ``attempt`` counts the answers given, from 0; ``done`` says that
    there is no further one.
    """

    trunk_call_id: str
    call_id: str
    protocol_id: str
    target: str
    destination: Mapping[str, Any]
    created_at: float
    expires_at: float
    attempt: int = NOT_ASKED
    attempt_at: float = 0.0
    done: bool = False


_CLOSE: Final = (
    update(INTENTS)
    .where(INTENTS.c.trunk_call_id == bindparam("call"), INTENTS.c.created_at < bindparam("before"))
    .values(done=True)
)


class Intents:
    """The table of intents: the newest one of each call."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def put(self, intent: Intent) -> None:
        """Keep an intent; it replaces an older one of the same call."""
        row = {
            "trunk_call_id": plain(intent.trunk_call_id),
            "call_id": plain(intent.call_id, 64),
            "protocol_id": plain(intent.protocol_id),
            "target": plain(intent.target),
            "destination": dict(intent.destination),
            "created_at": intent.created_at,
            "expires_at": intent.expires_at,
            "attempt": intent.attempt,
            "attempt_at": intent.attempt_at,
            "done": intent.done,
        }
        statement = self._store.insert(INTENTS).values(**row)
        key = [INTENTS.c.trunk_call_id]
        async with self._store.writing() as connection:
            await connection.execute(statement.on_conflict_do_update(index_elements=key, set_=row))

    async def get(self, trunk_call_id: str, now: float) -> Intent | None:
        """The intent of a call, unless there is none or its time is over."""
        query = select(INTENTS).where(
            INTENTS.c.trunk_call_id == plain(trunk_call_id), INTENTS.c.expires_at > now
        )
        async with self._store.reading() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else Intent(**row)

    async def advance(
        self, seen: Intent, attempt: int, now: float, expires_at: float, *, done: bool = False
    ) -> bool:
        """Note that ``attempt`` is answered now; False when somebody changed what was seen."""
        change = (
            update(INTENTS)
            .where(
                INTENTS.c.trunk_call_id == seen.trunk_call_id,
                INTENTS.c.created_at == seen.created_at,
                INTENTS.c.attempt == seen.attempt,
            )
            .values(attempt=attempt, attempt_at=now, expires_at=expires_at, done=done)
        )
        async with self._store.writing() as connection:
            return (await connection.execute(change)).rowcount == 1

    async def close(self, connection: AsyncConnection, calls: Sequence[tuple[str, float]]) -> None:
        """Within a transaction: the intents of these calls are over, if older than the time."""
        if calls:
            rows = [{"call": plain(call), "before": before} for call, before in calls]
            await connection.execute(_CLOSE, rows)

    async def purge(self, before: float) -> int:
        """Forget what expired earlier; returns how many."""
        async with self._store.writing() as connection:
            done = await connection.execute(delete(INTENTS).where(INTENTS.c.expires_at < before))
        return int(done.rowcount)
