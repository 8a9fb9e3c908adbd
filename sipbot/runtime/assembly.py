"""Makes the parts of an edge from the configuration; those of agents are in ``agent_parts``."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from sipbot.call.routing import Route, Routes
from sipbot.clock import Clock
from sipbot.legs.negotiation import MediaTerms
from sipbot.legs.stream_audio import SlotWaiters
from sipbot.media.plane import LATENESS_MS, MediaPlane, PlaneConfig, best_tick_ms
from sipbot.media.ports import PortPool
from sipbot.media.rings import RingBlock
from sipbot.ops.admission import Admission
from sipbot.ops.config import Config
from sipbot.ops.counters import Counters
from sipbot.ops.logs import get_logger
from sipbot.ops.overload import Overload, OverloadLimits
from sipbot.runtime.call_times import CallTimes
from sipbot.runtime.capacity import Capacity
from sipbot.runtime.edge import EdgeParts
from sipbot.sip.timing import Timers
from sipbot.sip.user_agent import UserAgentConfig


def edge_parts(
    config: Config,
    clock: Clock,
    counters: Counters,
    rings: tuple[RingBlock, RingBlock] | None = None,
) -> EdgeParts:
    """Everything that takes calls, but the signalling.

    ``rings`` are those towards the agents and towards the peers, where workers share them; there
    may be more of them than calls.
    """
    plane = media_plane(config, clock, rings)
    return EdgeParts(
        plane=plane,
        waiters=SlotWaiters(plane.config.slots),
        routes=routes(config),
        admission=admission(config),
        capacity=Capacity(config.limits.max_calls, trunk_limits(config)),
        overload=Overload(overload_limits(config), LATENESS_MS),
        times=CallTimes(),
        counters=counters,
        log=get_logger("edge"),
        terms=media_terms(config),
        retry_after_s=config.limits.retry_after_s,
    )


def admission(config: Config) -> Admission:
    return Admission({name: trunk.allow for name, trunk in config.trunks.items()})


def overload_limits(config: Config) -> OverloadLimits:
    return OverloadLimits(config.limits.max_cpu_percent, config.limits.max_tick_lateness_ms)


def media_terms(config: Config) -> MediaTerms:
    return MediaTerms(config.media.codecs, config.media.srtp)


def user_agent_config(config: Config) -> UserAgentConfig:
    sip = config.sip
    return UserAgentConfig(
        user_agent=sip.user_agent,
        timers=Timers(sip.timers.t1_ms / 1000, sip.timers.t2_ms / 1000, sip.timers.t4_ms / 1000),
        session_expires_s=sip.session_expires_s,
        min_se_s=sip.min_session_expires_s,
        max_dialogs=2 * config.limits.max_calls,
    )


def media_plane(
    config: Config, clock: Clock, rings: tuple[RingBlock, RingBlock] | None = None
) -> MediaPlane:
    media = config.media
    rx, tx = rings or (None, None)
    return MediaPlane(
        PlaneConfig(
            slots=config.limits.max_calls if rx is None else rx.slots,
            tick_ms=best_tick_ms(),
            media_timeout_s=media.timeout_s,
            initial_media_timeout_s=media.initial_timeout_s,
            latch_window_s=media.latch_window_s,
        ),
        PortPool(media.ports.first, media.ports.last, entropy=secrets.token_bytes),
        clock=clock,
        entropy=secrets.token_bytes,
        rx=rx,
        tx=tx,
    )


def trunk_limits(config: Config) -> Mapping[str, int]:
    """Calls at a time, of the trunks that have a limit."""
    default = config.limits.max_calls_per_trunk
    limits = {name: trunk.max_calls or default for name, trunk in config.trunks.items()}
    return {name: limit for name, limit in limits.items() if limit}


def routes(config: Config) -> Routes:
    return Routes(
        [
            Route(
                agent=route.agent,
                to=route.to,
                from_=route.from_,
                trunk=route.trunk,
                header=route.header,
                path=route.path,
            )
            for route in config.routes
        ]
    )
