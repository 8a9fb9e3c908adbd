from __future__ import annotations

from collections.abc import AsyncIterator

import dns.resolver
import pytest
import pytest_asyncio

from sipbot.transport import dns as dns_module
from sipbot.transport.dns import (
    FAILURE_TTL_S,
    MAX_TTL_S,
    NEGATIVE_TTL_S,
    DnsRecords,
    Naptr,
    Srv,
)
from tests.transport.support import DnsServer

ZONE = (
    'example.com. 60 NAPTR 10 50 "s" "SIP+D2T" "" _sip._tcp.example.com.',
    "_sip._tcp.example.com. 120 SRV 1 2 5070 a.example.com.",
    "_sip._udp.example.com. 120 SRV 0 0 0 .",
    "a.example.com. 30 A 192.0.2.1",
    "a.example.com. 30 A 192.0.2.2",
    "a.example.com. 30 AAAA 2001:db8::1",
    "old.example.com. 999999 A 192.0.2.3",
    "alias.example.com. 10 CNAME a.example.com.",
)


class Hands:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


@pytest_asyncio.fixture
async def server() -> AsyncIterator[DnsServer]:
    made = DnsServer(*ZONE)
    yield made
    made.stop()


async def test_every_kind_of_record(server: DnsServer) -> None:
    records = DnsRecords(await server.start())
    assert await records.query("example.com", "NAPTR") == (
        Naptr(10, 50, "s", "SIP+D2T", "_sip._tcp.example.com"),
    )
    assert await records.query("_sip._tcp.example.com", "SRV") == (
        Srv(1, 2, 5070, "a.example.com"),
    )
    assert await records.query("_sip._udp.example.com", "SRV") == (Srv(0, 0, 0, ""),)
    assert set(await records.query("a.example.com", "A")) == {"192.0.2.1", "192.0.2.2"}
    assert await records.query("a.example.com", "AAAA") == ("2001:db8::1",)
    assert set(await records.query("alias.example.com", "A")) == {"192.0.2.1", "192.0.2.2"}


@pytest.mark.parametrize(
    ("name", "ttl"),
    [
        ("a.example.com", 30.0),
        ("A.Example.COM", 30.0),
        ("alias.example.com", 10.0),  # the shortest of the chain
        ("old.example.com", MAX_TTL_S),
        ("absent.example.com", NEGATIVE_TTL_S),  # no such name
        ("example.com", NEGATIVE_TTL_S),  # no such record
    ],
)
async def test_answers_are_kept_as_long_as_they_hold(
    server: DnsServer, name: str, ttl: float
) -> None:
    clock = Hands()
    records = DnsRecords(await server.start(), clock)
    first = await records.query(name, "A")
    clock.now += ttl - 0.001
    assert await records.query(name, "A") == first
    assert len(server.questions) == 1
    clock.now += 0.001
    assert set(await records.query(name, "A")) == set(first)
    assert len(server.questions) == 2


async def test_a_dead_server_is_spared_for_a_while(
    server: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dns_module, "LOOKUP_TIMEOUT_S", 0.02)
    clock = Hands()
    records = DnsRecords(await server.start(), clock)
    server.silent = True
    assert await records.query("a.example.com", "A") == ()
    asked = len(server.questions)
    server.silent = False
    assert await records.query("a.example.com", "A") == ()
    assert len(server.questions) == asked
    clock.now += FAILURE_TTL_S
    assert len(await records.query("a.example.com", "A")) == 2


@pytest.mark.parametrize("name", ["a" * 64 + ".com", "a..b.com", "\udcff.com", "x" * 300])
async def test_impossible_names_have_no_records(server: DnsServer, name: str) -> None:
    records = DnsRecords(await server.start())
    assert await records.query(name, "A") == ()
    assert server.questions == []


async def test_the_cache_is_bounded(server: DnsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_module, "MAX_CACHED", 2)
    records = DnsRecords(await server.start())
    for name in ("a.example.com", "old.example.com", "alias.example.com"):
        await records.query(name, "A")
    await records.query("old.example.com", "A")
    await records.query("alias.example.com", "A")
    assert len(server.questions) == 3
    await records.query("a.example.com", "A")  # the oldest had to go
    assert len(server.questions) == 4


async def test_without_any_name_server_there_are_no_records(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none() -> object:
        raise dns.resolver.NoResolverConfiguration

    monkeypatch.setattr("dns.asyncresolver.Resolver", none)
    assert await DnsRecords().query("a.example.com", "A") == ()
