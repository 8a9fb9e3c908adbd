"""A new configuration for an edge that is at work: what may change, and for which calls."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sipbot.clock import Clock
from sipbot.ops.config import Config
from sipbot.ops.logs import get_logger
from sipbot.runtime.assembly import (
    admission,
    media_terms,
    overload_limits,
    routes,
    trunk_limits,
)
from sipbot.runtime.capacity import Capacity
from sipbot.runtime.dialer import Dialer
from sipbot.runtime.dialer_parts import dial_plans
from sipbot.runtime.doorkeeper import Doorkeeper
from sipbot.runtime.edge import Edge
from sipbot.runtime.outbound_limits import outbound_limits
from sipbot.runtime.tls_files import tls_contexts
from sipbot.runtime.tls_switch import SwitchableTls

if TYPE_CHECKING:
    from sipbot.runtime.outbound import Outbound

# What is built once, at the start: (section, names).
_FIXED = {
    "sip": (
        "listen",
        "public_address",
        "timers",
        "session_expires_s",
        "min_session_expires_s",
        "user_agent",
    ),
    "media": ("ports", "timeout_s", "initial_timeout_s", "latch_window_s"),
    "http": ("listen",),
    "logging": ("level", "format"),
}


def needs_restart(old: Config, new: Config) -> Iterator[str]:
    """Names of settings that differ and take effect at the next start only."""
    for section, names in _FIXED.items():
        before, after = getattr(old, section), getattr(new, section)
        for name in names:
            if getattr(before, name) != getattr(after, name):
                yield f"{section}.{name}"
    if (old.workers == 0) != (new.workers == 0):
        yield "workers"
    if new.workers == 0 and old.store != new.store:
        yield "store"


class RuleBook:
    """The rules of one edge, exchangeable as a whole."""

    def __init__(
        self, edge: Edge, door: Doorkeeper, capacity: Capacity, tls: SwitchableTls, clock: Clock
    ) -> None:
        self._edge, self._door, self._capacity = edge, door, capacity
        self._tls, self._clock = tls, clock
        self.dialer: Dialer | None = None  # for the calls that we make
        self.outbound: Outbound | None = None  # the queue of them, where it lives here too

    async def adopt(self, config: Config) -> None:
        """Apply to calls and connections that come from now on. Raises TransportError.

        When it raises, nothing has changed.
        """
        # In a thread: reading the system's authorities takes longer than a packet may wait.
        fresh = await asyncio.to_thread(tls_contexts, config.sip, self._clock, get_logger("tls"))
        who, plans = admission(config), dial_plans(config)
        self._tls.adopt(fresh)
        self._door.adopt(who)
        self._capacity.adopt(config.limits.max_calls, trunk_limits(config))
        self._edge.overload.limits = overload_limits(config)
        if self.dialer is not None:
            self.dialer.adopt(plans, media_terms(config))
        if self.outbound is not None:
            self.outbound.adopt(outbound_limits(config))
        self._edge.adopt(
            routes=routes(config),
            admission=who,
            terms=media_terms(config),
            retry_after_s=config.limits.retry_after_s,
        )
