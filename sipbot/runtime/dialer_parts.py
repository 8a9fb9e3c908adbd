"""Makes the dialer of an edge from its configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from sipbot.errors import ConfigError, ConfigProblem, SipSyntaxError
from sipbot.legs.negotiation import MediaTerms
from sipbot.ops.config import Config
from sipbot.ops.config_outbound import OutboundConfig
from sipbot.ops.logs import get_logger
from sipbot.runtime.dialer import Dialer, DialerParts, TrunkDialPlan
from sipbot.runtime.edge import Edge, EdgeParts
from sipbot.sip.auth import Credentials
from sipbot.sip.uri import Uri


def make_dialer(config: Config, edge: Edge, parts: EdgeParts, tasks: asyncio.TaskGroup) -> Dialer:
    """The dialer over ``edge``; ``tasks`` owns its attempts."""
    needs = DialerParts(
        plane=parts.plane,
        waiters=parts.waiters,
        terms=parts.terms,
        counters=parts.counters,
        log=get_logger("dialer"),
    )
    return Dialer(edge, needs, dial_plans(config), tasks)


def dial_plans(config: Config) -> Mapping[str, TrunkDialPlan]:
    """How calls leave, of the trunks through which any do. Raises ConfigError."""
    return {
        name: _plan(name, trunk.outbound, config.media.codecs)
        for name, trunk in config.trunks.items()
        if trunk.outbound is not None and trunk.outbound.uri
    }


def _plan(name: str, outbound: OutboundConfig, codecs: tuple[str, ...]) -> TrunkDialPlan:
    credentials = None
    if outbound.user is not None and outbound.password is not None:
        credentials = Credentials(outbound.user, outbound.password.get_secret_value())
    try:
        uris = tuple(Uri.parse(uri) for uri in outbound.uri)
    except SipSyntaxError as error:
        key = f"trunks.{name}.outbound.uri"
        raise ConfigError((ConfigProblem("configuration", 0, key, "", error.reason),)) from None
    return TrunkDialPlan(
        uris=uris,
        credentials=credentials,
        from_domain=outbound.from_domain or "",
        caller_id=outbound.caller_id,
        number_format=outbound.number_format,
        terms=None if outbound.srtp is None else MediaTerms(codecs, outbound.srtp),
    )
