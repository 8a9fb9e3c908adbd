"""Jobs, claims and campaigns on both databases, with claimers that race."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from sipbot.outbound.csvfiles import read_numbers
from sipbot.outbound.job import Job, JobState, NewJob, Next, Result, after
from sipbot.outbound.limits import TrunkLimits
from sipbot.outbound.outcome import Outcome
from sipbot.outbound.plan import Plan
from sipbot.outbound.retries import ONCE
from sipbot.store.campaigns import CampaignBusy, Campaigns, DoNotCall
from sipbot.store.claims import Claims
from sipbot.store.engine import Store
from sipbot.store.jobs import Jobs

NOW = 1_764_000_000.0  # Monday, 24 November 2025, 21:30 in India
LEASE_S = 30.0
TRUNKS = {"t": TrunkLimits(10, 200)}
PLAN = Plan.parse({"agent": "desk", "trunk": "t", "attempts": 2, "retries": {"busy": [60]}})


def number(at: int) -> str:
    return f"+9198123{at:05}"


def new(at: int = 1, **given: Any) -> NewJob:
    return NewJob(**{"number": number(at), "agent": "desk", "trunk": "t", **given})


def numbers(count: int) -> str:
    return "number,name\n" + "".join(f"{number(at)},n{at}\n" for at in range(count))


class Desk:
    """The repositories of one store, and a claimer with a name."""

    def __init__(self, store: Store, owner: str = "one") -> None:
        self.jobs, self.claims = Jobs(store), Claims(store)
        self.campaigns, self.never = Campaigns(store), DoNotCall(store)
        self.owner = owner

    async def claim(
        self, now: float = NOW, most: int = 50, trunks: Mapping[str, TrunkLimits] = TRUNKS
    ) -> list[Job]:
        found = await self.claims.claim(self.owner, trunks, most=most, now=now, lease_s=LEASE_S)
        return list(found)

    async def one(self) -> Job:
        (job,) = await self.claim()
        return job

    async def finish(self, job: Job, outcome: Outcome, now: float = NOW) -> bool:
        result = Result(outcome)
        policy = ONCE if job.campaign is None else PLAN.retries
        return await self.jobs.finish(job, result, after(job, result, policy, now), now)

    async def campaign(self, name: str, rows: int, plan: Plan = PLAN) -> None:
        await self.campaigns.load(name, plan, read_numbers(numbers(rows)).rows, NOW)
        await self.campaigns.run(name, running=True)


@pytest.fixture
def desk(store: Store) -> Desk:
    return Desk(store)


async def test_one_job_from_waiting_to_done(desk: Desk) -> None:
    (id_,) = await desk.jobs.add([new(parameters={"name": "Asha"}, ring_s=20.0)], NOW)
    assert await desk.claims.anything_due(NOW)
    job = await desk.one()
    assert (job.id, job.state, job.attempts) == (id_, JobState.CLAIMED, 1)
    assert (job.parameters, job.ring_s, job.owner) == ({"name": "Asha"}, 20.0, "one")
    assert await desk.claim() == []
    assert await desk.jobs.dialling(job)
    assert await desk.jobs.talking(job, "c1", NOW + 5)
    result = Result(Outcome.ANSWERED, 200, "OK", "c1", "s1", NOW + 5, 12.5)
    assert await desk.jobs.finish(job, result, Next(JobState.DONE, None), NOW + 17.5)
    done = await desk.jobs.get(id_)
    assert done is not None
    assert (done.state, done.outcome, done.status) == (JobState.DONE, Outcome.ANSWERED, 200)
    assert (done.talk_s, done.call_id, done.call_sid) == (12.5, "c1", "s1")
    assert (done.answered_at, done.ended_at, done.owner) == (NOW + 5, NOW + 17.5, "")
    assert not await desk.claims.anything_due(NOW + 100)


async def test_a_busy_number_is_tried_again_when_it_is_due(desk: Desk) -> None:
    await desk.campaign("c", 1)
    job = await desk.one()
    await desk.jobs.dialling(job)
    assert await desk.finish(job, Outcome.BUSY)
    assert await desk.claim(NOW + 59) == []
    (again,) = await desk.claim(NOW + 60)
    assert again.attempts == 2
    await desk.jobs.dialling(again)
    assert await desk.finish(again, Outcome.BUSY, NOW + 70)
    ended = await desk.jobs.get(job.id)
    assert ended is not None
    assert (ended.state, ended.outcome, ended.attempts) == (JobState.DONE, Outcome.BUSY, 2)


async def test_held_back_is_no_attempt(desk: Desk) -> None:
    await desk.jobs.add([new()], NOW)
    job = await desk.one()
    await desk.jobs.dialling(job)
    assert await desk.finish(job, Outcome.HELD_BACK)
    (again,) = await desk.claim(NOW + 5)
    assert again.attempts == 1


async def test_held_back_until_its_time_is_over(desk: Desk) -> None:
    (id_,) = await desk.jobs.add([new(expires_at=NOW + 3)], NOW)
    await desk.finish(await desk.one(), Outcome.HELD_BACK)
    job = await desk.jobs.get(id_)
    assert job is not None
    assert (job.state, job.outcome, job.attempts) == (JobState.DONE, Outcome.HELD_BACK, 0)


async def test_two_jobs_of_one_number_are_called_one_after_the_other(desk: Desk) -> None:
    await desk.jobs.add([new(1), new(1), new(2)], NOW)
    first = await desk.claim()
    assert sorted(job.number for job in first) == [number(1), number(2)]
    assert await desk.claim() == []
    await desk.finish(next(job for job in first if job.number == number(1)), Outcome.BUSY)
    assert [job.number for job in await desk.claim()] == [number(1)]


async def test_bounds_of_the_trunk(desk: Desk) -> None:
    await desk.jobs.add([new(at) for at in range(10)], NOW)
    few = {"t": TrunkLimits(3, 5)}
    first = await desk.claim(trunks=few)
    assert len(first) == 3
    for job in first:
        await desk.finish(job, Outcome.BUSY)
    assert len(await desk.claim(NOW + 1, trunks=few)) == 2  # five a minute
    assert await desk.claim(NOW + 30, trunks=few) == []
    await desk.jobs.renew("one", NOW + 30, 60.0)
    assert len(await desk.claim(NOW + 62, trunks=few)) == 1  # two are talking
    assert await desk.claim(trunks={}) == []


async def test_a_campaign_has_bounds_of_its_own(desk: Desk) -> None:
    await desk.campaign("c", 5, Plan("desk", "t", max_calls=2))
    assert len(await desk.claim()) == 2
    assert await desk.claim() == []


async def test_single_calls_come_before_campaigns_which_take_turns(desk: Desk) -> None:
    await desk.campaign("a", 5)
    await desk.jobs.add([new(90)], NOW + 1)
    first = await desk.claim(NOW + 2, most=2)
    assert [job.campaign for job in first] == [None, "a"]
    rows = read_numbers("number\n" + "".join(f"{number(at)}\n" for at in range(50, 55))).rows
    await desk.campaigns.load("b", PLAN, rows, NOW)
    await desk.campaigns.run("b", running=True)
    assert [job.campaign for job in await desk.claim(NOW + 3, most=1)] == ["b"]


async def test_stop_and_resume(desk: Desk) -> None:
    await desk.campaign("c", 3)
    assert len(await desk.claim(most=1)) == 1
    await desk.campaigns.run("c", running=False)
    assert await desk.claim() == []
    assert not await desk.claims.anything_due(NOW)
    await desk.campaigns.run("c", running=True)
    assert len(await desk.claim()) == 2
    assert not await desk.campaigns.run("nobody", running=True)


async def test_outside_of_its_hours_a_campaign_rests(desk: Desk) -> None:
    hours = {"windows": ["mon-fri 09:00-18:00"], "zone": "Asia/Kolkata"}
    await desk.campaign("c", 1, Plan.parse({**PLAN.plain(), **hours}))
    assert await desk.claim(NOW) == []  # half past nine in the evening
    assert len(await desk.claim(NOW + 12 * 3600)) == 1  # half past nine in the morning


async def test_numbers_that_are_never_called(desk: Desk) -> None:
    assert await desk.never.add([number(1), number(9)], NOW) == 2
    assert await desk.never.add([number(1)], NOW) == 0
    listed, waiting = await desk.jobs.add([new(1), new(2)], NOW)
    assert await outcome_of(desk, listed) is Outcome.DO_NOT_CALL
    await desk.never.add([number(2)], NOW)
    assert await outcome_of(desk, waiting) is Outcome.DO_NOT_CALL
    assert await desk.claim() == []
    assert [one async for one in desk.never.all()] == [number(at) for at in (1, 2, 9)]
    assert await desk.never.holds(number(9))
    assert await desk.never.remove(number(9))
    assert not await desk.never.holds(number(9))


async def outcome_of(desk: Desk, id_: str) -> Outcome | None:
    job = await desk.jobs.get(id_)
    assert job is not None
    return job.outcome


async def test_a_listed_number_is_not_claimed_either(desk: Desk, store: Store) -> None:
    """It may be listed between the moment when its job was kept and the claim."""
    await desk.jobs.add([new(1), new(2)], NOW)
    async with store.writing() as connection:
        from sipbot.store.tables import DO_NOT_CALL

        await connection.execute(DO_NOT_CALL.insert().values(number=number(1), added_at=NOW))
    assert [job.number for job in await desk.claim()] == [number(2)]


async def test_a_job_whose_time_is_over(desk: Desk) -> None:
    (id_,) = await desk.jobs.add([new(expires_at=NOW + 60)], NOW)
    assert await desk.claim(NOW + 61) == []
    assert await outcome_of(desk, id_) is Outcome.EXPIRED


# --- owners that are gone


async def test_claimed_by_a_dead_process_waits_again(desk: Desk, store: Store) -> None:
    await desk.jobs.add([new()], NOW)
    job = await desk.one()
    other = Desk(store, "two")
    assert await other.claim(NOW + LEASE_S - 1) == []
    (again,) = await other.claim(NOW + LEASE_S + 1)
    assert (again.id, again.owner, again.attempts) == (job.id, "two", 1)
    assert not await desk.jobs.dialling(job)  # whoever was only asleep calls nobody


async def test_dialled_by_a_dead_process_is_not_called_again(desk: Desk, store: Store) -> None:
    (id_,) = await desk.jobs.add([new()], NOW)
    job = await desk.one()
    await desk.jobs.dialling(job)
    assert await Desk(store, "two").claim(NOW + LEASE_S + 1) == []
    assert await outcome_of(desk, id_) is Outcome.UNKNOWN
    assert not await desk.finish(job, Outcome.BUSY, NOW + 100)
    assert await outcome_of(desk, id_) is Outcome.UNKNOWN


async def test_talking_in_a_dead_process_was_answered(desk: Desk, store: Store) -> None:
    (id_,) = await desk.jobs.add([new()], NOW)
    job = await desk.one()
    await desk.jobs.dialling(job)
    await desk.jobs.talking(job, "c1", NOW + 3)
    await Desk(store, "two").claim(NOW + LEASE_S + 1)
    assert await outcome_of(desk, id_) is Outcome.ANSWERED


async def test_a_call_made_by_the_trunk_is_followed_by_another(desk: Desk, store: Store) -> None:
    await desk.jobs.add([new(via="api")], NOW)
    job = await desk.one()
    await desk.jobs.dialling(job)
    await desk.jobs.sent(job, "sid-1")
    (followed,) = await Desk(store, "two").claim(NOW + LEASE_S + 1)
    assert (followed.id, followed.state, followed.owner) == (job.id, JobState.DIALLING, "two")
    assert followed.attempts == 1


async def test_who_renews_keeps_its_jobs_and_hears_of_stops(desk: Desk, store: Store) -> None:
    await desk.jobs.add([new(1), new(2)], NOW)
    one, two = await desk.claim()
    assert await desk.jobs.renew("one", NOW + 20, LEASE_S) == {one.id: False, two.id: False}
    stopped = await desk.jobs.stop(two.id, NOW + 21)
    assert stopped is not None
    assert stopped.stop_wanted
    assert await desk.jobs.renew("one", NOW + 22, LEASE_S) == {one.id: False, two.id: True}
    assert await Desk(store, "two").claim(NOW + 40) == []
    assert not await desk.jobs.dialling(two)


async def test_stopping_a_job_that_waits(desk: Desk) -> None:
    (id_,) = await desk.jobs.add([new()], NOW)
    stopped = await desk.jobs.stop(id_, NOW)
    assert stopped is not None
    assert (stopped.state, stopped.outcome) == (JobState.DONE, Outcome.CANCELLED)
    assert await desk.claim() == []
    assert await desk.jobs.stop("nothing", NOW) is None


# --- calls that come in because a trunk made them


async def test_an_arriving_call_finds_its_job_once(desk: Desk) -> None:
    await desk.jobs.add([new(via="api", parameters={"name": "Asha"})], NOW)
    job = await desk.one()
    await desk.jobs.dialling(job)
    assert await desk.jobs.waits_for_ids("t")
    assert not await desk.jobs.waits_for_ids("u")
    await desk.jobs.sent(job, "sid-1")
    assert not await desk.jobs.waits_for_ids("t")

    async def arrive(call_sid: str, id_: str = "") -> Job | None:
        return await desk.jobs.arrived(
            call_sid=call_sid, job=id_, owner="two", call_id="c7", now=NOW + 9, lease_s=LEASE_S
        )

    assert await arrive("other") is None
    assert await arrive("") is None
    found = await arrive("sid-1")
    assert found is not None
    assert (found.state, found.owner, found.call_id) == (JobState.TALKING, "two", "c7")
    assert found.parameters == {"name": "Asha"}
    assert await arrive("sid-1") is None
    result = Result(Outcome.ANSWERED, talk_s=3.0, answered_at=NOW + 9)
    assert await desk.jobs.finish(found, result, Next(JobState.DONE, None), NOW + 12)


async def test_an_arriving_call_may_bring_the_job_itself(desk: Desk) -> None:
    await desk.jobs.add([new(via="api")], NOW)
    job = await desk.one()
    await desk.jobs.dialling(job)
    found = await desk.jobs.arrived(
        call_sid="sid-9", job=job.id, owner="one", call_id="c", now=NOW, lease_s=LEASE_S
    )
    assert found is not None
    assert found.call_sid == "sid-9"


# --- races


async def test_claimers_that_race_never_get_the_same(database_url: str, store: Store) -> None:
    """Several processes: each has a store of its own."""
    stores = [await Store.open(database_url) for _ in range(3)]
    try:
        desks = [Desk(one, f"owner-{at}") for at, one in enumerate(stores)]
        await desks[0].campaign("a", 30)
        await desks[0].campaign("b", 30)  # the same numbers
        few = {"t": TrunkLimits(24, 40)}

        async def greedy(desk: Desk) -> list[Job]:
            return [job for _ in range(6) for job in await desk.claim(most=3, trunks=few)]

        found = [job for part in await asyncio.gather(*map(greedy, desks)) for job in part]
    finally:
        for one in stores:
            await one.close()
    assert len(found) == 24  # the trunk's bound holds over all of them
    assert len({job.id for job in found}) == len({job.number for job in found}) == 24


async def test_the_database_itself_forbids_two_attempts_at_a_number(store: Store) -> None:
    from sipbot.errors import StoreError
    from sipbot.store.tables import JOBS

    desk = Desk(store)
    await desk.jobs.add([new(1), new(1)], NOW)
    with pytest.raises(StoreError):
        async with store.writing() as connection:
            await connection.execute(JOBS.update().values(state="claimed"))


# --- campaigns


async def test_a_campaign_tells_where_it_stands(desk: Desk) -> None:
    await desk.campaign("c", 3)
    first, second, _ = await desk.claim()
    await desk.finish(first, Outcome.ANSWERED)
    await desk.finish(second, Outcome.BUSY)
    campaign = await desk.campaigns.get("c")
    assert campaign is not None
    assert campaign.states == {JobState.DONE: 1, JobState.WAITING: 1, JobState.CLAIMED: 1}
    assert campaign.outcomes == {Outcome.ANSWERED: 1}
    assert (campaign.jobs, campaign.finished, campaign.running) == (3, False, True)
    assert (campaign.plan, campaign.columns) == (PLAN, ("name",))
    assert await desk.campaigns.get("nobody") is None
    assert [one.name for one in await desk.campaigns.list()] == ["c"]


async def test_loading_again_adds_what_is_new(desk: Desk) -> None:
    rows = read_numbers(numbers(3)).rows
    assert await desk.campaigns.load("c", PLAN, rows[:2], NOW) == 2
    assert await desk.campaigns.load("c", PLAN, rows, NOW) == 1
    jobs = [job async for job in desk.jobs.of_campaign("c")]
    assert [job.line for job in jobs] == [2, 3, 4]
    assert len(await desk.jobs.find(campaign="c", state=JobState.WAITING)) == 3
    assert await desk.jobs.find(campaign="d") == ()


async def test_many_rows_come_back_in_order(desk: Desk) -> None:
    rows = read_numbers(numbers(2_300)).rows
    assert await desk.campaigns.load("c", PLAN, rows, NOW) == 2_300
    lines = [job.line async for job in desk.jobs.of_campaign("c")]
    assert lines == list(range(2, 2_302))


async def test_a_campaign_is_removed_when_nobody_talks(desk: Desk) -> None:
    await desk.campaign("c", 2)
    for job in await desk.claim():
        with pytest.raises(CampaignBusy):
            await desk.campaigns.remove("c")
        await desk.finish(job, Outcome.ANSWERED)
    assert await desk.campaigns.remove("c")
    assert not await desk.campaigns.remove("c")
    assert await desk.jobs.find(campaign="c") == ()


async def test_old_jobs_are_forgotten_but_not_those_of_campaigns(desk: Desk) -> None:
    await desk.campaign("c", 1)
    await desk.jobs.add([new(50), new(51)], NOW)
    for job in await desk.claim():
        if job.number != number(51):
            await desk.finish(job, Outcome.ANSWERED, NOW + 1)
    assert await desk.jobs.purge(NOW + 10) == 1
    assert len(await desk.jobs.find()) == 2
