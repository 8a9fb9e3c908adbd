"""Jobs of outbound calls: kept, stopped, told of. ``sipbot.store.claims`` gives them to diallers.

Every step of a job names the owner that it believes to have it, so that a process that lost its
lease while it stood still changes nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

from sqlalchemy import Row, and_, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sipbot.outbound.job import ACTIVE, Job, JobState, NewJob, Next, Result
from sipbot.outbound.outcome import Outcome
from sipbot.store.engine import Store
from sipbot.store.tables import ATTEMPTS, DO_NOT_CALL, JOBS
from sipbot.store.values import plain

MAX_PAGE: Final = 500  # jobs of one answer
PAGE: Final = 1_000  # rows of one statement
ACTIVE_STATES: Final = tuple(state.value for state in ACTIVE)
_FIELDS: Final = tuple(field.name for field in fields(Job))
COLUMNS: Final = tuple(JOBS.c[name] for name in _FIELDS)
_DETAIL: Final = 200  # characters


class Jobs:
    """The table of jobs. Every method raises StoreError when the database fails."""

    def __init__(self, store: Store) -> None:
        self._store = store

    # --- for those who want calls made ----------------------------------------------------------

    async def add(self, jobs: Sequence[NewJob], now: float) -> list[str]:
        """Keep new jobs; returns their ids, in order.

        Those whose number is on the do-not-call list are done at once.
        """
        async with self._store.writing() as connection:
            return await self.add_within(connection, jobs, now)

    async def add_within(
        self, connection: AsyncConnection, jobs: Sequence[NewJob], now: float
    ) -> list[str]:
        """``add`` within a transaction."""
        rows = [_new_row(job, now) for job in jobs]
        for first in range(0, len(rows), PAGE):
            part = rows[first : first + PAGE]
            listed = await never_called(connection, [row["number"] for row in part])
            for row in part:
                if row["number"] in listed:
                    row.update(
                        state=JobState.DONE.value, outcome=Outcome.DO_NOT_CALL.value, ended_at=now
                    )
            await connection.execute(JOBS.insert(), part)
        return [row["id"] for row in rows]

    async def get(self, job: str) -> Job | None:
        """One job."""
        async with self._store.reading() as connection:
            found = await connection.execute(select(*COLUMNS).where(JOBS.c.id == plain(job)))
            row = found.one_or_none()
        return None if row is None else job_of(row)

    async def find(
        self,
        *,
        campaign: str | None = None,
        state: JobState | None = None,
        limit: int = 100,
    ) -> Sequence[Job]:
        """The newest jobs that fit."""
        query = select(*COLUMNS).order_by(JOBS.c.created_at.desc(), JOBS.c.id)
        if campaign is not None:
            query = query.where(JOBS.c.campaign == plain(campaign))
        if state is not None:
            query = query.where(JOBS.c.state == state.value)
        async with self._store.reading() as connection:
            found = await connection.execute(query.limit(min(limit, MAX_PAGE)))
            return tuple(job_of(row) for row in found)

    async def of_campaign(self, campaign: str) -> AsyncIterator[Job]:
        """All jobs of a campaign, in the order of its file, a page at a time."""
        line, last = -1, ""
        while True:
            beyond = or_(JOBS.c.line > line, and_(JOBS.c.line == line, JOBS.c.id > last))
            query = select(*COLUMNS).where(JOBS.c.campaign == plain(campaign), beyond)
            query = query.order_by(JOBS.c.line, JOBS.c.id).limit(PAGE)
            async with self._store.reading() as connection:
                page = [job_of(row) for row in await connection.execute(query)]
            for job in page:
                yield job
            if len(page) < PAGE:
                return
            line, last = page[-1].line, page[-1].id

    async def stop(self, job: str, now: float) -> Job | None:
        """Have a job come to its end: one that waits is cancelled, one under way is hung up soon
        by its owner. Returns the job as it is then; None when there is none."""
        mine = JOBS.c.id == plain(job)
        cancelled = {
            "state": JobState.DONE.value,
            "outcome": Outcome.CANCELLED.value,
            "ended_at": now,
        }
        async with self._store.writing() as connection:
            waiting = and_(mine, JOBS.c.state == JobState.WAITING.value)
            await connection.execute(update(JOBS).where(waiting).values(cancelled))
            active = and_(mine, JOBS.c.state.in_(ACTIVE_STATES))
            await connection.execute(update(JOBS).where(active).values(stop_wanted=True))
            found = await connection.execute(select(*COLUMNS).where(mine))
            row = found.one_or_none()
        return None if row is None else job_of(row)

    async def purge(self, before: float) -> int:
        """Forget jobs of no campaign that ended earlier, and attempts that did."""
        old = and_(
            JOBS.c.state == JobState.DONE.value,
            JOBS.c.campaign.is_(None),
            JOBS.c.ended_at < before,
        )
        async with self._store.writing() as connection:
            done = await connection.execute(delete(JOBS).where(old))
            await connection.execute(delete(ATTEMPTS).where(ATTEMPTS.c.ended_at < before))
        return int(done.rowcount)

    # --- for the owner of a job -----------------------------------------------------------------

    async def dialling(self, job: Job) -> bool:
        """Say that the callee may hear of us from now on; False when the job is not ours any more,
        or is to be stopped: then nobody may be called."""
        ours = _ours(job, JobState.CLAIMED)
        return await self._change(
            and_(ours, JOBS.c.stop_wanted.is_(False)), state=JobState.DIALLING.value
        )

    async def sent(self, job: Job, call_sid: str) -> bool:
        """Keep the id that the trunk gave to the call that it makes for us."""
        return await self._change(_ours(job, JobState.DIALLING), call_sid=plain(call_sid, 128))

    async def talking(self, job: Job, call_id: str, answered_at: float) -> bool:
        """The callee answered."""
        return await self._change(
            _ours(job, JobState.DIALLING),
            state=JobState.TALKING.value,
            call_id=plain(call_id, 64),
            answered_at=answered_at,
        )

    async def finish(self, job: Job, result: Result, then: Next, now: float) -> bool:
        """The attempt is over; False when somebody else has decided that already."""
        async with self._store.writing() as connection:
            return await finish_within(connection, job, result, then, now)

    async def renew(self, owner: str, now: float, lease_s: float) -> Mapping[str, bool]:
        """Keep all jobs of ``owner``; whether each is to be stopped, by id."""
        mine = and_(JOBS.c.owner == owner, JOBS.c.state.in_(ACTIVE_STATES))
        async with self._store.writing() as connection:
            await connection.execute(update(JOBS).where(mine).values(lease_until=now + lease_s))
            found = await connection.execute(select(JOBS.c.id, JOBS.c.stop_wanted).where(mine))
            return {row.id: bool(row.stop_wanted) for row in found}

    async def arrived(
        self, *, call_sid: str, job: str, owner: str, call_id: str, now: float, lease_s: float
    ) -> Job | None:
        """A call came in that a trunk made for us: the job it belongs to, now of ``owner``.

        It is known by the trunk's id of the call, or by the job's own where the call brings it.
        None when no job waits for it.
        """
        known = []
        if call_sid:
            known.append(JOBS.c.call_sid == plain(call_sid))
        if job:
            known.append(JOBS.c.id == plain(job))
        if not known:
            return None
        waits = and_(or_(*known), JOBS.c.state == JobState.DIALLING.value, JOBS.c.via == "api")
        async with self._store.reading() as connection:
            found = await connection.execute(select(JOBS.c.id).where(waits).limit(1))
            number = found.scalar_one_or_none()
        if number is None:  # as most calls: they cost no turn of the writers
            return None
        async with self._store.writing() as connection:
            taken = update(JOBS).where(JOBS.c.id == number, waits)
            done = await connection.execute(
                taken.values(
                    state=JobState.TALKING.value,
                    owner=owner,
                    lease_until=now + lease_s,
                    call_id=plain(call_id, 64),
                    call_sid=plain(call_sid, 128) if call_sid else JOBS.c.call_sid,
                    answered_at=now,
                )
            )
            if not done.rowcount:
                return None
            row = (await connection.execute(select(*COLUMNS).where(JOBS.c.id == number))).one()
        return job_of(row)

    async def waits_for_ids(self, trunk: str) -> bool:
        """Whether ``trunk`` has just been asked for a call and has not told its id yet."""
        waits = and_(
            JOBS.c.state == JobState.DIALLING.value,
            JOBS.c.via == "api",
            JOBS.c.trunk == trunk,
            JOBS.c.call_sid == "",
        )
        async with self._store.reading() as connection:
            found = await connection.execute(select(JOBS.c.id).where(waits).limit(1))
            return found.first() is not None

    async def _change(self, where: Any, **values: Any) -> bool:
        async with self._store.writing() as connection:
            done = await connection.execute(update(JOBS).where(where).values(values))
        return bool(done.rowcount)


async def never_called(connection: AsyncConnection, numbers: Sequence[str]) -> set[str]:
    """Those of ``numbers`` (``PAGE`` at most) that are on the do-not-call list."""
    found = await connection.execute(
        select(DO_NOT_CALL.c.number).where(DO_NOT_CALL.c.number.in_(numbers))
    )
    return set(found.scalars())


async def finish_within(
    connection: AsyncConnection, job: Job, result: Result, then: Next, now: float
) -> bool:
    """Write down how an attempt ended, unless the job has another owner or state by now."""
    values: dict[str, Any] = {
        "state": then.state.value,
        "owner": "",
        "lease_until": None,
        "attempts": job.attempts if then.counts else job.attempts - 1,
    }
    if then.due_at is not None:
        values["due_at"] = then.due_at
    if then.counts or then.state is JobState.DONE:
        values |= {
            "outcome": result.outcome.value,
            "status": result.status,
            "detail": plain(result.detail, _DETAIL),
            "call_id": plain(result.call_id or job.call_id, 64),
            "call_sid": plain(result.call_sid or job.call_sid, 128),
            "answered_at": result.answered_at,
            "talk_s": result.talk_s,
        }
    if then.state is JobState.DONE:
        values["ended_at"] = now
    done = await connection.execute(update(JOBS).where(_ours(job, *ACTIVE)).values(values))
    if not done.rowcount:
        return False
    attempt = and_(ATTEMPTS.c.job == job.id, ATTEMPTS.c.attempt == job.attempts)
    if then.counts:
        told = {"outcome": result.outcome.value, "status": result.status, "ended_at": now}
        told |= {"call_id": values["call_id"], "call_sid": values["call_sid"]}
        await connection.execute(update(ATTEMPTS).where(attempt).values(told))
    else:
        await connection.execute(delete(ATTEMPTS).where(attempt))
    return True


def _ours(job: Job, *states: JobState) -> Any:
    return and_(
        JOBS.c.id == job.id,
        JOBS.c.owner == job.owner,
        JOBS.c.attempts == job.attempts,
        JOBS.c.state.in_([state.value for state in states]),
    )


def _new_row(job: NewJob, now: float) -> dict[str, Any]:
    return {
        "id": secrets.token_hex(12),
        "number": job.number,
        "agent": job.agent,
        "trunk": job.trunk,
        "via": job.via,
        "parameters": {plain(name): plain(value) for name, value in job.parameters.items()},
        "campaign": job.campaign,
        "line": job.line,
        "caller_id": job.caller_id,
        "ring_s": job.ring_s,
        "state": JobState.WAITING.value,
        "attempts": 0,
        "due_at": job.due_at or now,
        "expires_at": job.expires_at,
        "created_at": now,
        "outcome": None,
        "status": 0,
        "detail": "",
        "call_id": "",
        "call_sid": "",
        "owner": "",
        "lease_until": None,
        "stop_wanted": False,
        "answered_at": None,
        "ended_at": None,
        "talk_s": 0.0,
    }


def job_of(row: Row[Any]) -> Job:
    """A row of ``COLUMNS``."""
    values = dict(zip(_FIELDS, row, strict=True))
    values["state"] = JobState(values["state"])
    values["outcome"] = None if values["outcome"] is None else Outcome(values["outcome"])
    return Job(**values)
