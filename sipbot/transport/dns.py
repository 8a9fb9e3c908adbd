"""DNS questions over dnspython, with a small cache that respects TTLs."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TypeAlias

import dns.asyncresolver
import dns.exception
import dns.resolver

from sipbot.clock import Clock, SystemClock

RecordKind: TypeAlias = Literal["NAPTR", "SRV", "A", "AAAA"]

LOOKUP_TIMEOUT_S: Final = 2.0  # one question, all servers and repetitions
MAX_CACHED: Final = 512  # answers
MAX_TTL_S: Final = 3_600.0  # longer TTLs are cut
NEGATIVE_TTL_S: Final = 30.0  # "no such name" and "no such record"
FAILURE_TTL_S: Final = 2.0  # no server answered: spare it the next hundred calls
MAX_RECORDS: Final = 32  # of one answer


@dataclass(frozen=True, slots=True)
class Srv:
    """RFC 2782. ``target`` has no final dot and is "" for "."."""

    priority: int
    weight: int
    port: int
    target: str


@dataclass(frozen=True, slots=True)
class Naptr:
    """RFC 3403. ``replacement`` has no final dot."""

    order: int
    preference: int
    flags: str
    service: str
    replacement: str


Record: TypeAlias = str | Srv | Naptr  # str: the address of an A or AAAA record


class Records(Protocol):
    """Answers DNS questions."""

    async def query(self, name: str, kind: RecordKind) -> tuple[Record, ...]:
        """The records; empty when there are none, or no server answers. Never raises."""
        ...


class DnsRecords:
    """dnspython's resolver with a cache. Without ``resolver`` the system's servers are asked."""

    def __init__(
        self, resolver: dns.asyncresolver.Resolver | None = None, clock: Clock | None = None
    ) -> None:
        self._resolver = _system_resolver() if resolver is None else resolver
        self._clock: Clock = SystemClock() if clock is None else clock
        # (name, kind) -> valid until (monotonic seconds), records; oldest first
        self._cache: OrderedDict[tuple[str, str], tuple[float, tuple[Record, ...]]] = OrderedDict()

    async def query(self, name: str, kind: RecordKind) -> tuple[Record, ...]:
        """The records; empty when there are none, or no server answers. Never raises."""
        key = (name.lower(), kind)
        known = self._cache.get(key)
        if known is not None and known[0] > self._clock.monotonic():
            return known[1]
        records, ttl = await self._ask(name, kind)
        self._cache.pop(key, None)
        self._cache[key] = (self._clock.monotonic() + ttl, records)
        if len(self._cache) > MAX_CACHED:
            self._cache.popitem(last=False)
        return records

    async def _ask(self, name: str, kind: RecordKind) -> tuple[tuple[Record, ...], float]:
        """Records and the seconds for which they hold."""
        if self._resolver is None:
            return (), NEGATIVE_TTL_S
        try:
            answer = await self._resolver.resolve(
                name, kind, raise_on_no_answer=False, lifetime=LOOKUP_TIMEOUT_S, search=False
            )
        except dns.resolver.NXDOMAIN:
            return (), NEGATIVE_TTL_S
        except (dns.exception.DNSException, OSError, UnicodeError, asyncio.IncompleteReadError):
            return (), FAILURE_TTL_S
        if answer.rrset is None:
            return (), NEGATIVE_TTL_S
        records = tuple(_records(list(answer.rrset)[:MAX_RECORDS], kind))
        # The TTL of the answer covers the whole CNAME chain.
        return records, min(float(answer.chaining_result.minimum_ttl), MAX_TTL_S)


def _system_resolver() -> dns.asyncresolver.Resolver | None:
    try:
        return dns.asyncresolver.Resolver()
    except (dns.exception.DNSException, OSError):  # no resolv.conf: the hosts file is all we have
        return None


def _records(rdatas: list[Any], kind: RecordKind) -> Iterator[Record]:
    for rdata in rdatas:
        if kind == "SRV":
            yield Srv(rdata.priority, rdata.weight, rdata.port, _name(rdata.target))
        elif kind == "NAPTR":
            yield Naptr(
                rdata.order,
                rdata.preference,
                rdata.flags.decode("latin-1"),
                rdata.service.decode("latin-1"),
                _name(rdata.replacement),
            )
        else:
            yield str(rdata.address)


def _name(name: Any) -> str:
    return str(name).rstrip(".")
