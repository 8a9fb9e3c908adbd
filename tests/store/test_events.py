"""What callbacks said: told twice it is there once, with everything that was said."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from sipbot.store.engine import Store
from sipbot.store.events import TrunkEvent, TrunkEvents
from tests.store.kit import BEGAN

EVENT = TrunkEvent("sid-1", "passthru:bot", "passthru", "bot", BEGAN, {"disconnected_by": "bot"})


async def put(store: Store, *events: TrunkEvent) -> None:
    async with store.writing() as connection:
        for event in events:
            await TrunkEvents(store).put(connection, event)


async def test_told_again_it_grows(store: Store) -> None:
    later = replace(EVENT, at=BEGAN + 9, facts={"recording_url": "https://r/1.mp3"})
    await put(store, EVENT, later, later)
    found = await TrunkEvents(store).of(["sid-1"])
    facts = {"disconnected_by": "bot", "recording_url": "https://r/1.mp3"}
    assert found == {"sid-1": [replace(EVENT, facts=facts)]}


async def test_told_at_once_nothing_is_lost(store: Store) -> None:
    names = [f"fact{number}" for number in range(6)]
    await asyncio.gather(*(put(store, replace(EVENT, facts={name: "x"})) for name in names))
    (event,) = (await TrunkEvents(store).of(["sid-1"]))["sid-1"]
    assert sorted(event.facts) == names


async def test_events_are_told_apart_by_call_and_occasion(store: Store) -> None:
    other = replace(EVENT, occasion="status:terminal", kind="status", at=BEGAN + 1)
    await put(store, other, EVENT, replace(EVENT, trunk_call_id="sid-2"))
    found = await TrunkEvents(store).of(["sid-1", "sid-2", "sid-3", ""])
    assert {call: [one.occasion for one in events] for call, events in found.items()} == {
        "sid-1": ["passthru:bot", "status:terminal"],
        "sid-2": ["passthru:bot"],
    }


async def test_long_and_strange_texts_are_made_to_fit(store: Store) -> None:
    await put(store, replace(EVENT, facts={"stream_error": "e\x00" * 4_000}))
    (event,) = (await TrunkEvents(store).of(["sid-1"]))["sid-1"]
    assert event.facts["stream_error"] == "e" * 2_048


async def test_old_events_are_forgotten(store: Store) -> None:
    await put(store, EVENT, replace(EVENT, occasion="later", at=BEGAN + 5))
    assert await TrunkEvents(store).purge(BEGAN + 5) == 1
    assert len((await TrunkEvents(store).of(["sid-1"]))["sid-1"]) == 1
