from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipbot.errors import TransportError
from sipbot.sip.effects import Hop, Transport
from sipbot.transport import resolve
from sipbot.transport.dns import DnsRecords, Naptr, Record, RecordKind, Srv
from sipbot.transport.resolve import MAX_CANDIDATES, Candidate, Resolver, by_weight, lookup_hosts
from tests.transport.support import DnsServer


class Zone:
    """Records from a table; remembers what was asked."""

    def __init__(self, table: dict[str, tuple[Record, ...]]) -> None:
        self.table = table
        self.asked: list[str] = []

    async def query(self, name: str, kind: RecordKind) -> tuple[Record, ...]:
        self.asked.append(f"{kind} {name}")
        return self.table.get(f"{kind} {name}", ())


async def _no_hosts(name: str) -> Sequence[str]:
    return ()


def _resolver(table: dict[str, tuple[Record, ...]]) -> tuple[Resolver, Zone]:
    zone = Zone(table)
    return Resolver(zone, hosts=_no_hosts, random01=lambda: 0.0), zone


TABLE: dict[str, tuple[Record, ...]] = {
    "NAPTR full.example": (
        Naptr(20, 10, "s", "SIP+D2U", "_sip._udp.full.example"),
        Naptr(10, 20, "S", "sip+d2t", "_sip._tcp.full.example"),
        Naptr(10, 10, "s", "SIPS+D2T", "_sips._tcp.full.example"),
        Naptr(1, 1, "s", "SIP+D2S", "_sip._sctp.full.example"),
        Naptr(1, 1, "u", "E2U+sip", ""),
    ),
    "SRV _sips._tcp.full.example": (Srv(0, 0, 5061, "tls.full.example"),),
    "SRV _sip._tcp.full.example": (
        Srv(20, 0, 5070, "b.full.example"),
        Srv(10, 0, 5070, "a.full.example"),
    ),
    "SRV _sip._udp.full.example": (Srv(0, 0, 5060, "a.full.example"),),
    "A tls.full.example": ("192.0.2.9",),
    "A a.full.example": ("192.0.2.1", "192.0.2.2"),
    "AAAA a.full.example": ("2001:db8::1",),
    "A b.full.example": ("192.0.2.3",),
    "SRV _sip._tcp.srv.example": (Srv(0, 0, 5080, "a.full.example"),),
    "A plain.example": ("192.0.2.7",),
    "SRV _sip._tcp.off.example": (Srv(0, 0, 0, ""),),
    "A off.example": ("192.0.2.8",),
    "SRV _sip._udp.literal.example": (Srv(0, 0, 5060, "192.0.2.66"),),
}


@pytest.mark.parametrize(
    ("hop", "expected"),
    [
        (Hop("192.0.2.5"), Candidate("udp", "192.0.2.5", 5060, "192.0.2.5")),
        (Hop("192.0.2.5", None, "tls"), Candidate("tls", "192.0.2.5", 5061, "192.0.2.5")),
        (Hop("2001:db8::5", 99, "tcp"), Candidate("tcp", "2001:db8::5", 99, "2001:db8::5")),
        (Hop("[2001:db8::5]", 99), Candidate("udp", "2001:db8::5", 99, "2001:db8::5")),
    ],
)
async def test_literals_ask_nobody(hop: Hop, expected: Candidate) -> None:
    resolver, zone = _resolver({})
    assert await resolver.resolve(hop) == (expected,)
    assert zone.asked == []


@pytest.mark.parametrize(
    ("hop", "expected"),
    [
        # NAPTR order decides: TLS first, then TCP by priority, then UDP.
        (
            Hop("full.example"),
            [
                "tls 192.0.2.9 5061",
                "tcp 192.0.2.1 5070",
                "tcp 192.0.2.2 5070",
                "tcp 2001:db8::1 5070",
                "tcp 192.0.2.3 5070",
                "udp 192.0.2.1 5060",
                "udp 192.0.2.2 5060",
                "udp 2001:db8::1 5060",
            ],
        ),
        # The transport is given: its SRV name.
        (
            Hop("srv.example", None, "tcp"),
            ["tcp 192.0.2.1 5080", "tcp 192.0.2.2 5080", "tcp 2001:db8::1 5080"],
        ),
        # No NAPTR: SRV for UDP and TCP.
        (
            Hop("srv.example"),
            ["tcp 192.0.2.1 5080", "tcp 192.0.2.2 5080", "tcp 2001:db8::1 5080"],
        ),
        # A port: addresses only.
        (Hop("plain.example", 5090), ["udp 192.0.2.7 5090"]),
        (Hop("plain.example", 5090, "tls"), ["tls 192.0.2.7 5090"]),
        # No SRV: addresses and the default port.
        (Hop("plain.example", None, "tls"), ["tls 192.0.2.7 5061"]),
        (Hop("plain.example."), ["udp 192.0.2.7 5060"]),
        (Hop("literal.example"), ["udp 192.0.2.66 5060"]),
    ],
)
async def test_names_by_rfc_3263(hop: Hop, expected: list[str]) -> None:
    resolver, _ = _resolver(TABLE)
    found = await resolver.resolve(hop)
    assert [f"{one.transport} {one.address} {one.port}" for one in found] == expected
    assert {one.server_name for one in found} == {hop.host}


async def test_a_port_or_a_transport_saves_questions() -> None:
    resolver, zone = _resolver(TABLE)
    await resolver.resolve(Hop("plain.example", 5090))
    assert zone.asked == ["A plain.example", "AAAA plain.example"]
    zone.asked.clear()
    await resolver.resolve(Hop("srv.example", None, "tcp"))
    assert zone.asked[0] == "SRV _sip._tcp.srv.example"


@pytest.mark.parametrize(
    "hop", [Hop("absent.example"), Hop("absent.example", 5060), Hop("off.example", None, "tcp")]
)
async def test_names_that_lead_nowhere(hop: Hop) -> None:
    resolver, _ = _resolver(TABLE)
    with pytest.raises(TransportError, match="cannot be resolved"):
        await resolver.resolve(hop)


async def test_candidates_are_bounded() -> None:
    many = tuple(f"192.0.2.{last}" for last in range(1, 30))
    resolver, _ = _resolver({"A many.example": many})
    assert len(await resolver.resolve(Hop("many.example", 5060))) == MAX_CANDIDATES


@pytest.mark.parametrize("transport", ["udp", "tls"])
async def test_names_without_a_dot_ask_the_hosts_file_only(transport: Transport) -> None:
    asked: list[str] = []

    async def hosts(name: str) -> Sequence[str]:
        asked.append(name)
        return ["127.0.0.1"]

    zone = Zone({})
    found = await Resolver(zone, hosts=hosts).resolve(Hop("pbx", None, transport))
    port = 5061 if transport == "tls" else 5060
    assert found == (Candidate(transport, "127.0.0.1", port, "pbx"),)
    assert (zone.asked, asked) == ([], ["pbx"])


async def test_the_hosts_file_is_the_last_word_for_others() -> None:
    async def hosts(name: str) -> Sequence[str]:
        return ["192.0.2.44"]

    found = await Resolver(Zone({}), hosts=hosts).resolve(Hop("pbx.test"))
    assert [one.address for one in found] == ["192.0.2.44"]


async def test_localhost_is_known_and_nonsense_is_not() -> None:
    assert set(await lookup_hosts("localhost")) & {"127.0.0.1", "::1"}
    assert await lookup_hosts("no.such.host.invalid") == ()
    assert await lookup_hosts("a" * 70 + ".invalid") == ()


async def test_resolving_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(name: str) -> Sequence[str]:
        await asyncio.Event().wait()
        return ()

    monkeypatch.setattr(resolve, "RESOLVE_TIMEOUT_S", 0.01)
    with pytest.raises(TransportError, match="timed out"):
        await Resolver(Zone({}), hosts=never).resolve(Hop("slow.example"))


async def test_against_a_real_dns_server() -> None:
    server = DnsServer(
        'full.example. 60 NAPTR 10 10 "s" "SIP+D2T" "" _sip._tcp.full.example.',
        "_sip._tcp.full.example. 60 SRV 10 0 5070 a.full.example.",
        "_sip._tcp.full.example. 60 SRV 20 0 5071 b.full.example.",
        "a.full.example. 60 A 192.0.2.1",
        "b.full.example. 60 AAAA 2001:db8::2",
    )
    resolver = Resolver(DnsRecords(await server.start()), hosts=_no_hosts)
    expected = (
        Candidate("tcp", "192.0.2.1", 5070, "full.example"),
        Candidate("tcp", "2001:db8::2", 5071, "full.example"),
    )
    assert await resolver.resolve(Hop("full.example")) == expected
    asked = len(server.questions)
    assert await resolver.resolve(Hop("full.example")) == expected
    assert len(server.questions) == asked
    server.stop()


def test_weights_share_the_load() -> None:
    records = [Srv(0, 70, 1, "a"), Srv(0, 30, 2, "b"), Srv(5, 0, 3, "c")]
    dice = Random(3261)
    first = Counter(by_weight(records, dice.random)[0].target for _ in range(4_000))
    assert first["c"] == 0
    assert 0.66 < first["a"] / 4_000 < 0.74


@given(
    st.lists(st.builds(Srv, st.integers(0, 3), st.integers(0, 65_535), st.just(1), st.just("a"))),
    st.floats(0, 1, exclude_max=True),
)
def test_ordering_keeps_every_record_and_the_priorities(records: list[Srv], drawn: float) -> None:
    ordered = by_weight(records, lambda: drawn)
    assert Counter(ordered) == Counter(records)
    assert [one.priority for one in ordered] == sorted(one.priority for one in records)
