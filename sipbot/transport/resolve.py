"""Where a next hop is: RFC 3263 over DNS, with the hosts file as a last word.

``Resolver.resolve`` turns a ``Hop`` into a short list of candidates to be tried in turn. DNS itself
stands behind the small ``Records`` protocol (``dns.py``), names of this machine behind ``Hosts``.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from sipbot.errors import TransportError
from sipbot.sip.effects import Hop, Transport
from sipbot.transport.dns import DnsRecords, Naptr, Record, RecordKind, Records, Srv
from sipbot.transport.local import is_ip, local_address_towards

__all__ = [
    "Candidate",
    "HopResolver",
    "Resolver",
    "by_weight",
    "literal",
    "local_address_towards",
    "lookup_hosts",
]

MAX_CANDIDATES: Final = 8  # tried for one message
MAX_SRV_TARGETS: Final = 6  # of one SRV set
RESOLVE_TIMEOUT_S: Final = 10.0  # for everything about one hop
HOSTS_TIMEOUT_S: Final = 3.0  # getaddrinfo
DEFAULT_PORT: Final[dict[Transport, int]] = {"udp": 5060, "tcp": 5060, "tls": 5061}
# RFC 3263 section 4.1: NAPTR services, and the SRV names when there is no NAPTR.
_SERVICES: Final[dict[str, Transport]] = {"SIP+D2U": "udp", "SIP+D2T": "tcp", "SIPS+D2T": "tls"}
_SRV_PREFIX: Final[dict[Transport, str]] = {
    "udp": "_sip._udp.",
    "tcp": "_sip._tcp.",
    "tls": "_sips._tcp.",
}
# Section 4.1, no NAPTR: SRV "for each of the transport protocols supported". A sip: URI that means
# TLS says so by transport=tls.
_WITHOUT_NAPTR: Final[tuple[Transport, ...]] = ("udp", "tcp")
_ADDRESS_KINDS: Final[tuple[RecordKind, ...]] = ("A", "AAAA")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One address to try. ``server_name`` is the host of the URI, for the TLS certificate."""

    transport: Transport
    address: str
    port: int
    server_name: str = ""


class HopResolver(Protocol):
    """What an endpoint needs."""

    async def resolve(self, hop: Hop) -> tuple[Candidate, ...]:
        """Candidates in the order to be tried, at least one. Raises TransportError."""
        ...


HostLookup: TypeAlias = Callable[[str], Awaitable[Sequence[str]]]


async def lookup_hosts(name: str) -> Sequence[str]:
    """Addresses that the system's own resolver knows (hosts file, mDNS, ...); may be empty."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(HOSTS_TIMEOUT_S):
            found = await loop.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError, UnicodeError):
        return ()
    return tuple(str(entry[4][0]) for entry in found)


class Resolver:
    """RFC 3263 section 4.

    ``records`` answers DNS questions, ``hosts`` knows names that DNS does not (the hosts file),
    ``random01`` returns a float in [0, 1) for the weights of SRV records.
    """

    def __init__(
        self,
        records: Records | None = None,
        *,
        hosts: HostLookup = lookup_hosts,
        random01: Callable[[], float] = random.random,
    ) -> None:
        self._records: Records = DnsRecords() if records is None else records
        self._hosts = hosts
        self._random01 = random01

    async def resolve(self, hop: Hop) -> tuple[Candidate, ...]:
        """Candidates in the order to be tried, at least one. Raises TransportError."""
        at_once = literal(hop)
        if at_once is not None:
            return (at_once,)
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_S):
                found = await self._resolve(hop)
        except TimeoutError:
            raise TransportError("name resolution timed out") from None
        if not found:
            raise TransportError("the name cannot be resolved")
        return tuple(dict.fromkeys(found))[:MAX_CANDIDATES]

    async def _resolve(self, hop: Hop) -> list[Candidate]:
        # RFC 3263 section 4.2: "If the TARGET was not a numeric IP address, but a port is present
        # in the URI, the client performs an A or AAAA record lookup". A name without a dot is one
        # of this machine or network, and has no SRV records.
        name = hop.host.rstrip(".")
        if hop.port is not None or "." not in name:
            transport = hop.transport or "udp"
            port = DEFAULT_PORT[transport] if hop.port is None else hop.port
            return [Candidate(transport, ip, port, hop.host) for ip in await self._addresses(name)]
        services = await self._services(name, hop.transport)
        found: list[Candidate] = []
        for transport, target in services:
            found += await self._service(transport, target, hop.host)
            if len(found) >= MAX_CANDIDATES:
                break
        if services:
            return found
        # Section 4.2: "If no SRV records were found, the client performs an A or AAAA lookup".
        transport = hop.transport or "udp"
        port = DEFAULT_PORT[transport]
        return [Candidate(transport, ip, port, hop.host) for ip in await self._addresses(name)]

    async def _services(
        self, name: str, fixed: Transport | None
    ) -> list[tuple[Transport, list[Srv]]]:
        """The transports on offer in their order, each with its SRV records."""
        names: list[tuple[Transport, str]]
        if fixed is not None:
            names = [(fixed, _SRV_PREFIX[fixed] + name)]
        else:
            names = _chosen(await self._records.query(name, "NAPTR"))
            names = names or [(kind, _SRV_PREFIX[kind] + name) for kind in _WITHOUT_NAPTR]
        answers = await asyncio.gather(*(self._records.query(one, "SRV") for _, one in names))
        services: list[tuple[Transport, list[Srv]]] = []
        for (transport, _), answer in zip(names, answers, strict=True):
            found = [record for record in answer if isinstance(record, Srv)]
            if found:
                services.append((transport, found))
        return services

    async def _service(
        self, transport: Transport, records: list[Srv], server_name: str
    ) -> list[Candidate]:
        # RFC 2782: a target of "." means that the service is decidedly not available.
        usable = [record for record in records if record.target and record.port]
        ordered = by_weight(usable, self._random01)[:MAX_SRV_TARGETS]
        answers = await asyncio.gather(*(self._addresses(one.target) for one in ordered))
        return [
            Candidate(transport, ip, record.port, server_name)
            for record, addresses in zip(ordered, answers, strict=True)
            for ip in addresses
        ]

    async def _addresses(self, name: str) -> list[str]:
        """A and AAAA records, else what the hosts file says."""
        if is_ip(name):
            return [name]
        found: list[str] = []
        if "." in name:
            answers = await asyncio.gather(
                *(self._records.query(name, kind) for kind in _ADDRESS_KINDS)
            )
            found = [one for answer in answers for one in answer if isinstance(one, str)]
        return found or list(await self._hosts(name))


def literal(hop: Hop) -> Candidate | None:
    """The candidate of a hop that needs no look-up (RFC 3263 section 4.1: UDP unless it says)."""
    host = hop.host.strip("[]")
    if not is_ip(host):
        return None
    transport = hop.transport or "udp"
    port = DEFAULT_PORT[transport] if hop.port is None else hop.port
    return Candidate(transport, host, port, host)


def by_weight(records: Sequence[Srv], random01: Callable[[], float]) -> list[Srv]:
    """Lowest priority first; within one, drawn by weight without replacement (RFC 2782)."""
    ordered: list[Srv] = []
    for priority in sorted({record.priority for record in records}):
        # RFC 2782: weight 0 goes to the front of the running sum.
        group = [record for record in records if record.priority == priority]
        group.sort(key=lambda record: record.weight)
        while group:
            limit = random01() * (sum(record.weight for record in group) + 1)
            running = 0
            for record in group:
                running += record.weight
                if running >= int(limit):
                    break
            group.remove(record)
            ordered.append(record)
    return ordered


def _chosen(records: Sequence[Record]) -> list[tuple[Transport, str]]:
    """The NAPTR records for SIP that lead to SRV names, in their order (RFC 3263 section 4.1)."""
    usable = [
        record
        for record in records
        if isinstance(record, Naptr)
        and record.flags.lower() == "s"
        and record.service.upper() in _SERVICES
    ]
    usable.sort(key=lambda record: (record.order, record.preference))
    return [(_SERVICES[record.service.upper()], record.replacement) for record in usable]
