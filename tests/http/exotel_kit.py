"""A node of sipbot as far as Exotel's callbacks reach: desk, store, writer, web application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from sipbot.call.routing import Route, Routes
from sipbot.exotel.applets import Destination, to_json
from sipbot.http.access import TokenGuard
from sipbot.http.api import router as api_router
from sipbot.http.app import make_app
from sipbot.http.exotel import router
from sipbot.http.exotel_desk import Branches, ExotelDesk, ExotelRules
from sipbot.ops.counters import Counters
from sipbot.ops.logs import get_logger
from sipbot.runtime.records import RecordWriter
from sipbot.store.events import TrunkEvent, TrunkEvents
from sipbot.store.intents import Intent, Intents
from sipbot.store.storage import Storage
from sipbot.testing.clock import ManualClock
from tests.http.kit import Fixed

RULES: Final = ExotelRules(
    routes=Routes([Route("sales", to="+918012345678", trunk="exotel"), Route("desk", to="08*")]),
    agents=("sales", "desk"),
    flows={"reverse": Branches(transfer=404, end=200)},
    trunk="exotel",
)
SPACED: Final = Destination(numbers=("+918012345678", "08012345679"), one_by_one=True)
NOBODY: Final = {"fetch_after_attempt": False, "destination": {"numbers": []}}


@dataclass(slots=True)
class Node:
    """``client`` speaks to the application, ``clock`` is wall clock of all of it."""

    desk: ExotelDesk
    storage: Storage
    writer: RecordWriter
    client: httpx.AsyncClient
    clock: ManualClock
    counters: Counters
    tokens: list[str | None] = field(default_factory=lambda: [None])

    async def want(self, destination: Destination = SPACED, sid: str = "sid-1") -> None:
        """An agent of this node asks for a transfer."""
        now = self.clock.wall()
        intent = Intent(sid, "call-1", "x", "front-desk", to_json(destination), now, now + 120)
        await Intents(await self.storage.get(10)).put(intent)

    async def get(self, path: str, **parameters: str) -> httpx.Response:
        return await self.client.get(path, params=parameters)

    async def passthru(self, path: str = "/exotel/passthru", **parameters: str) -> int:
        """The status of an answer."""
        return (await self.get(path, **{"CallSid": "sid-1"} | parameters)).status_code

    async def connect(self, **parameters: str) -> Any:
        """The JSON of an answer."""
        answer = await self.get("/exotel/connect", **{"CallSid": "sid-1"} | parameters)
        assert answer.status_code == 200
        return answer.json()

    async def dialled(self, **parameters: str) -> Any:
        return (await self.connect(**parameters))["destination"]["numbers"]

    async def events(self, sid: str = "sid-1") -> list[TrunkEvent]:
        """What was kept of a call."""
        await self.writer.finish(10)
        return list((await TrunkEvents(await self.storage.get(10)).of([sid])).get(sid, ()))


@asynccontextmanager
async def node(
    url: str, clock: ManualClock | None = None, finish_s: float = 10
) -> AsyncIterator[Node]:
    """A node with a store; ``finish_s`` is for what waits to be written at the end."""
    clock, counters, log = clock or ManualClock(), Counters(), get_logger("test")
    async with Storage(url, log) as storage:
        writer = RecordWriter(storage, clock, counters, log)
        task = asyncio.create_task(writer.run())
        desk = ExotelDesk(RULES, storage, writer.put, clock, counters, log)
        tokens: list[str | None] = [None]
        routers = (router(desk), api_router(storage, TokenGuard(lambda: tokens[0])))
        transport = httpx.ASGITransport(make_app(Fixed(), clock, routers))
        async with httpx.AsyncClient(transport=transport, base_url="http://bot.example") as client:
            yield Node(desk, storage, writer, client, clock, counters, tokens)
        await writer.finish(finish_s)
        task.cancel()
        await asyncio.wait({task})
