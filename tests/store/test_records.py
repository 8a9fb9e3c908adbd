"""Call records come back as they were, page by page."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from sipbot.store.engine import Store
from sipbot.store.records import Filter
from tests.store.kit import BEGAN, RECORD, add, record


async def test_a_record_comes_back_as_it_was(store: Store) -> None:
    records = await add(store, RECORD)
    assert await records.get("call-1") == RECORD
    assert await records.get("call-2") is None


async def test_written_twice_it_is_there_once(store: Store) -> None:
    records = await add(store, RECORD, replace(RECORD, detail="again"))
    assert await records.find(Filter()) == (RECORD,)


async def test_pages_follow_each_other_without_gap(store: Store) -> None:
    same_time = [replace(record(n), invited_at=BEGAN + 3) for n in (3, 4, 5)]
    records = await add(store, record(1), record(2), *same_time)
    seen: list[str] = []
    after = None
    while page := await records.find(Filter(), limit=2, after=after):
        seen += [one.call_id for one in page]
        after = seen[-1]
    assert seen == ["call-5", "call-4", "call-3", "call-2", "call-1"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Filter(since=BEGAN + 2), ["call-3", "call-2"]),
        (Filter(until=BEGAN + 2), ["call-1"]),
        (Filter(trunk="office"), ["call-2"]),
        (Filter(agent="echo"), ["call-3"]),
        (Filter(reason="transferred", trunk="exotel"), ["call-3", "call-1"]),
        (Filter(trunk_call_id="sid-1"), ["call-3", "call-2", "call-1"]),
        (Filter(caller="+910000000000"), []),
        (Filter(callee="x\x00\ud800"), []),
    ],
)
async def test_conditions_must_all_hold(store: Store, wanted: Filter, found: list[str]) -> None:
    records = await add(store, record(1), record(2, trunk="office"), record(3, agent="echo"))
    assert [one.call_id for one in await records.find(wanted)] == found


async def test_what_databases_cannot_hold_is_made_to_fit(store: Store) -> None:
    strange = replace(
        RECORD, caller="a\x00\ud800b", trunk_call_id="s" * 200, stats={"jitter_ms": math.nan}
    )
    records = await add(store, strange)
    kept = await records.get("call-1")
    assert kept is not None
    assert (kept.caller, kept.trunk_call_id, kept.stats) == ("a?b", "s" * 128, {"jitter_ms": None})


async def test_old_records_are_forgotten(store: Store) -> None:
    records = await add(store, record(1), record(2))
    assert await records.purge(BEGAN + 2) == 1
    assert [one.call_id for one in await records.find(Filter())] == ["call-2"]
