"""Endpoints that remember what they hear, and a tiny DNS server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable
from typing import TypeVar

import dns.asyncresolver
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from sipbot.errors import TransportError
from sipbot.sip.effects import Address, Attempt, Flow, Hop, Send, Transport
from sipbot.transport.endpoint import Listen, SipEndpoint
from sipbot.transport.limits import TransportLimits
from sipbot.transport.resolve import Candidate, HopResolver, literal
from sipbot.transport.tls import TlsContexts

T = TypeVar("T")
BOUND_S = 10.0  # no wait in these tests may last longer


async def soon(work: Awaitable[T]) -> T:
    """The result, or TimeoutError."""
    return await asyncio.wait_for(work, BOUND_S)


def message(number: int = 1, body: bytes = b"") -> bytes:
    """A framed request; its content does not matter here."""
    return b"OPTIONS sip:a@b SIP/2.0\r\nCSeq: %d OPTIONS\r\nContent-Length: %d\r\n\r\n%s" % (
        number,
        len(body),
        body,
    )


class FixedResolver:
    """Knows a few names; literals are themselves."""

    def __init__(self, **names: tuple[Candidate, ...]) -> None:
        self.names = names
        self.asked: list[Hop] = []

    async def resolve(self, hop: Hop) -> tuple[Candidate, ...]:
        self.asked.append(hop)
        target = literal(hop)
        if target is not None:
            return (target,)
        if hop.host not in self.names:
            raise TransportError("the name cannot be resolved")
        return self.names[hop.host]


class HangingResolver:
    """Never answers."""

    async def resolve(self, hop: Hop) -> tuple[Candidate, ...]:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


class Box:
    """An endpoint whose callbacks fill queues and lists."""

    def __init__(
        self,
        *,
        tls: TlsContexts | None = None,
        limits: TransportLimits | None = None,
        resolver: HopResolver | None = None,
        refuse: tuple[str, ...] = (),
    ) -> None:
        self.heard: asyncio.Queue[tuple[bytes, Flow]] = asyncio.Queue()
        self.drops: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self.failures: asyncio.Queue[str] = asyncio.Queue()
        self.unreachable: list[tuple[Hop, str]] = []
        self.echo = False  # answer on the flow it came by
        self.endpoint = SipEndpoint(
            receive=self._receive,
            admit=lambda ip, transport: ip not in refuse,
            on_drop=lambda rule, ip: self.drops.put_nowait((rule, ip)),
            resolver=resolver or FixedResolver(),
            tls=tls,
            limits=limits,
            on_unreachable=lambda hop, cause: self.unreachable.append((hop, cause)),
        )

    async def listen(self, transport: Transport, host: str = "127.0.0.1") -> Address:
        return await self.endpoint.listen(Listen(transport, host, 0))

    def send(self, *attempts: Attempt, key: str = "key") -> None:
        self.endpoint.send(Send(key, attempts), self.failures.put_nowait)

    def send_to(self, hop: Hop, wire: bytes | None = None) -> None:
        self.send(Attempt(message() if wire is None else wire, hop=hop))

    def reply(self, flow: Flow, wire: bytes | None = None) -> None:
        self.send(Attempt(message(2) if wire is None else wire, flow=flow))

    async def hear(self) -> tuple[bytes, Flow]:
        return await soon(self.heard.get())

    async def drop(self) -> str:
        """The rule of the next drop."""
        return (await soon(self.drops.get()))[0]

    async def all_gone(self) -> None:
        """Let the loop turn until no stream connection is left; the test's time-out bounds it."""
        while self.endpoint.connections:  # noqa: ASYNC110  # nobody is told of a quiet end
            await asyncio.sleep(0)

    def _receive(self, data: bytes, flow: Flow) -> None:
        self.heard.put_nowait((data, flow))
        if self.echo:
            self.reply(flow, data)


class DnsServer(asyncio.DatagramProtocol):
    """Answers from a list of zone-file lines; counts its questions."""

    def __init__(self, *zone: str) -> None:
        self.questions: list[str] = []
        self.silent = False
        texts: dict[tuple[str, str], list[str]] = {}
        ttls: dict[tuple[str, str], int] = {}
        for line in zone:
            name, ttl, kind, data = line.split(None, 3)
            texts.setdefault((name, kind), []).append(data)
            ttls[name, kind] = int(ttl)
        self._sets = {
            (name, kind): dns.rrset.from_text(name, ttls[name, kind], "IN", kind, *data)
            for (name, kind), data in texts.items()
        }

    async def start(self) -> dns.asyncresolver.Resolver:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, ("127.0.0.1", 0), family=socket.AF_INET
        )
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]
        resolver.port = self._transport.get_extra_info("sockname")[1]
        return resolver

    def stop(self) -> None:
        self._transport.close()

    def datagram_received(self, data: bytes, addr: Address) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name = question.name.to_text().lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.questions.append(f"{name} {kind}")
        if self.silent:
            return
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        alias = self._sets.get((name, "CNAME"))
        if alias is not None:
            reply.answer.append(alias)
            name = alias[0].target.to_text().lower()
        found = self._sets.get((name, kind))
        if found is not None:
            reply.answer.append(found)
        elif not any(known == name for known, _ in self._sets):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        self._transport.sendto(reply.to_wire(), addr)
