"""Calls that come in because Exotel made them for us: each finds its job and its agent."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from functools import partial
from typing import Final

from sipbot.call.call import Call
from sipbot.call.leg import EndReason, LegInfo
from sipbot.clock import Clock
from sipbot.errors import StoreError
from sipbot.ops.logs import Logger
from sipbot.outbound.job import Job, Result
from sipbot.outbound.outcome import Outcome
from sipbot.runtime.outbound import LEASE_S, Outbound
from sipbot.runtime.outbound_api import job_of_path
from sipbot.store.jobs import Jobs
from sipbot.store.storage import Storage

ARRIVE_S: Final = 1.5  # seconds that a caller may wait for the store
TRIES: Final = 3  # looks, while a call that Exotel has just been asked for has no id yet
TRY_S: Final = 0.4  # seconds between them


class Arrivals:
    """Matches calls of ``trunks``, those that have an API. ``agents`` are the names that exist."""

    def __init__(
        self,
        outbound: Outbound,
        storage: Storage,
        trunks: Collection[str],
        agents: Collection[str],
        clock: Clock,
        log: Logger,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._outbound, self._storage = outbound, storage
        self._trunks, self._agents = trunks, agents
        self._clock, self._log, self._tasks = clock, log, tasks
        self._jobs: dict[str, Job] = {}  # by call id

    async def arrived(self, call: Call, info: LegInfo) -> None:
        """Give a call the agent and the parameters of its job, if it has one. Never raises."""
        if info.direction != "inbound" or info.trunk not in self._trunks:
            return
        try:
            async with asyncio.timeout(ARRIVE_S):
                job = await self._find(call, info)
        except (StoreError, TimeoutError):
            self._log.warning("call not matched", call_id=call.id, reason="store")
            return
        if job is None:
            return
        self._jobs[call.id] = job
        cancel = partial(self._end, call)
        self._outbound.take_in(job, cancel)
        if job.agent in self._agents:
            call.agent_name = job.agent
        call.add_parameters(job.parameters)
        self._log.info("call matched", call_id=call.id, job=job.id)
        if job.stop_wanted:
            cancel()

    def ended(self, call: Call) -> None:
        """The call is over."""
        job = self._jobs.pop(call.id, None)
        if job is None:
            return
        record = call.record()
        result = Result(
            Outcome.ANSWERED,
            0,
            record.reason.value,
            call.id,
            job.call_sid,
            job.answered_at,
            record.talk_ms / 1000,
        )
        self._tasks.create_task(self._outbound.came_to(job, result))

    async def _find(self, call: Call, info: LegInfo) -> Job | None:
        named = job_of_path(info.parameters.get("path", ""))
        if not info.trunk_call_id and not named:
            return None
        for left in reversed(range(TRIES)):
            jobs = Jobs(await self._storage.get(ARRIVE_S))
            found = await jobs.arrived(
                call_sid=info.trunk_call_id,
                job=named,
                owner=self._outbound.owner,
                call_id=call.id,
                now=self._clock.wall(),
                lease_s=LEASE_S,
            )
            if found is not None or not left or not await jobs.waits_for_ids(info.trunk):
                return found
            await asyncio.sleep(TRY_S)
        return None

    def _end(self, call: Call) -> None:
        self._tasks.create_task(call.end(EndReason.BOT_HUNG_UP))
