"""Dials what is due: takes jobs from the store, makes the calls, writes down what came of them.

One in each process that runs agents. The store decides who dials what; between them processes and
nodes say nothing to each other. A lease says that the owner of a job lives: it is renewed while
the call lasts, and whoever cannot renew it gives up what still rings.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sipbot.clock import Clock
from sipbot.errors import StoreError
from sipbot.exotel.rest.errors import ExotelError
from sipbot.ops.counters import Counters
from sipbot.ops.logs import Logger
from sipbot.outbound.job import Job, JobState, Result, after
from sipbot.outbound.limits import TrunkLimits
from sipbot.outbound.outcome import Outcome, of_exotel
from sipbot.outbound.retries import ONCE, RetryPolicy
from sipbot.runtime.dialling import Dialling, DialOrder, Dials
from sipbot.runtime.outbound_api import MakesCalls, failed
from sipbot.store.campaigns import Campaigns
from sipbot.store.claims import Claims
from sipbot.store.engine import Store
from sipbot.store.jobs import Jobs
from sipbot.store.storage import Storage

POLL_S: Final = 1.0  # seconds between two looks for what is due, while there is something
IDLE_S: Final = 3.0  # seconds between them when there was nothing
LEASE_S: Final = 30.0  # seconds without a sign of life after which a job is taken from its owner
RENEW_S: Final = 5.0  # seconds between two signs of life
FOLLOW_S: Final = 5.0  # seconds between two looks at a call that Exotel makes
OPEN_S: Final = 5.0  # seconds to wait for the store to be open
MAX_ACTIVE: Final = 500  # jobs of one process at a time
FINISH_TRIES: Final = 8  # to write down what came of a job
FIRST_PAUSE_S: Final = 0.5  # seconds after a failure of the store; doubled each time
LONGEST_PAUSE_S: Final = 30.0  # seconds, at most


@dataclass(frozen=True, slots=True)
class OutboundParts:
    """What the queue needs. ``owner`` names this process among all that share the store."""

    storage: Storage
    orders: asyncio.Event  # set by whoever orders a call in this process
    owner: str
    dials: Dials
    limits: Mapping[str, TrunkLimits]
    callers: Mapping[str, MakesCalls]  # by trunk
    clock: Clock
    counters: Counters
    log: Logger
    follow_s: float = FOLLOW_S  # for tests


@dataclass(slots=True, eq=False)
class _Attempt:
    """A job of ours. ``cancel`` ends its call."""

    job: Job
    cancel: Callable[[], None] = lambda: None
    ringing: bool = True
    stopped: bool = False

    def stop(self) -> None:
        if not self.stopped:
            self.stopped = True
            self.cancel()


class Outbound:
    """The queue of this process. ``run`` works until ``stop`` and the end of the last call."""

    def __init__(self, parts: OutboundParts) -> None:
        self._parts = parts
        self._attempts: dict[str, _Attempt] = {}
        self._news = parts.orders
        self._stopping = False
        self._renewed_at = parts.clock.monotonic()
        self._following: set[asyncio.Task[Any]] = set()
        self._well = True
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def owner(self) -> str:
        return self._parts.owner

    @property
    def active(self) -> int:
        """Jobs that this process has."""
        return len(self._attempts)

    def adopt(self, limits: Mapping[str, TrunkLimits]) -> None:
        """Take other bounds for the calls that are made from now on."""
        self._parts = replace(self._parts, limits=limits)

    async def wait_idle(self) -> None:
        """Wait until this process has no job."""
        await self._idle.wait()

    def poke(self) -> None:
        """Look now: there is something new."""
        self._news.set()

    def renew_now(self) -> None:
        """Look now whether any job of ours is to be stopped."""
        self._renewed_at -= RENEW_S
        self._news.set()

    def stop(self) -> None:
        """Take no more jobs; ``run`` returns when the last call is over."""
        self._stopping = True
        for task in self._following:
            task.cancel()  # somebody else follows on when the lease is over
        self._news.set()

    async def run(self) -> None:
        """Work. When cancelled, jobs under way are left to their leases."""
        async with asyncio.TaskGroup() as tasks:
            pause = POLL_S
            while not (self._stopping and not self._attempts):
                pause = await self._turn(tasks, pause)
                if not (self._stopping and not self._attempts):
                    await self._wait(min(pause, RENEW_S))

    def take_in(self, job: Job, cancel: Callable[[], None]) -> None:
        """A call of ``job`` came in by itself: renew it as one of ours until ``came_to``."""
        self._attempts[job.id] = _Attempt(job, cancel, ringing=False)
        self._idle.clear()

    async def came_to(self, job: Job, result: Result) -> None:
        """The end of a job that was taken in."""
        try:
            await self._finish(job, result)
        finally:
            self._over(job)

    # --- one turn -------------------------------------------------------------------------------

    async def _turn(self, tasks: asyncio.TaskGroup, pause: float) -> float:
        """Renew what we have, begin what is due; seconds until the next turn."""
        try:
            store = await self._parts.storage.get(OPEN_S)
            await self._renew(store)
            begun = 0 if self._stopping else await self._begin(store, tasks)
        except StoreError as error:
            self._ill(error)
            return min(max(pause, POLL_S) * 2, RENEW_S)
        except Exception as error:  # the boundary: a job that cannot be read must not end calls
            self._parts.counters.count("faults", where="outbound")
            self._parts.log.error("queue failed", error=repr(error))
            return RENEW_S
        if not self._well:
            self._well = True
            self._parts.log.info("store answers again")
        return POLL_S if begun else min(pause * 1.5, IDLE_S)

    def _ill(self, error: StoreError) -> None:
        self._parts.counters.count("store_failures")
        if self._well:
            self._well = False
            self._parts.log.error("no job can be taken", error=str(error))
        self._give_up_unless_renewed()

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()
        self._news.clear()

    async def _renew(self, store: Store) -> None:
        now = self._parts.clock.monotonic()
        if not self._attempts:
            self._renewed_at = now
            return
        if now - self._renewed_at < RENEW_S:
            return
        held = dict(self._attempts)
        ours = await Jobs(store).renew(self.owner, self._parts.clock.wall(), LEASE_S)
        self._renewed_at = now
        for job, attempt in held.items():
            if ours.get(job, attempt.ringing):  # told to stop, or taken from us while it rings
                attempt.stop()

    def _give_up_unless_renewed(self) -> None:
        """Nobody knows any more that we are at it: another process may decide otherwise."""
        if self._parts.clock.monotonic() - self._renewed_at < LEASE_S:
            return
        for attempt in self._attempts.values():
            if attempt.ringing:
                attempt.stop()

    async def _begin(self, store: Store, tasks: asyncio.TaskGroup) -> int:
        parts, now = self._parts, self._parts.clock.wall()
        room = MAX_ACTIVE - len(self._attempts)
        claims = Claims(store)
        if room <= 0 or not parts.limits or not await claims.anything_due(now):
            return 0
        if not self._attempts:
            self._renewed_at = parts.clock.monotonic()
        jobs = await claims.claim(self.owner, parts.limits, most=room, now=now, lease_s=LEASE_S)
        for job in jobs:
            attempt = self._attempts[job.id] = _Attempt(job)
            self._idle.clear()
            tasks.create_task(self._live(attempt), name=f"job {job.id}")
        return len(jobs)

    # --- one job --------------------------------------------------------------------------------

    async def _live(self, attempt: _Attempt) -> None:
        """From the claim to the result; the boundary behind which no job harms another."""
        job = attempt.job
        try:
            if job.via == "api":
                result = await self._by_api(attempt)
            else:
                result = await self._by_sip(attempt)
            if result is not None:
                await self._finish(job, result)
        except Exception as error:
            self._parts.counters.count("faults", where="outbound")
            self._parts.log.error("job failed", job=job.id, error=repr(error))
            attempt.stop()
        finally:
            if self._attempts.get(job.id) is attempt:
                self._over(job)

    def _over(self, job: Job) -> None:
        self._attempts.pop(job.id, None)
        if not self._attempts:
            self._idle.set()
        self._news.set()

    async def _by_sip(self, attempt: _Attempt) -> Result | None:
        job = attempt.job
        announced = await self._announced(job)
        if attempt.stopped or not announced:
            return Result(Outcome.CANCELLED, detail="stopped")
        rule = "dial" if job.campaign is None else f"campaign:{job.campaign}"
        dialling = self._parts.dials.dial(
            DialOrder(
                number=job.number,
                trunk=job.trunk,
                agent=job.agent,
                rule=rule,
                ring_s=job.ring_s,
                caller_id=job.caller_id,
                parameters=job.parameters,
            )
        )
        attempt.cancel = dialling.cancel
        self._parts.log.info("dialling", job=job.id, trunk=job.trunk, number=job.number)
        return await self._conversation(attempt, dialling)

    async def _conversation(self, attempt: _Attempt, dialling: Dialling) -> Result:
        told = await dialling.result()
        found = Result(told.outcome, told.status, told.detail, told.call_id, told.call_sid)
        if told.outcome is not Outcome.ANSWERED:
            return found
        attempt.ringing = False
        answered_at = self._parts.clock.wall()
        try:
            store = await self._parts.storage.get(OPEN_S)
            await Jobs(store).talking(attempt.job, told.call_id, answered_at)
        except StoreError as error:  # the call goes on; the result will say it
            self._ill(error)
        end = await dialling.ended()
        return Result(
            Outcome.ANSWERED,
            told.status,
            end.reason,
            told.call_id,
            told.call_sid,
            answered_at,
            end.talk_s,
        )

    async def _announced(self, job: Job) -> bool:
        """Whether the store knows that we dial, and lets us. Without it nobody is called."""
        try:
            return await Jobs(await self._parts.storage.get(OPEN_S)).dialling(job)
        except StoreError as error:
            self._ill(error)
            return False

    # --- by the API of Exotel -------------------------------------------------------------------

    async def _by_api(self, attempt: _Attempt) -> Result | None:
        job = attempt.job
        caller = self._parts.callers.get(job.trunk)
        if caller is None:
            return Result(Outcome.REFUSED, detail="trunk-has-no-api")
        if job.state is JobState.DIALLING:  # another one started it
            return await self._follow(attempt, caller, job.call_sid)
        announced = await self._announced(job)
        if attempt.stopped or not announced:
            return Result(Outcome.CANCELLED, detail="stopped")
        try:
            call_sid = await caller.start(job)
        except ExotelError as error:
            self._parts.log.warning("call not started", job=job.id, error=str(error))
            return Result(failed(error), detail=type(error).__name__)
        except ValueError:
            return Result(Outcome.REFUSED, detail="not-as-exotel-wants-it")
        self._parts.log.info("exotel dials", job=job.id, trunk=job.trunk, call_sid=call_sid)
        try:
            await Jobs(await self._parts.storage.get(OPEN_S)).sent(job, call_sid)
        except StoreError as error:
            self._ill(error)
        return await self._follow(attempt, caller, call_sid)

    async def _follow(self, attempt: _Attempt, caller: MakesCalls, call_sid: str) -> Result | None:
        """Wait until the call comes in to us or ends; None when somebody else has the job now, or
        is to have it because we go."""
        if self._stopping:
            return None
        following = asyncio.get_running_loop().create_task(
            self._watch(attempt, caller, call_sid), name=f"following {attempt.job.id}"
        )
        self._following.add(following)
        try:
            await asyncio.wait({following})
            return None if following.cancelled() else following.result()
        finally:
            following.cancel()
            self._following.discard(following)

    async def _watch(self, attempt: _Attempt, caller: MakesCalls, call_sid: str) -> Result | None:
        job, clock = attempt.job, self._parts.clock
        deadline = clock.monotonic() + job.ring_s + caller.match_s
        while True:
            await asyncio.sleep(self._parts.follow_s)
            if await self._has_another_owner(job):
                return None
            try:
                call = await caller.look(call_sid)
            except ExotelError as error:
                self._parts.log.warning("call not looked up", job=job.id, error=str(error))
            else:
                outcome = of_exotel(call.status)
                if outcome is not None and await self._has_another_owner(job):
                    return None
                if outcome is Outcome.ANSWERED:
                    # It was answered, but we never saw it: the flow may lead elsewhere.
                    talk_s = float(call.duration_s or 0)
                    return Result(outcome, 0, "never-came-in", call_sid=call_sid, talk_s=talk_s)
                if outcome is not None:
                    return Result(outcome, 0, "by-exotel", call_sid=call_sid)
            if clock.monotonic() > deadline:
                return Result(Outcome.UNKNOWN, 0, "never-came-in", call_sid=call_sid)

    async def _has_another_owner(self, job: Job) -> bool:
        """Whether the call came in, here or in another process."""
        try:
            found = await Jobs(await self._parts.storage.get(OPEN_S)).get(job.id)
        except StoreError:
            return False
        return found is None or found.state is not JobState.DIALLING or found.owner != self.owner

    # --- the end --------------------------------------------------------------------------------

    async def _finish(self, job: Job, result: Result) -> None:
        """Write down what came of it, however long that takes within reason."""
        pause = FIRST_PAUSE_S
        self._parts.counters.count("jobs", outcome=result.outcome.value)
        self._parts.log.info(
            "job tried",
            job=job.id,
            attempt=job.attempts,
            outcome=result.outcome.value,
            status=result.status,
            call_id=result.call_id,
        )
        for _ in range(FINISH_TRIES):
            try:
                await self._write(job, result)
            except StoreError as error:
                self._ill(error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)
            else:
                return
        self._parts.counters.count("results_lost")
        self._parts.log.error("result lost", job=job.id, outcome=result.outcome.value)

    async def _write(self, job: Job, result: Result) -> None:
        store, now = await self._parts.storage.get(OPEN_S), self._parts.clock.wall()
        then = after(job, result, await _policy(store, job), now)
        if not await Jobs(store).finish(job, result, then, now):
            self._parts.log.warning("job had another owner", job=job.id)


async def _policy(store: Store, job: Job) -> RetryPolicy:
    if job.campaign is None:
        return ONCE
    plan = await Campaigns(store).plan(job.campaign)
    return ONCE if plan is None else plan.retries
