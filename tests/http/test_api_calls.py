"""``/api/calls``: who may ask, and what is told of a call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.http.exotel_kit import Node, node
from tests.store.kit import BEGAN, RECORD, record

TOKEN = "t0ken-t0ken"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
async def here(store_url: str) -> AsyncIterator[Node]:
    async with node(store_url) as one:
        yield one


async def keep(here: Node, *numbers: int, **changes: Any) -> None:
    for number in numbers:
        here.writer.put(record(number, **changes))
    await here.writer.finish(10)


async def test_a_call_with_all_that_exotel_reported(here: Node) -> None:
    here.writer.put(RECORD)
    await here.client.get(
        "/exotel/passthru?CallSid=sid-1&Stream[Status]=completed&Stream[DisconnectedBy]=bot"
    )
    here.clock.advance(5)
    body = {"CallSid": "sid-1", "EventType": "terminal", "RecordingUrl": "https://r.example/1.mp3"}
    await here.client.post("/exotel/status", json=body)
    await here.writer.finish(10)
    by_id, by_sid = await here.get("/api/calls/call-1"), await here.get("/api/calls/sid-1")
    assert by_id.json() == by_sid.json()
    call = by_id.json()
    assert call["exotel"] == {
        "stream_status": "completed",
        "disconnected_by": "bot",
        "event_type": "terminal",
        "recording_url": "https://r.example/1.mp3",
    }
    assert [(one["kind"], one["stage"]) for one in call["events"]] == [
        ("passthru", "bot"),
        ("status", "terminal"),
    ]
    assert call["events"][1]["at"] == here.clock.wall()
    assert (call["caller"], call["trunk_call_id"]) == ("+919812345610", "sid-1")
    assert (call["reason"], call["setup_ms"], call["talk_ms"]) == ("transferred", 300, 59_700)
    assert call["stats"] == dict(RECORD.stats)
    assert by_id.headers["cache-control"] == "no-store"


async def test_a_call_that_nobody_knows(here: Node) -> None:
    assert (await here.get("/api/calls/nothing")).status_code == 404


async def test_pages(here: Node) -> None:
    await keep(here, 1, 2, 3, trunk_call_id="")
    first = (await here.get("/api/calls", limit="2")).json()
    assert [call["call_id"] for call in first["calls"]] == ["call-3", "call-2"]
    second = (await here.get("/api/calls", limit="2", after=first["next"])).json()
    assert [call["call_id"] for call in second["calls"]] == ["call-1"]
    assert second["next"] is None


async def test_conditions(here: Node) -> None:
    await keep(here, 1, 2)
    await keep(here, 3, trunk="office", agent="echo")

    async def found(**conditions: str) -> list[str]:
        answer = await here.get("/api/calls", **conditions)
        return [call["call_id"] for call in answer.json()["calls"]]

    assert await found(trunk="office", agent="echo") == ["call-3"]
    assert await found(since=str(BEGAN + 2), until=str(BEGAN + 3)) == ["call-2"]
    assert await found(reason="shutdown") == []
    for wrong in ({"limit": "0"}, {"limit": "501"}, {"since": "today"}, {"agent": "x" * 129}):
        assert (await here.get("/api/calls", **wrong)).status_code == 422


async def test_the_bearer_of_the_token(here: Node) -> None:
    here.tokens[0] = TOKEN
    for path in ("/api/calls", "/api/calls/call-1"):
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}):
            answer = await here.client.get(path, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
    assert (await here.client.get("/api/calls", headers=BEARER)).status_code == 200


@pytest.mark.parametrize(
    ("address", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {}, 200),
        ("192.0.2.7", {}, 403),
        ("testclient", {}, 403),
        ("127.0.0.1", {"X-Forwarded-For": "192.0.2.7"}, 403),  # a proxy on this machine
        ("127.0.0.1", {"Forwarded": "for=192.0.2.7"}, 403),
    ],
)
async def test_without_a_token_this_machine_alone(
    here: Node, address: str, headers: dict[str, str], status: int
) -> None:
    transport = here.client._transport
    assert isinstance(transport, httpx.ASGITransport)
    asked = httpx.ASGITransport(transport.app, client=(address, 1))
    async with httpx.AsyncClient(transport=asked, base_url="http://bot.example") as client:
        assert (await client.get("/api/calls", headers=headers)).status_code == status


async def test_it_is_described(here: Node) -> None:
    transport = here.client._transport
    assert isinstance(transport, httpx.ASGITransport)
    assert isinstance(transport.app, FastAPI)
    paths = transport.app.openapi()["paths"]
    described = paths["/api/calls/{call_id}"]["get"]["responses"]["200"]["content"]
    assert described["application/json"]["schema"]["$ref"].endswith("/ShownCall")
    assert {"/exotel/passthru", "/exotel/connect", "/exotel/status"} <= set(paths)
    assert not any("{secret}" in path for path in paths)
