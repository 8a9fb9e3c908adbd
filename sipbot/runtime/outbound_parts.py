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
from sipbot.ops.logs import get_logger
from sipbot.runtime.dialling import Dials
from sipbot.runtime.host import LocalHost
from sipbot.runtime.outbound import Outbound, OutboundParts
from sipbot.runtime.outbound_api import MakesCalls
from sipbot.runtime.outbound_arrivals import Arrivals
from sipbot.runtime.outbound_limits import outbound_limits

if TYPE_CHECKING:
    from sipbot.http.outbound import OutboundDesk
    from sipbot.runtime.records import Books

LAST_S: Final = 2.0  # seconds at the end for what came of the last calls to be written down
_MAX_HOST: Final = 24  # characters of the machine's name in the owner's


def _callers(config: Config) -> Mapping[str, MakesCalls]:
    """By trunk; empty where no trunk has an API, and then its client is not even imported."""
    if not any(one.outbound and one.outbound.api for one in config.trunks.values()):
        return {}
    from sipbot.runtime.outbound_exotel import exotel_callers

    return exotel_callers(config)


def owner_name() -> str:
    """A name for this process that no other one ever has."""
    return f"{socket.gethostname()[:_MAX_HOST]}-{os.getpid()}-{secrets.token_hex(6)}"


@contextlib.asynccontextmanager
async def dialling_out(
    config: Config, books: Books, dials: Dials, host: LocalHost, clock: Clock
) -> AsyncIterator[Outbound]:
    """Dial what is due while inside, where any trunk makes calls.

    ``host`` gets the calls that Exotel makes for us.
    """
    log, callers, storage = get_logger("outbound"), _callers(config), books.storage
    outbound = Outbound(
        OutboundParts(
            storage=storage,
            orders=books.orders,
            owner=owner_name(),
            dials=dials,
            limits=outbound_limits(config),
            callers=callers,
            clock=clock,
            counters=books.counters,
            log=log,
        )
    )
    if not outbound_limits(config):
        yield outbound
        return
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


def outbound_desk(config: Config, books: Books, clock: Clock) -> OutboundDesk:
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
    return OutboundDesk(books.storage, ways, frozenset(config.agents), clock, books.orders.set)
