"""``/api``: order calls, look after them; campaigns; numbers that are never called."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeVar

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from sipbot.clock import Clock
from sipbot.errors import StoreError
from sipbot.http.access import TokenGuard
from sipbot.http.guarded import guarded_route
from sipbot.outbound.csvfiles import read_numbers, result_lines
from sipbot.outbound.job import Job, JobState, NewJob
from sipbot.outbound.numbers import canonical
from sipbot.outbound.outcome import Outcome
from sipbot.outbound.plan import MAX_RING_S, Plan, Via
from sipbot.store.campaigns import Campaign, CampaignBusy, Campaigns, DoNotCall
from sipbot.store.engine import Store
from sipbot.store.jobs import Jobs
from sipbot.store.storage import Storage

STORE_S: Final = 2.0  # seconds to wait for the store
MAX_BODY: Final = 65_536  # bytes of an order
MAX_LIST: Final = 8_000_000  # bytes of a list of numbers; longer ones by ``sipbot campaign load``
MAX_WITHIN_S: Final = 86_400.0  # seconds
T = TypeVar("T")
_NOT_KEPT: Final = {"Cache-Control": "no-store"}

CampaignName = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


@dataclass(frozen=True, slots=True)
class TrunkWays:
    """How calls can leave by a trunk."""

    sip: bool
    api: bool
    ring_s: float


@dataclass(frozen=True, slots=True)
class OutboundDesk:
    """What the paths need. ``poke`` tells the queue of this process of something new."""

    storage: Storage
    trunks: Mapping[str, TrunkWays]
    agents: Collection[str]
    clock: Clock
    poke: Callable[[], None]

    @asynccontextmanager
    async def store(self) -> AsyncIterator[Store]:
        """The store, or 503."""
        try:
            yield await self.storage.get(STORE_S)
        except CampaignBusy as error:
            raise HTTPException(409, str(error)) from None
        except StoreError:
            raise HTTPException(503, "the store is not available") from None

    def way(self, trunk: str | None, via: Via | None, agent: str) -> tuple[str, Via]:
        """Trunk and way, or 422."""
        if agent not in self.agents:
            raise HTTPException(422, "agent: there is none of this name")
        if trunk is None and len(self.trunks) == 1:
            trunk = next(iter(self.trunks))
        ways = self.trunks.get(trunk or "")
        if trunk is None or ways is None:
            known = ", ".join(sorted(self.trunks)) or "none is configured"
            raise HTTPException(422, f"trunk: must be one with outbound calls: {known}")
        chosen: Via = via or ("sip" if ways.sip else "api")
        if not (ways.sip if chosen == "sip" else ways.api):
            raise HTTPException(422, f"via: this trunk makes no calls by {chosen}")
        return trunk, chosen


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CallOrder(_Given):
    """A call to be made."""

    to: str = Field(min_length=1, max_length=64, examples=["+919812345610"])
    agent: str
    trunk: str | None = None  # may be left out where only one makes calls
    via: Literal["sip", "api"] | None = None  # sip where the trunk can
    parameters: dict[str, str] = Field(default_factory=dict)
    caller_id: str = Field(default="", max_length=64, pattern=r"^\S*$")
    ring_s: float | None = Field(default=None, ge=1, le=MAX_RING_S)
    within_s: float = Field(default=60.0, ge=1, le=MAX_WITHIN_S)  # dialled by then, or not at all


class JobView(BaseModel):
    """A job, as it stands."""

    id: str
    to: str
    agent: str
    trunk: str
    via: Via
    campaign: str | None
    state: JobState
    outcome: Outcome | None
    attempts: int
    status: int
    detail: str
    call_id: str
    call_sid: str
    parameters: dict[str, str]
    created_at: float
    due_at: float
    answered_at: float | None
    ended_at: float | None
    talk_s: float

    @classmethod
    def of(cls, job: Job) -> JobView:
        given: dict[str, Any] = {
            name: getattr(job, name) for name in cls.model_fields if name != "to"
        }
        return cls(to=job.number, **given)


class CampaignOrder(_Given):
    """A list of numbers and how to call them: ``plan`` as `sipbot campaign load` takes it."""

    plan: dict[str, Any]
    numbers: str = ""  # CSV with a header; a column "number", the others are parameters


class CampaignView(BaseModel):
    """A campaign and where it stands."""

    name: str
    running: bool
    finished: bool
    created_at: float
    plan: dict[str, Any]
    jobs: int
    states: dict[str, int]
    outcomes: dict[str, int]

    @classmethod
    def of(cls, one: Campaign) -> CampaignView:
        return cls(
            name=one.name,
            running=one.running,
            finished=one.finished,
            created_at=one.created_at,
            plan=one.plan.plain(),
            jobs=one.jobs,
            states={state.value: number for state, number in one.states.items()},
            outcomes={outcome.value: number for outcome, number in one.outcomes.items()},
        )


def router(desk: OutboundDesk, guard: TokenGuard) -> APIRouter:
    """The paths over ``desk``; ``guard`` says who may ask."""
    made = APIRouter(
        prefix="/api",
        tags=["outbound"],
        dependencies=[Depends(guard)],
        route_class=guarded_route(guard, _max_body),
    )
    _add_jobs(made, desk)
    _add_campaigns(made, desk)
    _add_results(made, desk)
    _add_never_called(made, desk)
    return made


def _max_body(path: str) -> int:
    return MAX_LIST if path.endswith("/campaigns/{name}") else MAX_BODY


def _add_jobs(made: APIRouter, desk: OutboundDesk) -> None:
    @made.post("/calls", status_code=202)
    async def order_call(order: CallOrder, response: Response) -> JobView:
        """Have somebody called. The answer comes at once; `GET /api/jobs/{job}` tells the rest."""
        trunk, via = desk.way(order.trunk, order.via, order.agent)
        now = desk.clock.wall()
        try:
            job = NewJob(
                number=canonical(order.to),
                agent=order.agent,
                trunk=trunk,
                via=via,
                parameters=order.parameters,
                caller_id=order.caller_id,
                ring_s=order.ring_s or desk.trunks[trunk].ring_s,
                due_at=now,
                expires_at=now + order.within_s,
            )
        except ValueError as error:
            raise HTTPException(422, f"to: {error}") from None
        async with desk.store() as store:
            (id_,) = await Jobs(store).add([job], now)
            kept = await Jobs(store).get(id_)
        if kept is None:
            raise HTTPException(503, "the store is not available")
        if kept.outcome is Outcome.DO_NOT_CALL:
            raise HTTPException(409, "to: this number is on the do-not-call list")
        desk.poke()
        response.headers["Location"] = f"/api/jobs/{id_}"
        return JobView.of(kept)

    @made.get("/jobs")
    async def list_jobs(
        campaign: str | None = None,
        state: JobState | None = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> list[JobView]:
        """The newest jobs."""
        async with desk.store() as store:
            found = await Jobs(store).find(campaign=campaign, state=state, limit=limit)
        return [JobView.of(job) for job in found]

    @made.get("/jobs/{job}")
    async def show_job(job: str) -> JobView:
        """One job as it stands."""
        async with desk.store() as store:
            return JobView.of(_found(await Jobs(store).get(job)))

    @made.delete("/jobs/{job}")
    async def stop_job(job: str) -> JobView:
        """Have it end: a job that waits is cancelled at once, a call is hung up within seconds."""
        async with desk.store() as store:
            stopped = _found(await Jobs(store).stop(job, desk.clock.wall()))
        desk.poke()
        return JobView.of(stopped)


def _add_campaigns(made: APIRouter, desk: OutboundDesk) -> None:
    @made.get("/campaigns")
    async def list_campaigns() -> list[str]:
        """Names of the campaigns, the newest first."""
        async with desk.store() as store:
            return [one.name for one in await Campaigns(store).list()]

    @made.put("/campaigns/{name}")
    async def load_campaign(name: CampaignName, order: CampaignOrder) -> dict[str, Any]:
        """Make a campaign, or add numbers to it. It calls nobody before it is started."""
        try:
            plan = Plan.parse(order.plan)
        except (ValueError, TypeError, AttributeError) as error:
            raise HTTPException(422, f"plan: {error}") from None
        desk.way(plan.trunk, plan.via, plan.agent)
        try:  # in a thread: a long list must not hold up the calls of this process
            listed = await asyncio.to_thread(read_numbers, order.numbers or "number\n")
        except ValueError as error:
            raise HTTPException(422, f"numbers: {error}") from None
        async with desk.store() as store:
            added = await Campaigns(store).load(name, plan, listed.rows, desk.clock.wall())
        problems = [{"line": one.line, "message": one.message} for one in listed.problems]
        return {"added": added, "bad": listed.bad, "problems": problems}

    @made.get("/campaigns/{name}")
    async def show_campaign(name: CampaignName) -> CampaignView:
        """Where a campaign stands."""
        async with desk.store() as store:
            return CampaignView.of(_found(await Campaigns(store).get(name)))

    @made.post("/campaigns/{name}/{what}")
    async def start_or_stop(name: CampaignName, what: Literal["start", "stop"]) -> CampaignView:
        """Start or resume; or stop: calls under way go on, no other one begins."""
        async with desk.store() as store:
            if not await Campaigns(store).run(name, running=what == "start"):
                raise _nothing()
            desk.poke()
            return CampaignView.of(_found(await Campaigns(store).get(name)))

    @made.delete("/campaigns/{name}", status_code=204)
    async def remove_campaign(name: CampaignName) -> None:
        """Forget a campaign and its results; 409 while it has calls."""
        async with desk.store() as store:
            if not await Campaigns(store).remove(name):
                raise _nothing()


def _add_results(made: APIRouter, desk: OutboundDesk) -> None:
    @made.get("/campaigns/{name}/results", response_class=StreamingResponse)
    async def results(name: CampaignName) -> StreamingResponse:
        """Every number with what came of it, as CSV."""
        async with desk.store() as store:
            campaign = _found(await Campaigns(store).get(name))

        async def lines() -> AsyncIterator[str]:
            first = True
            async for job in Jobs(store).of_campaign(name):
                made = list(result_lines([job], campaign.columns))
                for line in made if first else made[1:]:
                    yield line
                first = False
            if first:
                for line in result_lines([], campaign.columns):
                    yield line

        headers = {**_NOT_KEPT, "Content-Disposition": f'attachment; filename="{name}.csv"'}
        return StreamingResponse(lines(), media_type="text/csv; charset=utf-8", headers=headers)


def _add_never_called(made: APIRouter, desk: OutboundDesk) -> None:
    def number_of(given: str) -> str:
        try:
            return canonical(given)
        except ValueError as error:
            raise HTTPException(422, f"number: {error}") from None

    @made.get("/do-not-call/{number}")
    async def is_listed(number: str) -> dict[str, bool]:
        """Whether a number is on the list."""
        async with desk.store() as store:
            return {"listed": await DoNotCall(store).holds(number_of(number))}

    @made.put("/do-not-call/{number}", status_code=204)
    async def add_number(number: str) -> None:
        """Never call this number again; what waits for it is done."""
        async with desk.store() as store:
            await DoNotCall(store).add([number_of(number)], desk.clock.wall())

    @made.delete("/do-not-call/{number}", status_code=204)
    async def remove_number(number: str) -> None:
        """Take a number off the list."""
        async with desk.store() as store:
            if not await DoNotCall(store).remove(number_of(number)):
                raise _nothing()


def _nothing() -> HTTPException:
    return HTTPException(404, "there is none of this name")


def _found(value: T | None) -> T:
    if value is None:
        raise _nothing()
    return value
