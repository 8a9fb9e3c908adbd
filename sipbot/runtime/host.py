"""Where agents live: in this process, or behind a link in a worker.

The edge hands every accepted call to an ``AgentHost`` and keeps nothing but the leg.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sipbot.agent.port import Agent
from sipbot.agent.runner import AgentRunner
from sipbot.call.call import Call
from sipbot.call.leg import EndReason, Leg, LegInfo
from sipbot.call.record import CallRecord, Stat
from sipbot.call.speech import Synthesizer
from sipbot.call.transfers import LegTransfers, Transfers
from sipbot.clock import Clock
from sipbot.legs.sip import SipLeg
from sipbot.ops.counters import Counters
from sipbot.ops.logs import Logger
from sipbot.ops.status import WorkerStatus


@dataclass(frozen=True, slots=True)
class Placement:
    """Which agent takes a call, and by which rule."""

    call_id: str
    agent: str
    rule: str


class AgentHost(Protocol):
    """Runs agents for calls."""

    def refusal(self) -> str | None:
        """Rule that forbids one more call now, or None."""
        ...

    def take(self, leg: SipLeg, placement: Placement) -> None:
        """Give a new call to its agent. The host answers for the leg until it has ended."""
        ...

    @property
    def calls(self) -> int:
        """Calls whose agents have not finished."""
        ...

    async def wait_empty(self) -> None:
        """Wait until no agent has a call."""
        ...

    def workers(self) -> Sequence[WorkerStatus]:
        """How the workers fare, where there are any."""
        ...

    async def end_all(self) -> None:
        """End every call for ``EndReason.SHUTDOWN``."""
        ...


class HostedLeg(Leg, Protocol):
    """A leg that can tell how its audio fared."""

    def facts(self) -> Mapping[str, Stat]: ...


class Arriving(Protocol):
    """Somebody who may know more of a call that comes in than the call itself."""

    async def arrived(self, call: Call, info: LegInfo) -> None:
        """Tell the call before its agent is chosen. Bounded in time; never raises."""
        ...

    def ended(self, call: Call) -> None: ...


@dataclass(frozen=True, slots=True)
class HostParts:
    """What agents need around them."""

    agents: Mapping[str, Agent]
    runner: AgentRunner
    synthesizer: Synthesizer
    clock: Clock
    counters: Counters
    log: Logger
    transfers: Transfers = field(default_factory=LegTransfers)
    keep: Callable[[CallRecord], None] = lambda record: None  # must not wait


class LocalHost:
    """Runs agents in this process. ``tasks`` is the group that the calls' tasks belong to.

    ``on_finished(call_id)`` hears of every call whose agent is done and whose record is written.
    ``counts(leg)`` says whether the end of its call is to be counted here.
    """

    def __init__(
        self,
        parts: HostParts,
        tasks: asyncio.TaskGroup,
        on_finished: Callable[[str], None] = lambda call_id: None,
        counts: Callable[[Leg], bool] = lambda leg: True,
    ) -> None:
        self._parts, self._tasks, self._on_finished = parts, tasks, on_finished
        self._counts = counts
        self.arriving: Arriving | None = None
        self._calls: dict[str, Call] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def calls(self) -> int:
        return len(self._calls)

    async def wait_empty(self) -> None:
        await self._empty.wait()

    async def end_all(self) -> None:
        for call in tuple(self._calls.values()):
            await call.end(EndReason.SHUTDOWN)

    def refusal(self) -> str | None:
        return None

    def workers(self) -> tuple[WorkerStatus, ...]:
        return ()

    def adopt(self, parts: HostParts) -> None:
        """Take other parts for the calls that come from now on."""
        self._parts = parts

    def take(self, leg: HostedLeg, placement: Placement) -> None:
        parts = self._parts
        call = Call(
            leg,
            call_id=placement.call_id,
            agent_name=placement.agent,
            synthesizer=parts.synthesizer,
            clock=parts.clock,
            log=parts.log.bind(call_id=placement.call_id),
            rule=placement.rule,
            transfers=parts.transfers,
        )
        self._calls[call.id] = call
        self._empty.clear()
        self._tasks.create_task(self._live(call, leg, parts), name=call.id)

    async def _live(self, call: Call, leg: HostedLeg, parts: HostParts) -> None:
        """One call from ringing to record. The boundary behind which no call harms another."""
        try:
            if self.arriving is not None:
                await self.arriving.arrived(call, leg.info)
            agent = parts.agents[call.agent_name]
            record = await parts.runner.run(call, agent, leg.facts)
        except Exception as error:
            parts.counters.count("faults", where="call")
            call.log.error("call failed", error=repr(error))
            await leg.hangup(EndReason.AGENT_FAILED)
        else:
            parts.keep(record)
            if self._counts(leg):
                parts.counters.count("calls_ended", reason=record.reason.value)
            call.log.info("call ended", **summary(record))
        finally:
            if self.arriving is not None:
                self.arriving.ended(call)
            del self._calls[call.id]
            if not self._calls:
                self._empty.set()
            self._on_finished(call.id)


def summary(record: CallRecord) -> dict[str, Stat]:
    """What the log says of a finished call."""
    return {
        "reason": record.reason.value,
        "detail": record.detail,
        "agent": record.agent,
        "rule": record.rule,
        "codec": record.codec,
        "setup_ms": record.setup_ms,
        "talk_ms": record.talk_ms,
        "keys_pressed": record.keys,
        "failure": record.failure,
        **record.stats,
    }
