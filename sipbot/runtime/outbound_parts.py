"""Makes the queue of outbound calls of a process from its configuration, and runs it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Final

from sipbot.clock import Clock
from sipbot.ops.config import Config
from sipbot.ops.counters import Counters
from sipbot.ops.logs import get_logger
from sipbot.runtime.dialling import Dials
from sipbot.runtime.host import LocalHost
from sipbot.runtime.outbound import Outbound, OutboundParts
from sipbot.runtime.outbound_api import exotel_callers
from sipbot.runtime.outbound_arrivals import Arrivals
from sipbot.store.claims import TrunkLimits
from sipbot.store.storage import Storage

if TYPE_CHECKING:
    from sipbot.http.outbound import OutboundDesk

LAST_S: Final = 5.0  # seconds at the end for what came of the last calls to be written down
_MAX_HOST: Final = 24  # characters of the machine's name in the owner's


def trunk_limits(config: Config) -> Mapping[str, TrunkLimits]:
    """Bounds of the trunks by which calls are made."""
    return {
        name: TrunkLimits(trunk.outbound.max_calls, trunk.outbound.calls_per_minute)
        for name, trunk in config.trunks.items()
        if trunk.outbound is not None
    }


def owner_name() -> str:
    """A name for this process that no other one ever has."""
    return f"{socket.gethostname()[:_MAX_HOST]}-{os.getpid()}-{secrets.token_hex(6)}"


@contextlib.asynccontextmanager
async def dialling_out(
    config: Config,
    storage: Storage,
    dials: Dials,
    host: LocalHost,
    clock: Clock,
    counters: Counters,
) -> AsyncIterator[Outbound]:
    """Dial what is due while inside. ``host`` gets the calls that Exotel makes for us."""
    log, callers = get_logger("outbound"), exotel_callers(config)
    outbound = Outbound(
        OutboundParts(
            storage=storage,
            owner=owner_name(),
            dials=dials,
            limits=trunk_limits(config),
            callers=callers,
            clock=clock,
            counters=counters,
            log=log,
        )
    )
    try:
        async with asyncio.TaskGroup() as tasks:
            if callers:
                host.arriving = Arrivals(
                    outbound, storage, set(callers), set(config.agents), clock, log, tasks
                )
            running = tasks.create_task(outbound.run(), name="outbound")
            try:
                yield outbound
            finally:
                outbound.stop()
                await asyncio.wait({running}, timeout=LAST_S)
                running.cancel()
    finally:
        for caller in callers.values():
            await caller.close()


def outbound_desk(
    config: Config, storage: Storage, outbound: Outbound, clock: Clock
) -> OutboundDesk:
    """What the HTTP interface needs to order calls."""
    from sipbot.http.outbound import OutboundDesk, TrunkWays

    ways = {
        name: TrunkWays(
            sip=bool(trunk.outbound.uri),
            api=trunk.outbound.api is not None,
            ring_s=trunk.outbound.ring_s,
        )
        for name, trunk in config.trunks.items()
        if trunk.outbound is not None
    }
    return OutboundDesk(storage, ways, frozenset(config.agents), clock, outbound.poke)
