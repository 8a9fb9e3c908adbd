"""The bot of a configuration, in this process, on a free port of loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from sipbot.agent.port import Agent
from sipbot.call.call import Call
from sipbot.call.leg import Leg, TransferResult
from sipbot.call.speech import SpeechChunk, Synthesizer
from sipbot.clock import Clock
from sipbot.media.clockwork import Clockwork
from sipbot.ops.config import Config
from sipbot.ops.counters import Counters
from sipbot.ops.logs import get_logger
from sipbot.runtime.agent_parts import host_parts
from sipbot.runtime.assembly import edge_parts
from sipbot.runtime.doorkeeper import Doorkeeper
from sipbot.runtime.edge import Edge
from sipbot.runtime.faults import fault_logger
from sipbot.runtime.host import LocalHost
from sipbot.runtime.signalling import open_signalling
from sipbot.transport.local import Listen
from sipbot.transport.tls import TlsContexts

GOODBYE_S = 2.0  # seconds for calls to end when the bot is closed


@dataclass(slots=True)
class Said:
    """What the agents of the bot say and whom they transfer to, in order. ``hear`` is told too."""

    texts: list[str] = field(default_factory=list)
    transfers: list[str] = field(default_factory=list)
    hear: Callable[[str], None] = lambda text: None

    def text(self, text: str) -> None:
        self.texts.append(text)
        self.hear(text)


@dataclass(frozen=True, slots=True)
class LocalBot:
    """``port`` is of UDP on 127.0.0.1."""

    port: int
    said: Said


@asynccontextmanager
async def local_bot(config: Config, base: Path | None, clock: Clock) -> AsyncIterator[LocalBot]:
    """Run the agents of ``config``. Raises SipbotError for one that cannot be made.

    No store, no HTTP, no trunks: whoever is on loopback may call. Transfers are noted and accepted.
    """
    config = config.model_copy(update={"trunks": {}})
    counters, log, said = Counters(), get_logger("edge"), Said()
    parts = edge_parts(config, clock, counters)
    made = host_parts(config, base, clock, counters)
    made = replace(
        made,
        agents={name: _Unprepared(agent) for name, agent in made.agents.items()},
        synthesizer=_Overheard(made.synthesizer, said),
        transfers=_Noted(said),
    )
    loop, plane = asyncio.get_running_loop(), parts.plane
    clockwork = Clockwork(plane, loop, parts.waiters.wake, fault_logger(log, counters))
    try:
        async with asyncio.TaskGroup() as tasks:
            edge = Edge(parts, LocalHost(made, tasks))
            door = Doorkeeper(parts.admission, counters, log)
            listen = [Listen("udp", "127.0.0.1", 0)]
            stack = await open_signalling(config, edge, clock, door, TlsContexts(), listen)
            try:
                clockwork.start()
                yield LocalBot(stack.listeners[0].port, said)
                await edge.drain(GOODBYE_S)
            finally:
                await stack.close()
    finally:
        clockwork.stop()
        plane.close()


class _Unprepared:
    """An agent that makes its speech only when it speaks, so that it can be overheard in time."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    async def run(self, call: Call) -> None:
        await self._agent.run(call)


class _Overheard:
    """Implements ``Synthesizer``; tells what is asked for."""

    def __init__(self, synthesizer: Synthesizer, said: Said) -> None:
        self._synthesizer, self._said = synthesizer, said

    def synthesize(self, text: str, voice: str | None = None) -> AsyncGenerator[SpeechChunk, None]:
        self._said.text(text)
        return self._synthesizer.synthesize(text, voice)


class _Noted:
    """Implements ``Transfers``: everybody can be reached."""

    def __init__(self, said: Said) -> None:
        self._said = said

    async def transfer(self, leg: Leg, target: str, call_id: str) -> TransferResult:
        self._said.transfers.append(target)
        return TransferResult(True)
