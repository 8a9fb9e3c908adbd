"""Opens the signalling of an edge: listeners, certificates, the address that peers are told."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence

from sipbot.clock import Clock
from sipbot.errors import TransportError
from sipbot.ops.config import Config
from sipbot.ops.logs import get_logger
from sipbot.runtime.advertise import PublicAddress
from sipbot.runtime.assembly import user_agent_config
from sipbot.runtime.doorkeeper import Doorkeeper
from sipbot.runtime.edge import Edge
from sipbot.runtime.sip_stack import SipStack, open_stack
from sipbot.transport.local import ListenAt
from sipbot.transport.tls import TlsContexts


async def open_signalling(
    config: Config,
    edge: Edge,
    clock: Clock,
    door: Doorkeeper,
    tls: TlsContexts,
    listen: Sequence[ListenAt] | None = None,
    bound: Sequence[socket.socket] = (),
) -> SipStack:
    """Open the listeners and join them with the edge. Raises TransportError.

    ``listen`` stands for what is configured, and ``bound`` are its sockets, where somebody else
    holds them.
    """
    stack = await open_stack(
        config=user_agent_config(config),
        listen=config.sip.listen if listen is None else listen,
        clock=clock,
        on_event=edge.on_event,
        admit=door.admit,
        on_drop=door.dropped,
        tls=tls,
        public=await _public_address(config.sip.public_address),
        on_unreachable=lambda hop, cause: get_logger("sip").warning(
            "peer not reached", host=hop.host, port=hop.port, cause=cause
        ),
        bound=bound,
    )
    edge.connect(stack)
    return stack


async def _public_address(configured: str) -> PublicAddress:
    """Signalling advertises what is configured; SDP needs an IP address."""
    if configured == "auto":
        return PublicAddress()
    try:
        return PublicAddress(configured, str(ipaddress.ip_address(configured)))
    except ValueError:
        pass
    try:
        found = await asyncio.get_running_loop().getaddrinfo(configured, None)
    except OSError as error:
        raise TransportError(f"sip.public_address {configured!r} has no address") from error
    return PublicAddress(configured, str(found[0][4][0]))
