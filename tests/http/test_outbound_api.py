"""Calls ordered by HTTP, campaigns, the do-not-call list: over a real store."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from sipbot.clock import SystemClock
from sipbot.errors import StoreError
from sipbot.http import guarded
from sipbot.http import outbound as http
from sipbot.http.access import TokenGuard
from sipbot.http.outbound import OutboundDesk, TrunkWays, router
from sipbot.outbound.job import JobState, Next, Result
from sipbot.outbound.limits import TrunkLimits
from sipbot.outbound.outcome import Outcome
from sipbot.store.claims import Claims
from sipbot.store.engine import Store
from sipbot.store.jobs import Jobs
from sipbot.store.storage import Storage
from tests.runtime.test_admitting import Log

TOKEN = "a token of tests"
NUMBER = "+919812345610"
PLAN = {"agent": "desk", "trunk": "t", "attempts": 2, "retries": {"busy": [60]}}
LIST = f"number,name\n{NUMBER},Asha\n+12,x\n9812345611,Ravi\n"


class Opened(Storage):
    def __init__(self, store: Store) -> None:
        super().__init__("", Log())
        self.it, self.down = store, False

    async def get(self, limit_s: float) -> Store:
        if self.down:
            raise StoreError("store: down")
        return self.it


class Api:
    """The interface and a client with the token."""

    def __init__(self, store: Store, trunks: dict[str, TrunkWays] | None = None) -> None:
        self.storage, self.jobs, self.claims = Opened(store), Jobs(store), Claims(store)
        self.pokes = 0
        ways = {"t": TrunkWays(True, False, 33.0)} if trunks is None else trunks
        desk = OutboundDesk(self.storage, ways, {"desk"}, SystemClock(), self._poke)
        app = FastAPI()
        app.include_router(router(desk, TokenGuard(lambda: TOKEN)))
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://bot",
            headers={"Authorization": f"Bearer {TOKEN}"},
        )

    def _poke(self) -> None:
        self.pokes += 1

    async def order(self, **given: Any) -> httpx.Response:
        return await self.client.post("/api/calls", json={"to": NUMBER, "agent": "desk", **given})

    async def load(self, **given: Any) -> httpx.Response:
        body = {"plan": PLAN, "numbers": LIST, **given}
        return await self.client.put("/api/campaigns/c", json=body)


@pytest.fixture
async def api(sqlite_url: str) -> AsyncIterator[Api]:
    store = await Store.open(sqlite_url)
    made = Api(store)
    yield made
    await made.client.aclose()
    await store.close()


async def test_a_call_is_ordered_and_looked_up(api: Api) -> None:
    answer = await api.order(parameters={"name": "Asha"}, caller_id="+918040001234")
    assert answer.status_code == 202
    job = answer.json()
    assert (job["to"], job["trunk"], job["via"], job["state"]) == (NUMBER, "t", "sip", "waiting")
    assert answer.headers["Location"] == f"/api/jobs/{job['id']}"
    assert api.pokes == 1
    kept = await api.jobs.get(job["id"])
    assert kept is not None
    assert (kept.ring_s, kept.caller_id) == (33.0, "+918040001234")
    assert kept.expires_at == kept.due_at + 60
    shown = await api.client.get(f"/api/jobs/{job['id']}")
    assert shown.json() == job
    assert [one["id"] for one in (await api.client.get("/api/jobs?state=waiting")).json()] == [
        job["id"]
    ]
    assert (await api.client.get("/api/jobs?campaign=c")).json() == []


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"to": "+12"}, "to"),
        ({"agent": "nobody"}, "agent"),
        ({"trunk": "other"}, "trunk"),
        ({"via": "api"}, "via"),
        ({"parameters": {"x": "y" * 1_000}}, "to"),
        ({"ring_s": 0}, "ring_s"),
        ({"caller_id": "a b"}, "caller_id"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_orders_with_mistakes(api: Api, given: dict[str, Any], named: str) -> None:
    answer = await api.order(**given)
    assert answer.status_code == 422
    assert named in str(answer.json()["detail"])
    assert await api.jobs.find() == ()


async def test_the_trunk_must_be_named_where_there_are_several(api: Api) -> None:
    two = {"t": TrunkWays(True, True, 30.0), "u": TrunkWays(False, True, 30.0)}
    other = Api(api.storage.it, two)
    assert (await other.order()).status_code == 422
    assert (await other.order(trunk="u")).json()["via"] == "api"
    assert (await other.order(trunk="t")).json()["via"] == "sip"
    assert (await other.order(trunk="u", via="sip")).status_code == 422
    await other.client.aclose()


async def test_jobs_are_stopped(api: Api) -> None:
    job = (await api.order()).json()["id"]
    stopped = (await api.client.delete(f"/api/jobs/{job}")).json()
    assert (stopped["state"], stopped["outcome"]) == ("done", "cancelled")
    assert (await api.client.delete("/api/jobs/nothing")).status_code == 404
    assert (await api.client.get("/api/jobs/nothing")).status_code == 404


async def test_a_campaign_from_its_list_to_its_results(api: Api) -> None:
    told = (await api.load()).json()
    assert (told["added"], told["bad"]) == (2, 1)
    assert told["problems"][0]["line"] == 3
    assert (await api.client.get("/api/campaigns")).json() == ["c"]
    started = (await api.client.post("/api/campaigns/c/start")).json()
    assert (started["running"], started["jobs"], started["states"]) == (True, 2, {"waiting": 2})
    assert api.pokes == 1
    limits = {"t": TrunkLimits(1, 10)}
    (job,) = await api.claims.claim("me", limits, most=1, now=2e9, lease_s=30)
    done = Result(Outcome.ANSWERED, 200, "OK", "c1", "", 2e9, 7.0)
    await api.jobs.finish(job, done, Next(JobState.DONE, None), 2e9 + 7)
    stopped = (await api.client.post("/api/campaigns/c/stop")).json()
    assert (stopped["running"], stopped["outcomes"]) == (False, {"answered": 1})
    answer = await api.client.get("/api/campaigns/c/results")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["number"], row["outcome"], row["name"]) for row in rows] == [
        (NUMBER, "answered", "Asha"),
        ("+919812345611", "", "Ravi"),
    ]
    assert (await api.client.delete("/api/campaigns/c")).status_code == 204
    assert (await api.client.get("/api/campaigns/c")).status_code == 404


async def test_results_of_an_empty_campaign_have_a_header(api: Api) -> None:
    await api.load(numbers="")
    answer = await api.client.get("/api/campaigns/c/results")
    assert answer.text.startswith("line,number,state,outcome")


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"plan": {"agent": "desk"}}, "plan"),
        ({"plan": {**PLAN, "agent": "nobody"}}, "agent"),
        ({"plan": {**PLAN, "zone": "Mars"}}, "plan"),
        ({"plan": {**PLAN, "windows": 7}}, "plan"),
        ({"plan": {**PLAN, "ring_s": "long"}}, "plan"),
        ({"numbers": "name\nAsha\n"}, "numbers"),
    ],
)
async def test_campaigns_with_mistakes(api: Api, given: dict[str, Any], named: str) -> None:
    answer = await api.load(**given)
    assert answer.status_code == 422
    assert str(answer.json()["detail"]).startswith(named)


async def test_a_campaign_with_calls_is_not_removed(api: Api) -> None:
    await api.load()
    await api.client.post("/api/campaigns/c/start")
    await api.claims.claim("me", {"t": TrunkLimits(1, 10)}, most=1, now=2e9, lease_s=30)
    assert (await api.client.delete("/api/campaigns/c")).status_code == 409


async def test_a_list_that_is_too_long(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_LIST", 1_000)
    monkeypatch.setattr(http, "MAX_BODY", 10)
    small = Api(api.storage.it)
    assert (await small.load()).status_code == 200
    assert (await small.load(numbers="number\n" * 1_000)).status_code == 413
    assert (await small.order()).status_code == 413
    await small.client.aclose()


async def test_a_body_that_never_ends(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded, "BODY_S", 0.01)

    async def trickle() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    answer = await api.client.post("/api/calls", content=trickle())
    assert answer.status_code == 408


async def test_a_stranger_has_nothing_read(api: Api) -> None:
    read: list[int] = []

    async def body() -> AsyncIterator[bytes]:
        read.append(1)
        yield b"{}"

    wrong = {"Authorization": "Bearer wrong"}
    answer = await api.client.put("/api/campaigns/c", content=body(), headers=wrong)
    assert (answer.status_code, read) == (401, [])


async def test_what_does_not_exist(api: Api) -> None:
    for path in ("start", "stop"):
        assert (await api.client.post(f"/api/campaigns/none/{path}")).status_code == 404
    assert (await api.client.delete("/api/campaigns/none")).status_code == 404
    assert (await api.client.get("/api/campaigns/none/results")).status_code == 404
    assert (await api.client.get("/api/campaigns/a%20b")).status_code == 422
    assert (await api.client.post("/api/campaigns/c/explode")).status_code == 422


async def test_numbers_that_are_never_called(api: Api) -> None:
    path = "/api/do-not-call/09812345610"
    assert (await api.client.get(path)).json() == {"listed": False}
    assert (await api.client.put(path)).status_code == 204
    assert (await api.client.get(path)).json() == {"listed": True}
    refused = await api.order()
    assert refused.status_code == 409
    assert "do-not-call" in refused.json()["detail"]
    assert (await api.client.delete(path)).status_code == 204
    assert (await api.client.delete(path)).status_code == 404
    assert (await api.client.put("/api/do-not-call/+12")).status_code == 422


async def test_without_the_store(api: Api) -> None:
    api.storage.down = True
    assert (await api.order()).status_code == 503
    assert (await api.client.get("/api/jobs")).status_code == 503
    assert (await api.load()).status_code == 503
    assert (await api.client.put(f"/api/do-not-call/{NUMBER}")).status_code == 503


async def test_without_the_token_nothing(api: Api) -> None:
    for header in ({"Authorization": "Bearer wrong"}, {"Authorization": ""}):
        answer = await api.client.post(
            "/api/calls", json={"to": NUMBER, "agent": "desk"}, headers=header
        )
        assert answer.status_code == 401
    assert await api.jobs.find() == ()
