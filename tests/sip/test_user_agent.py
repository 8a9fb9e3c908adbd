from __future__ import annotations

import pytest

from sipbot.sip.effects import Dropped, IncomingCall, Refused
from sipbot.sip.user_agent import UserAgentConfig
from tests.sip.kit import (
    SDP,
    TCP,
    UDP,
    Bench,
    Peer,
    events,
    flow,
    only,
    response_in,
    sends,
    statuses,
)


def refused(bench: Bench, data: bytes, status: int, rule: str) -> dict[str, str]:
    """Check a refusal; returns the headers of the response."""
    effects = bench.receive(data)
    response = response_in(effects, status)
    refusal = only(Refused, effects)
    assert (refusal.rule, refusal.status) == (rule, status)
    assert response.to.tag
    return dict(response.headers.items())


def test_options_tells_what_we_can() -> None:
    bench = Bench()
    effects = bench.receive(Peer().request("OPTIONS"))
    ok = response_in(effects, 200)
    assert events(effects) == []
    assert ok.headers.get("Allow") == "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO, NOTIFY"
    assert ok.headers.get("Accept") == "application/sdp"
    assert ok.headers.get("Supported") == "timer"
    assert ok.headers.get("Server") == "sipbot"
    assert ok.to.tag
    bench.idle()


def test_options_with_max_forwards_0_is_answered_normally() -> None:
    data = Peer().request("OPTIONS").replace(b"Max-Forwards: 70", b"Max-Forwards: 0")
    assert statuses(Bench().receive(data)) == [200]


def test_options_when_overloaded() -> None:
    bench = Bench()
    bench.ua.set_overload(12)
    headers = refused(bench, Peer().request("OPTIONS"), 503, "overload")
    assert headers["Retry-After"] == "12"
    bench.ua.set_overload(None)
    assert statuses(bench.receive(Peer(call_id="x").request("OPTIONS"))) == [200]


@pytest.mark.parametrize(
    "method", ["REGISTER", "SUBSCRIBE", "MESSAGE", "PUBLISH", "REFER", "PRACK"]
)
def test_known_but_not_allowed(method: str) -> None:
    headers = refused(Bench(), Peer().request(method), 405, "method-not-allowed")
    assert "INVITE" in headers["Allow"]


@pytest.mark.parametrize("method", ["NEWMETHOD", "invite", "!interesting-Method0123456789_*+`.%"])
def test_unknown_method(method: str) -> None:
    headers = refused(Bench(), Peer().request(method), 501, "method-unknown")
    assert "INVITE" in headers["Allow"]


@pytest.mark.parametrize("uri", ["tel:+911234", "nobodyKnowsThisScheme:totallyopaquecontent"])
def test_uri_scheme(uri: str) -> None:
    refused(Bench(), Peer().request("OPTIONS", uri=uri), 416, "uri-scheme")


def test_unsupported_extension() -> None:
    data = Peer().invite(("Require", "nothingSupportsThis, timer"), ("Require", "100rel"))
    headers = refused(Bench(), data, 420, "option-unsupported")
    assert headers["Unsupported"] == "nothingsupportsthis, 100rel"


def test_require_timer_is_fine() -> None:
    assert statuses(Bench().receive(Peer().invite(("Require", "timer")))) == [100]


def test_proxy_require_is_not_for_us() -> None:
    assert statuses(Bench().receive(Peer().invite(("Proxy-Require", "whatever")))) == [100]


def test_body_type() -> None:
    data = Peer().request("INVITE", body=b"x", content_type="application/unknownformat")
    headers = refused(Bench(), data, 415, "body-type")
    assert headers["Accept"] == "application/sdp"


def test_unknown_body_that_is_optional_is_ignored() -> None:
    data = Peer().request(
        "INVITE",
        ("Content-Disposition", "render; handling=optional"),
        body=b"x",
        content_type="text/plain",
    )
    assert statuses(Bench().receive(data)) == [100]


def test_body_encoding() -> None:
    headers = refused(Bench(), Peer().invite(("Content-Encoding", "gzip")), 415, "body-encoding")
    assert headers["Accept-Encoding"] == "identity"


def test_multipart_with_a_description() -> None:
    body = (
        b"--b\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b\r\nContent-Type: application/sdp\r\n\r\n"
    )
    body += SDP + b"\r\n--b--\r\n"
    data = Peer().request("INVITE", body=body, content_type="multipart/mixed;boundary=b")
    assert only(IncomingCall, Bench().receive(data)).request.body == body


def test_multipart_that_cannot_be_read() -> None:
    data = Peer().request("INVITE", body=b"--b", content_type="multipart/mixed;boundary=b")
    refused(Bench(), data, 400, "body-syntax")


@pytest.mark.parametrize("method", ["BYE", "INFO", "UPDATE", "NOTIFY"])
@pytest.mark.parametrize("tag", ["", "unknown"])
def test_no_such_dialog(method: str, tag: str) -> None:
    peer = Peer()
    peer.to_tag = tag
    refused(Bench(), peer.request(method), 481, "dialog-unknown")


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS"])
def test_no_such_dialog_with_tag(method: str) -> None:
    peer = Peer()
    peer.to_tag = "unknown"
    refused(Bench(), peer.request(method), 481, "dialog-unknown")


def test_merged_request() -> None:
    bench, peer = Bench(), Peer()
    bench.receive(peer.request("INVITE", body=SDP, cseq=5, branch="z9hG4bKa"))
    refused(bench, peer.request("INVITE", body=SDP, cseq=5, branch="z9hG4bKb"), 482, "merged")
    assert bench.ua.counts().sessions == 1


def test_missing_contact() -> None:
    data = Peer().request("INVITE", body=SDP, contact=False)
    refused(Bench(), data, 400, "contact-missing")


@pytest.mark.parametrize("contact", ["<tel:+911234>", "<http://example.com>"])
def test_contact_that_we_cannot_reach(contact: str) -> None:
    refused(Bench(), Peer(contact=contact).invite(), 400, "contact-scheme")


def test_record_route_that_we_cannot_follow() -> None:
    refused(Bench(), Peer().invite(("Record-Route", "<tel:+911234>")), 400, "record-route")


def test_bad_session_timer_header() -> None:
    refused(Bench(), Peer().invite(("Session-Expires", "soon")), 400, "session-timer-syntax")


@pytest.mark.parametrize(
    ("old", "new", "status", "reason"),
    [
        (b"CSeq: 102 INVITE", b"CSeq: 102 OPTIONS", 400, "CSeq Method Mismatch"),
        (b"Max-Forwards: 70", b"Max-Forwards: 300", 400, "Bad Max-Forwards"),
        (b"SIP/2.0\r\nVia", b"SIP/7.0\r\nVia", 505, "Version Not Supported"),
        (b"Call-ID: call-1\r\n", b"", 400, "Missing Call-ID"),
    ],
)
def test_bad_requests_are_answered_without_state(
    old: bytes, new: bytes, status: int, reason: str
) -> None:
    bench = Bench()
    data = Peer().invite()
    assert old in data
    data = data.replace(old, new)
    first, second = bench.receive(data), bench.receive(data)
    assert response_in(first, status).reason == reason
    assert only(Refused, first).rule == "syntax"
    # The same request gets the same To tag, although nothing was kept.
    assert response_in(first, status).to.tag == response_in(second, status).to.tag != ""
    assert bench.ua.counts().server_transactions == 0


def test_bad_ack_is_dropped() -> None:
    data = Peer().request("ACK").replace(b"Max-Forwards: 70", b"Max-Forwards: x")
    assert only(Dropped, Bench().receive(data)).rule == "ack-syntax"


@pytest.mark.parametrize("data", [b"", b"\r\n", b"\x00" * 20, b"hello world\r\n\r\n"])
def test_garbage_is_dropped(data: bytes) -> None:
    effects = Bench().receive(data)
    assert only(Dropped, effects).rule == "syntax"
    assert statuses(effects) == []


def test_unknown_and_forwarded_responses_are_dropped() -> None:
    head = b"SIP/2.0 200 OK\r\n"
    rest = (
        b"Via: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\n"
        b"To: <sip:b@c>;tag=2\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
    )
    bench = Bench()
    assert only(Dropped, bench.receive(head + rest)).rule == "response-unknown"
    two = head + b"Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKy\r\n" + rest
    assert only(Dropped, bench.receive(two)).rule == "response-vias"


def test_full_house_of_transactions_answers_without_state() -> None:
    bench = Bench(UserAgentConfig(max_transactions=2))
    for number in range(3):
        effects = bench.receive(Peer(call_id=f"c{number}").request("OPTIONS"))
    assert statuses(effects) == [503]
    assert only(Refused, effects).rule == "transactions-limit"
    assert bench.ua.counts().server_transactions == 2
    bench.idle()


def test_received_and_rport_are_stamped_and_followed() -> None:
    via = "SIP/2.0/UDP phone.example:5062;branch=z9hG4bKn;rport"
    send = sends(
        Bench().receive(Peer().request("OPTIONS", via=via), flow(remote=("203.0.113.9", 6001)))
    )[0]
    assert b";received=203.0.113.9" in send.attempts[0].wire
    assert b";rport=6001" in send.attempts[0].wire
    towards = send.attempts[0].flow
    assert towards is not None
    assert towards.remote == ("203.0.113.9", 6001)


def test_without_rport_the_port_of_the_sent_by_counts() -> None:
    via = "SIP/2.0/UDP phone.example:5062;branch=z9hG4bKn"
    send = sends(
        Bench().receive(Peer().request("OPTIONS", via=via), flow(remote=("203.0.113.9", 6001)))
    )[0]
    towards = send.attempts[0].flow
    assert towards is not None
    assert towards.remote == ("203.0.113.9", 5062)


def test_maddr_wins_on_datagrams() -> None:
    via = "SIP/2.0/UDP 192.0.2.20;maddr=192.0.2.99;branch=z9hG4bKn"
    send = sends(Bench().receive(Peer().request("OPTIONS", via=via), UDP))[0]
    hop = send.attempts[0].hop
    assert hop is not None
    assert (hop.host, hop.port, hop.transport) == ("192.0.2.99", 5060, "udp")


def test_retransmission_of_a_refused_request_gets_the_same_answer() -> None:
    bench, data = Bench(), Peer().request("REGISTER")
    first = bench.receive(data)
    second = bench.receive(data)
    assert sends(first)[0] == sends(second)[0]
    assert events(second) == []
    bench.idle()


def test_refused_invite_is_repeated_until_its_ack() -> None:
    bench, peer = Bench(), Peer()
    data = peer.request("INVITE", body=b"x", content_type="a/b", branch="z9hG4bKr")
    refusal = response_in(bench.receive(data), 415)
    assert statuses(bench.fire()) == [415]
    peer.to_tag = refusal.to.tag or ""
    assert bench.receive(peer.request("ACK", branch="z9hG4bKr")) == ()
    assert bench.advance(4.0) == []
    bench.idle()


def test_nothing_lingers_on_streams() -> None:
    bench = Bench()
    bench.receive(Peer(transport="TCP").request("OPTIONS"), TCP)
    assert bench.ua.counts().server_transactions == 0
    assert bench.ua.next_deadline() is None


def test_ipv6_peer() -> None:
    via = "SIP/2.0/UDP [2001:db8::9]:5060;branch=z9hG4bKs;rport"
    effects = Bench().receive(
        Peer().request("OPTIONS", via=via), flow(remote=("2001:db8::9", 5060))
    )
    towards = sends(effects)[0].attempts[0].flow
    assert towards is not None
    assert towards.remote == ("2001:db8::9", 5060)
