"""``/api/calls``: finished calls, with what Exotel reported of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Annotated, Final, TypeVar

from fastapi import APIRouter, Depends, HTTPException, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from sipbot.call.record import CallRecord, Stat
from sipbot.errors import StoreError
from sipbot.http.access import TokenGuard
from sipbot.store.events import TrunkEvent, TrunkEvents
from sipbot.store.records import MAX_PAGE, Filter, Records
from sipbot.store.storage import Storage

ANSWER_S: Final = 3.0  # seconds that a question may take
Short = Annotated[str | None, Query(max_length=128)]

T = TypeVar("T")


class ReportedEvent(BaseModel):
    """One callback of Exotel: which kind, at which place of the flow, when it was told first."""

    kind: str
    stage: str
    at: float
    facts: dict[str, str]


class ShownCall(BaseModel):
    """A finished call. Times are seconds since 1970 UTC; numbers stand as they were received."""

    model_config = ConfigDict(from_attributes=True)

    call_id: str
    trunk_call_id: str = Field(description="Exotel's CallSid, where the call came from Exotel.")
    protocol_id: str = Field(description="SIP Call-ID or stream id.")
    direction: str
    transport: str
    trunk: str
    peer: str
    caller: str
    callee: str
    agent: str
    rule: str = Field(description="What chose the agent.")
    codec: str
    invited_at: float
    rung_at: float | None
    answered_at: float | None
    ended_at: float
    setup_ms: int | None
    talk_ms: int
    reason: str
    detail: str
    failure: str
    keys: int = Field(description="How many keys the caller pressed.")
    dropped_events: int
    stats: dict[str, Stat]
    exotel: dict[str, str] = Field(description="All that Exotel reported, the newest of each.")
    events: list[ReportedEvent]


class Page(BaseModel):
    """Calls, the newest first. ``next`` is the `after` of the next page, or null at the end."""

    calls: list[ShownCall]
    next: str | None


def router(storage: Storage, guard: TokenGuard) -> APIRouter:
    """The routes over one store."""
    api = APIRouter(prefix="/api", tags=["calls"], dependencies=[Depends(guard)])

    @api.get("/calls", responses={503: {"description": "The store does not answer."}})
    async def list_calls(
        response: Response,
        since: Annotated[float | None, Query(description="Seconds since 1970 UTC")] = None,
        until: Annotated[float | None, Query(description="Seconds since 1970 UTC")] = None,
        trunk: Short = None,
        agent: Short = None,
        caller: Short = None,
        callee: Short = None,
        reason: Short = None,
        trunk_call_id: Short = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
        after: Short = None,
    ) -> Page:
        """Finished calls that fit all conditions."""
        wanted = Filter(since, until, trunk, agent, caller, callee, reason, trunk_call_id)
        calls = await _asked(_find(storage, wanted, limit, after))
        response.headers["Cache-Control"] = "no-store"
        return Page(calls=calls, next=calls[-1].call_id if len(calls) == limit else None)

    @api.get("/calls/{call_id}", responses={404: {"description": "No such call was recorded."}})
    async def show_call(call_id: str, response: Response) -> ShownCall:
        """One finished call, by its id or by Exotel's CallSid."""
        call = await _asked(_get(storage, call_id))
        if call is None:
            raise HTTPException(404, "no such call")
        response.headers["Cache-Control"] = "no-store"
        return call

    return api


async def _asked(question: Awaitable[T]) -> T:
    """The answer of the store. Raises HTTPException when there is none in time."""
    try:
        async with asyncio.timeout(ANSWER_S):
            return await question
    except (StoreError, TimeoutError):
        raise HTTPException(503, "the store does not answer", {"Retry-After": "5"}) from None


async def _find(storage: Storage, wanted: Filter, limit: int, after: str | None) -> list[ShownCall]:
    store = await storage.get(ANSWER_S)
    records = await Records(store).find(wanted, limit=limit, after=after)
    events = await TrunkEvents(store).of(record.trunk_call_id for record in records)
    return [_shown(record, events.get(record.trunk_call_id, ())) for record in records]


async def _get(storage: Storage, call_id: str) -> ShownCall | None:
    store = await storage.get(ANSWER_S)
    records = Records(store)
    record = await records.get(call_id)
    if record is None:
        record = next(iter(await records.find(Filter(trunk_call_id=call_id), limit=1)), None)
    if record is None:
        return None
    events = await TrunkEvents(store).of([record.trunk_call_id])
    return _shown(record, events.get(record.trunk_call_id, ()))


def _shown(record: CallRecord, events: Sequence[TrunkEvent]) -> ShownCall:
    merged: dict[str, str] = {}
    for event in events:
        merged |= event.facts
    values = {
        name: getattr(record, name) for name in ShownCall.model_fields if hasattr(record, name)
    }
    return ShownCall(
        **values | {"reason": record.reason.value, "stats": dict(record.stats)},
        exotel=merged,
        events=[
            ReportedEvent(kind=one.kind, stage=one.stage, at=one.at, facts=dict(one.facts))
            for one in events
        ],
    )
