from __future__ import annotations

import pytest

from sipbot.errors import LocalProtocolError
from sipbot.sip.effects import Address, Flow, Hop
from sipbot.sip.headers import Headers
from sipbot.sip.message import Request, Response, parse_message
from sipbot.sip.routing import (
    Contact,
    Path,
    attempts,
    dialog_paths,
    first_paths,
    hop_of,
    is_reliable,
    response_attempts,
    same_host,
    stamp_via,
)
from sipbot.sip.uri import Uri
from tests.sip.kit import TCP, UDP, US, Peer, flow


def local(_towards: Flow | Hop) -> Address:
    return US


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("Example.COM", "example.com", True),
        ("2001:db8::1", "2001:DB8:0:0::1", True),
        ("[2001:db8::1]", "2001:db8::1", True),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("example.com", "192.0.2.1", False),
    ],
)
def test_same_host(one: str, other: str, same: bool) -> None:
    assert same_host(one, other) is same


@pytest.mark.parametrize(
    ("uri", "hop"),
    [
        ("sip:a@b.example", Hop("b.example")),
        ("sip:a@b.example:5070;transport=TCP", Hop("b.example", 5070, "tcp")),
        ("sips:a@b.example", Hop("b.example", None, "tls")),
        ("sip:a@b.example;maddr=192.0.2.9", Hop("192.0.2.9")),
        ("sip:a@[2001:db8::1]:5060", Hop("2001:db8::1", 5060)),
        ("sip:a@b.example;transport=ws", Hop("b.example")),
    ],
)
def test_hop_of(uri: str, hop: Hop) -> None:
    assert hop_of(Uri.parse(uri)) == hop


def test_hop_of_other_schemes() -> None:
    with pytest.raises(LocalProtocolError):
        hop_of(Uri.parse("tel:+911234"))


def test_live_connection_comes_first_then_the_stated_hop_then_the_transport_of_the_invite() -> None:
    paths = dialog_paths(Hop("192.0.2.20", 443, "tls"), TCP, "tcp", behind_nat=False)
    assert paths == [
        Path("tcp", flow=TCP),
        Path("tls", hop=Hop("192.0.2.20", 443, "tls")),
        Path("tcp", hop=Hop("192.0.2.20", 443, "tcp")),
    ]


def test_other_host_gets_the_connection_of_the_call_only_after_its_own_address() -> None:
    paths = dialog_paths(Hop("192.0.2.99", 443, "tls"), TCP, "tcp", behind_nat=False)
    assert paths == [
        Path("tls", hop=Hop("192.0.2.99", 443, "tls")),
        Path("tcp", flow=TCP),
        Path("tcp", hop=Hop("192.0.2.99", 443, "tcp")),
    ]


def test_other_host_gets_no_datagrams_of_the_flow() -> None:
    # A datagram always seems to have arrived, so that nothing behind it would be tried.
    paths = dialog_paths(Hop("192.0.2.99", None, "udp"), UDP, "udp", behind_nat=False)
    assert paths == [Path("udp", hop=Hop("192.0.2.99", None, "udp"))]


def test_unstated_transport_is_that_of_the_invite() -> None:
    paths = dialog_paths(Hop("example.com"), TCP, "tcp", behind_nat=False)
    assert paths == [Path("tcp", hop=Hop("example.com", None, "tcp")), Path("tcp", flow=TCP)]


def test_datagrams_go_to_the_stated_port_from_the_same_socket() -> None:
    paths = dialog_paths(Hop("192.0.2.20", 5099), UDP, "udp", behind_nat=False)
    assert paths[0].flow == Flow("udp", US, ("192.0.2.20", 5099))
    paths = dialog_paths(
        Hop("192.0.2.20"), flow(remote=("192.0.2.20", 7000)), "udp", behind_nat=False
    )
    assert paths[0].flow == Flow("udp", US, ("192.0.2.20", 5060))


def test_behind_nat_the_flow_is_the_only_way() -> None:
    seen = flow(remote=("203.0.113.5", 61_000))
    paths = dialog_paths(Hop("10.0.0.9", 5060), seen, "udp", behind_nat=True)
    assert paths[0] == Path("udp", flow=seen)


def test_first_paths() -> None:
    assert first_paths(Hop("a", 1, "tls"), 9000) == [Path("tls", hop=Hop("a", 1, "tls"))]
    assert [path.transport for path in first_paths(Hop("a"), 1300)] == ["udp", "tcp"]
    assert [path.transport for path in first_paths(Hop("a"), 1301)] == ["tcp", "udp"]


def test_reliable_only_without_any_datagram_path() -> None:
    assert is_reliable([Path("tcp", flow=TCP), Path("tls", hop=Hop("a"))])
    assert not is_reliable([Path("tcp", flow=TCP), Path("udp", flow=UDP)])


def test_each_attempt_has_its_own_via_and_contact() -> None:
    request = Request("INVITE", Uri.parse("sip:a@b"), Headers([("Call-ID", "x")]))
    paths = [Path("tcp", flow=TCP), Path("udp", hop=Hop("a"))]
    made = attempts(request, paths, "z9hG4bKx", local, Contact("me"))
    lines = [attempt.wire.split(b"\r\n") for attempt in made]
    assert lines[0][1] == b"Via: SIP/2.0/TCP 192.0.2.10:5070;rport;branch=z9hG4bKx"
    assert lines[0][2] == b"Contact: <sip:me@192.0.2.10:5070;transport=tcp>"
    assert lines[1][1] == b"Via: SIP/2.0/UDP 192.0.2.10:5070;rport;branch=z9hG4bKx"
    assert lines[1][2] == b"Contact: <sip:me@192.0.2.10:5070>"


def test_a_path_leads_somewhere() -> None:
    with pytest.raises(LocalProtocolError):
        Path("udp").via_of(local)


def stamped(via: str, by: Flow) -> Request:
    message = parse_message(Peer().request("OPTIONS", via=via))
    assert isinstance(message, Request)
    return stamp_via(message, by)


@pytest.mark.parametrize(
    ("via", "expected"),
    [
        ("SIP/2.0/UDP 192.0.2.20:5060;branch=z9hG4bK1", None),
        ("SIP/2.0/UDP 192.0.2.21:5060;branch=z9hG4bK1", "192.0.2.20"),
        ("SIP/2.0/UDP host.example;branch=z9hG4bK1", "192.0.2.20"),
        ("SIP/2.0/UDP 192.0.2.20;rport;branch=z9hG4bK1", "192.0.2.20"),
        # What the sender claims about itself does not count.
        ("SIP/2.0/UDP 192.0.2.20;received=198.51.100.1;branch=z9hG4bK1", "192.0.2.20"),
    ],
)
def test_received(via: str, expected: str | None) -> None:
    assert stamped(via, UDP).top_via.received == expected


def test_only_the_top_via_is_stamped() -> None:
    request = stamped(
        "SIP/2.0/UDP a.example;branch=z9hG4bK1, SIP/2.0/UDP b.example;branch=z9hG4bK2", UDP
    )
    assert request.vias[0].received == "192.0.2.20"
    assert request.vias[1].received is None
    assert request.vias[1].host == "b.example"


def test_response_over_a_dead_connection_goes_to_the_sent_by_port() -> None:
    request = stamped("SIP/2.0/TCP phone.example;branch=z9hG4bK1", TCP)
    made = response_attempts(request, Response.of(200, Headers([("Call-ID", "x")])), TCP)
    assert made[0].flow == TCP
    assert made[1].hop == Hop("192.0.2.20", 5060, "tcp")
    by = flow("tls")
    made = response_attempts(request, Response.of(200, Headers()), by)
    assert made[1].hop == Hop("192.0.2.20", 5061, "tls")
