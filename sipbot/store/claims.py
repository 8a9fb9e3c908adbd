"""Which job is dialled next, and by whom: decided for all processes and nodes in one place.

Claims take turns: a transaction first updates one row, which the next one has to wait for. So
the bounds of trunks and campaigns hold over all that share the store, and no two claims see the
same job. That a number has one attempt at a time is a unique index, whatever the code does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import and_, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sipbot.outbound.job import Job, JobState, abandoned
from sipbot.outbound.limits import TrunkLimits
from sipbot.outbound.outcome import Outcome
from sipbot.outbound.plan import Plan
from sipbot.outbound.retries import ONCE
from sipbot.store.engine import Store
from sipbot.store.jobs import ACTIVE_STATES, COLUMNS, finish_within, job_of, never_called
from sipbot.store.tables import ATTEMPTS, CAMPAIGNS, JOBS, TURNS

MINUTE_S: Final = 60.0
MAX_CLAIM: Final = 50  # jobs of one claim
MAX_SWEEP: Final = 200  # abandoned jobs that one claim looks after
_TURN: Final = "dialler"


@dataclass(slots=True)
class _Source:
    """Where jobs come from: a trunk's single calls, or a campaign."""

    trunk: str
    campaign: str | None
    room: int
    active: int


class Claims:
    """Gives jobs to diallers. Every method raises StoreError when the database fails."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def anything_due(self, now: float) -> bool:
        """Whether a claim may find something. Costs little, and takes no turn."""
        due = and_(JOBS.c.state == JobState.WAITING.value, JOBS.c.due_at <= now)
        lost = and_(JOBS.c.state.in_(ACTIVE_STATES), JOBS.c.lease_until < now)
        live = or_(
            JOBS.c.campaign.is_(None),
            JOBS.c.campaign.in_(select(CAMPAIGNS.c.name).where(CAMPAIGNS.c.running)),
        )
        query = select(JOBS.c.id).where(or_(and_(due, live), lost)).limit(1)
        async with self._store.reading() as connection:
            return (await connection.execute(query)).first() is not None

    async def claim(
        self,
        owner: str,
        trunks: Mapping[str, TrunkLimits],
        *,
        most: int,
        now: float,
        lease_s: float,
    ) -> Sequence[Job]:
        """Up to ``most`` jobs that ``owner`` is to dial now; it must renew them before the lease
        ends. Jobs that a trunk dials for us and whose owner is gone come as ``DIALLING``: they
        are to be followed, not dialled."""
        async with self._store.writing() as connection:
            turn = update(TURNS).where(TURNS.c.name == _TURN).values(taken=TURNS.c.taken + 1)
            await connection.execute(turn)
            claim = _Claim(connection, owner, now, lease_s)
            followed = await claim.sweep()
            await claim.expire()
            fresh = await claim.take(trunks, min(most, MAX_CLAIM))
            return (*followed, *fresh)


class _Claim:
    """One claim, within its transaction."""

    def __init__(self, connection: AsyncConnection, owner: str, now: float, lease_s: float) -> None:
        self._connection, self._owner, self._now = connection, owner, now
        self._lease: dict[str, Any] = {"owner": owner, "lease_until": now + lease_s}

    # --- those that nobody looks after ----------------------------------------------------------

    async def sweep(self) -> list[Job]:
        """Settle jobs whose lease is over; returns those that can still be followed."""
        lost = and_(JOBS.c.state.in_(ACTIVE_STATES), JOBS.c.lease_until < self._now)
        found = await self._connection.execute(select(*COLUMNS).where(lost).limit(MAX_SWEEP))
        followed = []
        for job in [job_of(row) for row in found]:
            if job.state is JobState.DIALLING and job.via == "api" and job.call_sid:
                await self._give(job)
                followed.append(replace(job, owner=self._owner))
                continue
            policy = ONCE if job.campaign is None else (await self._plan(job.campaign)).retries
            result, then = abandoned(job, policy, now=self._now)
            await finish_within(self._connection, job, result, then, self._now)
        return followed

    async def _plan(self, campaign: str) -> Plan:
        query = select(CAMPAIGNS.c.plan).where(CAMPAIGNS.c.name == campaign)
        return Plan.parse((await self._connection.execute(query)).scalar_one())

    async def _give(self, job: Job) -> None:
        await self._connection.execute(update(JOBS).where(JOBS.c.id == job.id).values(self._lease))

    async def expire(self) -> None:
        """End the jobs whose time is over."""
        over = and_(JOBS.c.state == JobState.WAITING.value, JOBS.c.expires_at <= self._now)
        await self._connection.execute(
            update(JOBS)
            .where(over)
            .values(state=JobState.DONE.value, outcome=Outcome.EXPIRED.value, ended_at=self._now)
        )

    # --- new ones -------------------------------------------------------------------------------

    async def take(self, trunks: Mapping[str, TrunkLimits], most: int) -> list[Job]:
        """Claim what is due and has room."""
        room = {name: await self._room(name, limits) for name, limits in trunks.items()}
        taken: list[Job] = []
        for source in await self._sources(room):
            free = min(source.room, room[source.trunk], most - len(taken))
            while free > 0:
                candidates = await self._candidates(source, free)
                if not candidates:
                    break
                got = await self._keep(candidates)
                taken += got
                room[source.trunk] -= len(got)
                free -= len(got)
        return taken

    async def _room(self, trunk: str, limits: TrunkLimits) -> int:
        active = await self._count(JOBS.c.trunk == trunk)
        begun = await self._begun(ATTEMPTS.c.trunk == trunk)
        return min(limits.max_calls - active, limits.per_minute - begun)

    async def _sources(self, room: Mapping[str, int]) -> list[_Source]:
        """Single calls first, then the campaigns that may call now, the least busy first."""
        single = [_Source(trunk, None, free, 0) for trunk, free in room.items()]
        campaigns: list[_Source] = []
        query = select(CAMPAIGNS.c.name, CAMPAIGNS.c.plan).where(CAMPAIGNS.c.running)
        for name, stored in (await self._connection.execute(query)).all():
            plan = Plan.parse(stored)
            if plan.trunk not in room or not plan.schedule.is_open(self._now):
                continue
            active, free = await self._count(JOBS.c.campaign == name), room[plan.trunk]
            if plan.max_calls is not None:
                free = min(free, plan.max_calls - active)
            if plan.per_minute is not None:
                begun = await self._begun(ATTEMPTS.c.campaign == name)
                free = min(free, plan.per_minute - begun)
            campaigns.append(_Source(plan.trunk, name, free, active))
        return [*single, *sorted(campaigns, key=lambda one: one.active)]

    async def _count(self, which: Any) -> int:
        query = select(func.count()).select_from(JOBS)
        found = await self._connection.scalar(query.where(which, JOBS.c.state.in_(ACTIVE_STATES)))
        return int(found or 0)

    async def _begun(self, which: Any) -> int:
        query = select(func.count()).select_from(ATTEMPTS)
        recent = ATTEMPTS.c.began_at > self._now - MINUTE_S
        return int(await self._connection.scalar(query.where(which, recent)) or 0)

    async def _candidates(self, source: _Source, most: int) -> list[Job]:
        """Due jobs whose number nobody is calling; one for each number."""
        other = JOBS.alias()
        called = exists().where(other.c.number == JOBS.c.number, other.c.state.in_(ACTIVE_STATES))
        campaign = JOBS.c.campaign
        query = (
            select(*COLUMNS)
            .where(
                JOBS.c.state == JobState.WAITING.value,
                JOBS.c.due_at <= self._now,
                JOBS.c.trunk == source.trunk,
                campaign.is_(None) if source.campaign is None else campaign == source.campaign,
                ~called,
            )
            .order_by(JOBS.c.due_at, JOBS.c.line, JOBS.c.created_at)
            .limit(most)
        )
        found = [job_of(row) for row in await self._connection.execute(query)]
        return list({job.number: job for job in reversed(found)}.values())[::-1]

    async def _keep(self, candidates: Sequence[Job]) -> list[Job]:
        """Make them ours, but for those that must not be called."""
        listed = await never_called(self._connection, [job.number for job in candidates])
        kept = []
        for job in candidates:
            mine = replace(
                job, state=JobState.CLAIMED, owner=self._owner, attempts=job.attempts + 1
            )
            values = {"state": mine.state.value, "attempts": mine.attempts, **self._lease}
            await self._connection.execute(
                update(JOBS).where(JOBS.c.id == job.id).values(**values, call_sid="", call_id="")
            )
            if job.number in listed:
                await self._end(mine)
                continue
            begun = {"job": job.id, "attempt": mine.attempts, "trunk": job.trunk}
            begun |= {"campaign": job.campaign, "began_at": self._now}
            await self._connection.execute(
                ATTEMPTS.insert().values(**begun, status=0, call_id="", call_sid="")
            )
            kept.append(mine)
        return kept

    async def _end(self, job: Job) -> None:
        values = {
            "state": JobState.DONE.value,
            "outcome": Outcome.DO_NOT_CALL.value,
            "attempts": job.attempts - 1,
            "owner": "",
            "lease_until": None,
            "ended_at": self._now,
        }
        await self._connection.execute(update(JOBS).where(JOBS.c.id == job.id).values(values))
