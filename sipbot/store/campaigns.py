"""Campaigns, and the numbers that are never called."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sqlalchemy import Row, and_, delete, func, select, update

from sipbot.errors import StoreError
from sipbot.outbound.csvfiles import Row as ListRow
from sipbot.outbound.job import JobState, NewJob
from sipbot.outbound.outcome import Outcome
from sipbot.outbound.plan import Plan
from sipbot.store.engine import Store
from sipbot.store.jobs import ACTIVE_STATES, PAGE, Jobs
from sipbot.store.tables import ATTEMPTS, CAMPAIGNS, DO_NOT_CALL, JOBS
from sipbot.store.values import plain

MAX_LISTED: Final = 1_000  # campaigns of one answer


class CampaignBusy(StoreError):
    """A campaign with calls under way cannot be removed."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign and where it stands. ``states`` and ``outcomes`` count its jobs."""

    name: str
    plan: Plan
    columns: Sequence[str]
    running: bool
    created_at: float
    states: Mapping[JobState, int] = field(default_factory=dict)
    outcomes: Mapping[Outcome, int] = field(default_factory=dict)

    @property
    def jobs(self) -> int:
        return sum(self.states.values())

    @property
    def finished(self) -> bool:
        """Whether nothing is left to be called."""
        return self.states.get(JobState.DONE, 0) == self.jobs


class Campaigns:
    """The table of campaigns. Every method raises StoreError when the database fails."""

    def __init__(self, store: Store) -> None:
        self._store, self._jobs = store, Jobs(store)

    async def load(self, name: str, plan: Plan, rows: Sequence[ListRow], now: float) -> int:
        """Make a campaign, or add numbers to it and give it the new plan; returns how many numbers
        were added.

        Numbers that it has already are left as they are. A new one does not run yet.
        """
        columns: list[str] = []
        for row in rows:
            columns += [name for name in row.parameters if name not in columns]
        async with self._store.writing() as connection:
            values = {"name": name, "plan": plan.plain(), "columns": columns}
            statement = self._store.insert(CAMPAIGNS).values(
                **values, running=False, created_at=now
            )
            await connection.execute(statement.on_conflict_do_nothing())
            query = select(CAMPAIGNS.c.columns).where(CAMPAIGNS.c.name == name)
            known = list((await connection.execute(query)).scalar_one())
            known += [one for one in columns if one not in known]
            await connection.execute(
                update(CAMPAIGNS)
                .where(CAMPAIGNS.c.name == name)
                .values(plan=plan.plain(), columns=known)
            )
            held = select(JOBS.c.number).where(JOBS.c.campaign == name)
            there = set((await connection.execute(held)).scalars())
            jobs = [_job(name, plan, row) for row in rows if row.number not in there]
            await self._jobs.add_within(connection, jobs, now)
        return len(jobs)

    async def run(self, name: str, *, running: bool) -> bool:
        """Start or stop; False when there is no such campaign.

        Stopping lets the calls that are under way go on. Starting again resumes.
        """
        async with self._store.writing() as connection:
            done = await connection.execute(
                update(CAMPAIGNS).where(CAMPAIGNS.c.name == plain(name)).values(running=running)
            )
        return bool(done.rowcount)

    async def plan(self, name: str) -> Plan | None:
        """The plan of a campaign."""
        query = select(CAMPAIGNS.c.plan).where(CAMPAIGNS.c.name == plain(name))
        async with self._store.reading() as connection:
            found = (await connection.execute(query)).scalar_one_or_none()
        return None if found is None else Plan.parse(found)

    async def get(self, name: str) -> Campaign | None:
        """One campaign with its counts."""
        query = select(CAMPAIGNS).where(CAMPAIGNS.c.name == plain(name))
        async with self._store.reading() as connection:
            row = (await connection.execute(query)).one_or_none()
            if row is None:
                return None
            counts = (
                select(JOBS.c.state, JOBS.c.outcome, func.count())
                .where(JOBS.c.campaign == row.name)
                .group_by(JOBS.c.state, JOBS.c.outcome)
            )
            found = (await connection.execute(counts)).all()
        states: dict[JobState, int] = {}
        outcomes: dict[Outcome, int] = {}
        for state, outcome, number in found:
            states[JobState(state)] = states.get(JobState(state), 0) + number
            if state == JobState.DONE.value and outcome is not None:
                outcomes[Outcome(outcome)] = outcomes.get(Outcome(outcome), 0) + number
        return replace(_campaign(row), states=states, outcomes=outcomes)

    async def list(self) -> Sequence[Campaign]:
        """All campaigns, without counts, the newest first."""
        query = select(CAMPAIGNS).order_by(CAMPAIGNS.c.created_at.desc(), CAMPAIGNS.c.name)
        async with self._store.reading() as connection:
            found = await connection.execute(query.limit(MAX_LISTED))
            return tuple(_campaign(row) for row in found)

    async def remove(self, name: str) -> bool:
        """Forget a campaign and its jobs; False when there is none. Raises CampaignBusy."""
        mine = JOBS.c.campaign == plain(name)
        async with self._store.writing() as connection:
            active = select(JOBS.c.id).where(mine, JOBS.c.state.in_(ACTIVE_STATES)).limit(1)
            if (await connection.execute(active)).first() is not None:
                raise CampaignBusy("calls of this campaign are under way")
            jobs = select(JOBS.c.id).where(mine)
            await connection.execute(delete(ATTEMPTS).where(ATTEMPTS.c.job.in_(jobs)))
            await connection.execute(delete(JOBS).where(mine))
            done = await connection.execute(
                delete(CAMPAIGNS).where(CAMPAIGNS.c.name == plain(name))
            )
        return bool(done.rowcount)


class DoNotCall:
    """Numbers that are never called, whoever wants it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def add(self, numbers: Sequence[str], now: float) -> int:
        """Add canonical numbers; returns how many were new. Jobs that wait for them are done."""
        added = 0
        ended = {
            "state": JobState.DONE.value,
            "outcome": Outcome.DO_NOT_CALL.value,
            "ended_at": now,
        }
        async with self._store.writing() as connection:
            for first in range(0, len(numbers), PAGE):
                part = sorted(set(numbers[first : first + PAGE]))
                statement = self._store.insert(DO_NOT_CALL).values(
                    [{"number": number, "added_at": now} for number in part]
                )
                done = await connection.execute(statement.on_conflict_do_nothing())
                added += done.rowcount
                waits = and_(JOBS.c.state == JobState.WAITING.value, JOBS.c.number.in_(part))
                await connection.execute(update(JOBS).where(waits).values(ended))
        return added

    async def remove(self, number: str) -> bool:
        """Take a number off the list. Jobs that it ended stay ended."""
        async with self._store.writing() as connection:
            done = await connection.execute(
                delete(DO_NOT_CALL).where(DO_NOT_CALL.c.number == plain(number))
            )
        return bool(done.rowcount)

    async def holds(self, number: str) -> bool:
        query = select(DO_NOT_CALL.c.number).where(DO_NOT_CALL.c.number == plain(number))
        async with self._store.reading() as connection:
            return (await connection.execute(query)).first() is not None

    async def all(self) -> AsyncIterator[str]:
        """Every number, in order, a page at a time."""
        last = ""
        while True:
            query = select(DO_NOT_CALL.c.number).where(DO_NOT_CALL.c.number > last)
            query = query.order_by(DO_NOT_CALL.c.number).limit(PAGE)
            async with self._store.reading() as connection:
                page = list((await connection.execute(query)).scalars())
            for number in page:
                yield number
            if len(page) < PAGE:
                return
            last = page[-1]


def _job(campaign: str, plan: Plan, row: ListRow) -> NewJob:
    return NewJob(
        number=row.number,
        agent=plan.agent,
        trunk=plan.trunk,
        via=plan.via,
        parameters=row.parameters,
        campaign=campaign,
        line=row.line,
        caller_id=plan.caller_id,
        ring_s=plan.ring_s,
    )


def _campaign(row: Row[Any]) -> Campaign:
    return Campaign(
        row.name, Plan.parse(row.plan), tuple(row.columns), bool(row.running), row.created_at
    )
