"""Transfer intents: the newest counts, for a while, and each step is taken once."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from sipbot.store.engine import Store
from sipbot.store.intents import Intents
from tests.store.kit import BEGAN, INTENT


async def test_an_intent_is_read_on_another_node(store_url: str) -> None:
    here, there = await Store.open(store_url), await Store.open(store_url)
    await Intents(here).put(INTENT)
    assert await Intents(there).get("sid-1", BEGAN + 1) == INTENT
    await here.close()
    await there.close()


async def test_it_expires(store: Store) -> None:
    intents = Intents(store)
    await intents.put(INTENT)
    assert await intents.get("sid-1", BEGAN + 119) == INTENT
    assert await intents.get("sid-1", BEGAN + 120) is None
    assert await intents.get("sid-2", BEGAN) is None
    assert await intents.purge(BEGAN + 120) == 0
    assert await intents.purge(BEGAN + 121) == 1


async def test_a_new_one_replaces_the_old_one_whole(store: Store) -> None:
    intents = Intents(store)
    await intents.put(replace(INTENT, attempt=3, done=True))
    newer = replace(INTENT, target="sales", created_at=BEGAN + 5, destination={"trunk": "t"})
    await intents.put(newer)
    assert await intents.get("sid-1", BEGAN + 6) == newer


async def test_of_many_who_advance_one_succeeds(store: Store) -> None:
    intents = Intents(store)
    await intents.put(INTENT)
    done = await asyncio.gather(
        *(intents.advance(INTENT, 0, BEGAN + 9, BEGAN + 200) for _ in range(6))
    )
    assert sorted(done) == [False] * 5 + [True]
    kept = await intents.get("sid-1", BEGAN + 150)
    assert kept == replace(INTENT, attempt=0, attempt_at=BEGAN + 9, expires_at=BEGAN + 200)


async def test_a_replaced_intent_is_not_advanced(store: Store) -> None:
    intents = Intents(store)
    await intents.put(replace(INTENT, created_at=BEGAN + 5))
    assert not await intents.advance(INTENT, 0, BEGAN + 9, BEGAN + 200)


async def test_a_call_closes_only_older_intents(store: Store) -> None:
    intents = Intents(store)
    await intents.put(INTENT)
    async with store.writing() as connection:
        await intents.close(connection, [("sid-1", BEGAN)])
    assert await intents.get("sid-1", BEGAN) == INTENT
    async with store.writing() as connection:
        await intents.close(connection, [("sid-2", BEGAN + 9), ("sid-1", BEGAN + 1)])
    assert await intents.get("sid-1", BEGAN) == replace(INTENT, done=True)
