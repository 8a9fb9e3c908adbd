"""One user agent with its listeners: the signalling half of an edge, or of a test caller."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sipbot.clock import Clock
from sipbot.runtime.advertise import Advertiser, PublicAddress
from sipbot.sip.effects import Event, Hop, Transport
from sipbot.sip.user_agent import UserAgent, UserAgentConfig
from sipbot.transport.driver import SipDriver
from sipbot.transport.endpoint import SipEndpoint
from sipbot.transport.local import Listen, ListenAt, local_address_towards
from sipbot.transport.resolve import Resolver
from sipbot.transport.tls import TlsContexts


class RandomIds:
    """The real source of ids (RFC 3261 section 19.3 asks for at least 32 random bits)."""

    def token(self) -> str:
        return secrets.token_hex(10)

    def number(self) -> int:
        return secrets.randbelow(2**31 - 2**16)


@dataclass(slots=True)
class SipStack:
    """Parts of a running user agent. ``listeners`` are the addresses really bound."""

    driver: SipDriver
    endpoint: SipEndpoint
    advertiser: Advertiser
    listeners: list[Listen]

    async def close(self) -> None:
        """Close every connection and listener. What the core still wants to send is lost."""
        self.driver.close()
        await self.endpoint.close()


async def open_stack(
    *,
    config: UserAgentConfig,
    listen: Sequence[ListenAt],
    clock: Clock,
    on_event: Callable[[Event], None],
    admit: Callable[[str, Transport], bool],
    on_drop: Callable[[str, str], None],
    tls: TlsContexts | None,
    public: PublicAddress | None = None,
    on_unreachable: Callable[[Hop, str], None] | None = None,
    bound: Sequence[socket.socket] = (),
) -> SipStack:
    """Open the listeners and join core, drivers and clock. Raises TransportError.

    ``bound`` are sockets, one for each of ``listen``, that somebody else has bound already.
    """
    driver = SipDriver(clock, on_event)
    ports: dict[Transport, int] = {}
    advertiser = Advertiser(public or PublicAddress(), ports, local_address_towards)
    endpoint = SipEndpoint(
        receive=driver.receive,
        admit=admit,
        on_drop=on_drop,
        resolver=Resolver(),
        tls=tls,
        on_unreachable=on_unreachable,
    )
    driver.connect(UserAgent(config, RandomIds(), advertiser.signalling), endpoint)
    listeners = []
    try:
        for index, wanted in enumerate(listen):
            host, port = await endpoint.listen(wanted, bound[index] if bound else None)
            listeners.append(Listen(wanted.transport, host, port))
            ports.setdefault(wanted.transport, port)
    except BaseException:
        driver.close()
        await endpoint.close()
        raise
    return SipStack(driver, endpoint, advertiser, listeners)
