"""What a trunk's callbacks said of a call: stream outcomes, final states, recordings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sipbot.store.engine import Store
from sipbot.store.tables import EVENTS
from sipbot.store.values import plain

MAX_FACT: Final = 2_048  # characters of one fact
MAX_EVENTS: Final = 50  # events shown of one call


@dataclass(frozen=True, slots=True)
class TrunkEvent:
    """One thing that happened to a call, however often it was told.

    ``occasion`` tells it from the call's other events. Times are seconds since 1970 UTC.
    """

    trunk_call_id: str
    occasion: str
    kind: str
    stage: str
    at: float
    facts: Mapping[str, str]


class TrunkEvents:
    """The table of events."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def put(self, connection: AsyncConnection, event: TrunkEvent) -> None:
        """Within a transaction: keep an event. Told again, what is new in it is added."""
        facts = {plain(name): plain(value, MAX_FACT) for name, value in event.facts.items()}
        key = {
            "trunk_call_id": plain(event.trunk_call_id, 128),
            "occasion": plain(event.occasion, 200),
        }
        row = {
            "kind": event.kind,
            "stage": event.stage,
            "first_at": event.at,
            "last_at": event.at,
            "facts": facts,
        }
        statement = self._store.insert(EVENTS).values(**key, **row).on_conflict_do_nothing()
        if (await connection.execute(statement)).rowcount == 1:
            return
        here = [EVENTS.c[name] == value for name, value in key.items()]
        query = select(EVENTS.c.facts).where(*here).with_for_update()
        known = (await connection.execute(query)).scalar_one()
        merged = {"facts": {**known, **facts}, "last_at": event.at}
        await connection.execute(update(EVENTS).where(*here).values(**merged))

    async def of(self, trunk_call_ids: Iterable[str]) -> Mapping[str, Sequence[TrunkEvent]]:
        """The events of each of these calls, in the order in which they came."""
        wanted = sorted({plain(one) for one in trunk_call_ids} - {""})
        if not wanted:
            return {}
        query = (
            select(EVENTS)
            .where(EVENTS.c.trunk_call_id.in_(wanted))
            .order_by(EVENTS.c.trunk_call_id, EVENTS.c.first_at, EVENTS.c.occasion)
        )
        found: dict[str, list[TrunkEvent]] = {}
        async with self._store.reading() as connection:
            for row in (await connection.execute(query)).mappings():
                event = TrunkEvent(
                    row["trunk_call_id"],
                    row["occasion"],
                    row["kind"],
                    row["stage"],
                    row["first_at"],
                    row["facts"],
                )
                found.setdefault(event.trunk_call_id, []).append(event)
        return {call: events[:MAX_EVENTS] for call, events in found.items()}

    async def purge(self, before: float) -> int:
        """Forget what was told earlier; returns how many."""
        async with self._store.writing() as connection:
            done = await connection.execute(delete(EVENTS).where(EVENTS.c.first_at < before))
        return int(done.rowcount)
