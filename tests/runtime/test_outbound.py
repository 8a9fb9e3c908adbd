"""The queue of one process, over a real store; who is called answers as the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from sipbot.call.call import Call
from sipbot.call.leg import LegInfo
from sipbot.clock import SystemClock
from sipbot.errors import StoreError
from sipbot.exotel.rest.account import Account
from sipbot.exotel.rest.client import ExotelClient
from sipbot.ops.config_outbound import OutboundApiConfig, OutboundConfig
from sipbot.ops.counters import Counters
from sipbot.outbound.csvfiles import read_numbers
from sipbot.outbound.job import Job, JobState, NewJob, Next, Result
from sipbot.outbound.limits import TrunkLimits
from sipbot.outbound.outcome import Outcome
from sipbot.outbound.plan import Plan
from sipbot.runtime import outbound as queue
from sipbot.runtime.dialling import DialEnd, Dialling, DialOrder, DialResult
from sipbot.runtime.outbound import Outbound, OutboundParts
from sipbot.runtime.outbound_api import MakesCalls, job_of_path, stream_url
from sipbot.runtime.outbound_arrivals import Arrivals
from sipbot.runtime.outbound_exotel import ExotelCaller
from sipbot.store.campaigns import Campaigns
from sipbot.store.engine import Store
from sipbot.store.jobs import Jobs
from sipbot.store.storage import Storage
from sipbot.store.tables import CAMPAIGNS
from sipbot.testing.exotel_api import FakeExotel, Fault
from sipbot.testing.leg import FakeLeg

from .test_admitting import Log

T = TypeVar("T")
WAIT_S = 20.0  # for things that take milliseconds
NUMBER = "+919812345610"


class Phones:
    """Implements ``Dials``: each attempt waits for the test."""

    def __init__(self) -> None:
        self.orders: asyncio.Queue[tuple[DialOrder, Dialling]] = asyncio.Queue()
        self.cancelled = asyncio.Event()

    def dial(self, order: DialOrder) -> Dialling:
        made = Dialling(self._cancel)
        self.orders.put_nowait((order, made))
        self._last = made
        return made

    def _cancel(self) -> None:
        self.cancelled.set()
        self._last.settle(DialResult(Outcome.CANCELLED))
        self._last.finish(DialEnd("bot-hung-up", 1.0))

    async def next(self) -> tuple[DialOrder, Dialling]:
        async with asyncio.timeout(WAIT_S):
            return await self.orders.get()


class Opened(Storage):
    """A storage that is open already, or down."""

    def __init__(self, store: Store) -> None:
        super().__init__("", Log())
        self.it, self.down = store, False

    async def get(self, limit_s: float) -> Store:
        if self.down:
            raise StoreError("store: down")
        return self.it


class Bench:
    """One queue and what it works with."""

    def __init__(self, store: Store, callers: dict[str, MakesCalls] | None = None) -> None:
        self.storage, self.phones, self.log = Opened(store), Phones(), Log()
        self.jobs, self.campaigns = Jobs(store), Campaigns(store)
        self.clock = SystemClock()
        self.outbound = Outbound(
            OutboundParts(
                storage=self.storage,
                orders=asyncio.Event(),
                owner="me",
                dials=self.phones,
                limits={"t": TrunkLimits(10, 200)},
                callers=callers or {},
                clock=self.clock,
                counters=Counters(),
                log=self.log,
                follow_s=0.02,
            )
        )

    async def order(self, **given: Any) -> str:
        job = NewJob(**{"number": NUMBER, "agent": "desk", "trunk": "t", **given})
        (id_,) = await self.jobs.add([job], self.clock.wall())
        self.outbound.poke()
        return id_

    async def first_line(self) -> tuple[str, dict[str, Any]] | None:
        return self.log.lines[0] if self.log.lines else None

    async def first_error(self) -> tuple[str, dict[str, Any]] | None:
        return next((line for line in self.log.lines if "error" in line[1]), None)

    async def becomes(self, id_: str, state: JobState) -> Job:
        async def there() -> Job | None:
            job = await self.jobs.get(id_)
            return job if job is not None and job.state is state else None

        return await until(there)


async def until(look: Callable[[], Awaitable[T | None]]) -> T:
    """Look again and again, until there is something."""
    async with asyncio.timeout(WAIT_S):
        while True:
            found = await look()
            if found is not None:
                return found
            await asyncio.sleep(0)


@asynccontextmanager
async def bench(store: Store, callers: dict[str, MakesCalls] | None = None) -> AsyncIterator[Bench]:
    made = Bench(store, callers)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(made.outbound.run())
        try:
            yield made
        finally:
            made.outbound.stop()
            async with asyncio.timeout(WAIT_S):
                await asyncio.wait({running})


async def test_a_call_from_the_order_to_the_record(store: Store) -> None:
    async with bench(store) as it:
        id_ = await it.order(parameters={"name": "Asha"}, ring_s=20.0)
        order, call = await it.phones.next()
        assert (order.number, order.trunk, order.agent) == (NUMBER, "t", "desk")
        assert (order.rule, order.ring_s, order.parameters) == ("dial", 20.0, {"name": "Asha"})
        assert (await it.becomes(id_, JobState.DIALLING)).owner == "me"
        call.settle(DialResult(Outcome.ANSWERED, 200, "OK", "c1", "s1"))
        talking = await it.becomes(id_, JobState.TALKING)
        assert talking.call_id == "c1"
        call.finish(DialEnd("bot-hung-up", 12.5))
        done = await it.becomes(id_, JobState.DONE)
        assert (done.outcome, done.status, done.talk_s) == (Outcome.ANSWERED, 200, 12.5)
        assert (done.detail, done.call_sid) == ("bot-hung-up", "s1")
        assert done.answered_at is not None


async def test_a_busy_number_of_a_campaign_waits_for_its_retry(store: Store) -> None:
    plan = Plan.parse({"agent": "desk", "trunk": "t", "attempts": 2, "retries": {"busy": [600]}})
    async with bench(store) as it:
        rows = read_numbers(f"number\n{NUMBER}\n").rows
        await it.campaigns.load("c", plan, rows, it.clock.wall())
        await it.campaigns.run("c", running=True)
        it.outbound.poke()
        order, call = await it.phones.next()
        assert order.rule == "campaign:c"
        call.settle(DialResult(Outcome.BUSY, 486, "Busy Here"))
        (job,) = await it.jobs.find(campaign="c")
        waiting = await it.becomes(job.id, JobState.WAITING)
        assert (waiting.outcome, waiting.attempts) == (Outcome.BUSY, 1)
        assert 590 < waiting.due_at - it.clock.wall() <= 600


async def test_a_job_told_to_stop_is_hung_up(store: Store) -> None:
    async with bench(store) as it:
        id_ = await it.order()
        _, call = await it.phones.next()
        call.settle(DialResult(Outcome.ANSWERED, 200, "OK", "c1"))
        await it.becomes(id_, JobState.TALKING)
        await it.jobs.stop(id_, it.clock.wall())
        it.outbound.renew_now()
        async with asyncio.timeout(WAIT_S):
            await it.phones.cancelled.wait()
        done = await it.becomes(id_, JobState.DONE)
        assert done.outcome is Outcome.ANSWERED


async def test_a_job_taken_from_us_while_it_rings_is_given_up(store: Store) -> None:
    async with bench(store) as it:
        id_ = await it.order()
        await it.phones.next()
        dialling = await it.becomes(id_, JobState.DIALLING)
        other = replace(dialling, owner="me")
        await it.jobs.finish(other, Result(Outcome.UNKNOWN), Next(JobState.DONE, None), 1.0)
        it.outbound.renew_now()
        async with asyncio.timeout(WAIT_S):
            await it.phones.cancelled.wait()
    kept = await it.jobs.get(id_)
    assert kept is not None
    assert kept.outcome is Outcome.UNKNOWN  # ours came too late to change it


async def test_without_the_store_nobody_is_called(store: Store) -> None:
    async with bench(store) as it:
        it.storage.down = True
        await it.order()
        it.outbound.poke()
        await asyncio.sleep(0)
        event, _ = await until(it.first_line)
        assert event == "no job can be taken"
        assert it.phones.orders.empty()
        it.storage.down = False
        it.outbound.poke()
        await it.phones.next()
        it.phones._cancel()


async def test_a_plan_that_cannot_be_read_stops_nothing(store: Store) -> None:
    async with bench(store) as it:
        first = await it.order()
        _, call = await it.phones.next()
        async with store.writing() as connection:
            row = {"name": "c", "plan": {"from": "tomorrow"}, "columns": []}
            await connection.execute(CAMPAIGNS.insert().values(**row, running=True, created_at=1))
        await it.order(number="+919812345611")
        event, values = await until(it.first_error)
        assert (event, values["error"][:10]) == ("queue failed", "ValueError")
        call.settle(DialResult(Outcome.BUSY, 486))
        assert (await it.becomes(first, JobState.DONE)).outcome is Outcome.BUSY


async def test_a_result_waits_for_the_store(store: Store, monkeypatch: Any) -> None:
    monkeypatch.setattr(queue, "FIRST_PAUSE_S", 0.001)
    async with bench(store) as it:
        id_ = await it.order()
        _, call = await it.phones.next()
        await it.becomes(id_, JobState.DIALLING)
        it.storage.down = True
        call.settle(DialResult(Outcome.BUSY, 486))
        await asyncio.sleep(0)
        it.storage.down = False
        assert (await it.becomes(id_, JobState.DONE)).outcome is Outcome.BUSY


async def test_stopping_takes_no_more_and_waits_for_the_last_call(store: Store) -> None:
    async with bench(store) as it:
        await it.order()
        _, call = await it.phones.next()
        it.outbound.stop()
        second = await it.order(number="+919812345611")
        assert it.outbound.active == 1
        call.settle(DialResult(Outcome.DECLINED, 603))
        async with asyncio.timeout(WAIT_S):
            await it.outbound.wait_idle()
        waiting = await it.jobs.get(second)
        assert waiting is not None
        assert waiting.state is JobState.WAITING


# --- calls that Exotel makes


class Exotel:
    """The stand-in of Exotel, and a caller that uses it."""

    def __init__(self, **api: Any) -> None:
        self.fake = FakeExotel()
        given = {"account_sid": "acme1", "api_key": "key1", "api_token": "token1", **api}
        outbound = OutboundConfig.model_validate(
            {"caller_id": "+918040001234", "number_format": "national0", "api": given}
        )
        assert isinstance(outbound.api, OutboundApiConfig)
        account = Account("acme1", "key1", "token1")
        client = ExotelClient(account, transport=httpx.ASGITransport(self.fake))
        self.caller = ExotelCaller(client, outbound, outbound.api)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.caller.close()

    def started(self) -> list[dict[str, str]]:
        return [dict(seen.form) for seen in self.fake.seen if seen.method == "POST"]


async def test_exotel_rings_and_the_answered_call_finds_its_job(store: Store) -> None:
    async with (
        Exotel(app_id="4711") as exotel,
        bench(store, {"t": exotel.caller}) as it,
        asyncio.TaskGroup() as tasks,
    ):
        id_ = await it.order(via="api", agent="survey", parameters={"name": "Asha"})
        sid = (await until(lambda: with_sid(it.jobs, id_))).call_sid
        (form,) = exotel.started()
        assert (form["From"], form["CallerId"]) == ("09812345610", "08040001234")
        assert form["CustomField"] == id_
        assert form["Url"].endswith("/acme1/exoml/start_voice/4711")
        info = LegInfo("sip/tcp", "inbound", "x", "y", trunk="t", headers={"x-exotel-callsid": sid})
        call = Call(FakeLeg(info=info), call_id="c9", agent_name="reception")
        arrivals = Arrivals(
            it.outbound, it.storage, {"t"}, {"survey", "reception"}, it.clock, it.log, tasks
        )
        await arrivals.arrived(call, info)
        assert (call.agent_name, call.parameters) == ("survey", {"name": "Asha"})
        talking = await it.becomes(id_, JobState.TALKING)
        assert (talking.call_id, talking.call_sid) == ("c9", sid)
        exotel.fake.calls.finish(sid)  # the follower must not take it for a call that never came
        arrivals.ended(call)
        done = await it.becomes(id_, JobState.DONE)
        assert (done.outcome, done.call_id) == (Outcome.ANSWERED, "c9")


async def with_sid(jobs: Jobs, id_: str) -> Job | None:
    job = await jobs.get(id_)
    return job if job is not None and job.call_sid else None


async def test_exotel_says_that_nobody_answered(store: Store) -> None:
    url = "wss://bot.example.com/exotel/voicebot?sample-rate=16000"
    async with Exotel(stream_url=url) as exotel, bench(store, {"t": exotel.caller}) as it:
        id_ = await it.order(via="api", agent="survey")
        sid = (await until(lambda: with_sid(it.jobs, id_))).call_sid
        (form,) = exotel.started()
        assert form["StreamUrl"] == (
            f"wss://bot.example.com/exotel/voicebot/survey/job/{id_}?sample-rate=16000"
        )
        exotel.fake.calls.finish(sid, "no-answer", 0)
        done = await it.becomes(id_, JobState.DONE)
        assert (done.outcome, done.call_sid) == (Outcome.NO_ANSWER, sid)


async def test_exotel_refuses_or_breaks_off(store: Store) -> None:
    async with Exotel(app_id="4711") as exotel, bench(store, {"t": exotel.caller}) as it:
        exotel.fake.faults.append(Fault(401, b"Authorization failed"))
        refused = await it.order(via="api")
        assert (await it.becomes(refused, JobState.DONE)).outcome is Outcome.REFUSED
        exotel.fake.faults.append(Fault(200, b"what", after=True))
        unknown = await it.order(via="api", number="+919812345611")
        # It was carried out, perhaps: nobody may be rung a second time blindly.
        assert (await it.becomes(unknown, JobState.DONE)).outcome is Outcome.UNKNOWN
        assert len(exotel.started()) == 2


async def test_other_calls_of_the_trunk_keep_their_agent(store: Store) -> None:
    async with bench(store) as it, asyncio.TaskGroup() as tasks:
        arrivals = Arrivals(it.outbound, it.storage, {"t"}, {"a"}, it.clock, it.log, tasks)
        for headers in ({"x-exotel-callsid": "other"}, {}):
            info = LegInfo("sip/tcp", "inbound", "x", "y", trunk="t", headers=headers)
            call = Call(FakeLeg(info=info), call_id="c", agent_name="reception")
            await arrivals.arrived(call, info)
            arrivals.ended(call)
            assert call.agent_name == "reception"
        it.storage.down = True
        await arrivals.arrived(call, replace(info, headers={"x-exotel-callsid": "s"}))
        assert it.log.lines[-1][0] == "call not matched"


def test_the_job_in_the_path() -> None:
    job = Job(
        "id7",
        NUMBER,
        "my agent",
        "t",
        "api",
        {},
        None,
        0,
        "",
        30.0,
        JobState.DIALLING,
        1,
        0,
        None,
        0,
    )
    assert stream_url("wss://h/exotel/voicebot/", job) == (
        "wss://h/exotel/voicebot/my%20agent/job/id7"
    )
    assert job_of_path("job/id7") == "id7"
    assert job_of_path("/job/id7/") == "id7"
    assert job_of_path("other/id7") == job_of_path("") == ""
