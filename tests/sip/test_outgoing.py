from __future__ import annotations

import pytest

from sipbot.errors import LocalProtocolError
from sipbot.sip.effects import (
    Answered,
    Dropped,
    EndedBy,
    Hop,
    Progress,
    Refused,
    SessionEnded,
)
from sipbot.sip.headers import NameAddr
from sipbot.sip.message import Request
from sipbot.sip.uri import Uri
from sipbot.sip.user_agent import Credentials, UserAgentConfig
from tests.sip.kit import (
    OUR_SDP,
    SDP,
    TCP,
    US,
    Caller,
    answer_to,
    events,
    methods,
    only,
    request_in,
    response_in,
    sends,
    sent,
    statuses,
)

CREDENTIALS = Credentials("alice", "secret")
CHALLENGE = 'Digest realm="r", nonce="n1", qop="auth", algorithm=MD5'


def test_invite_has_all_that_it_needs() -> None:
    caller = Caller()
    invite = caller.call(headers=[("X-Exotel-AccountSid", "abc")])
    assert str(invite.uri) == "sip:bob@192.0.2.20:5060;transport=udp"
    assert invite.top_via.transport == "UDP"
    assert invite.top_via.branch.startswith("z9hG4bK")
    assert (invite.top_via.host, invite.top_via.port) == US
    assert invite.top_via.rport == 0
    assert invite.from_.tag
    assert invite.to.tag is None
    assert invite.max_forwards == 70
    assert str(invite.contacts[0].uri) == "sip:us@192.0.2.10:5070"
    assert invite.supported == ("timer",)
    assert invite.headers.get("User-Agent") == "sipbot"
    assert invite.headers.get("X-Exotel-AccountSid") == "abc"
    assert invite.content_type == "application/sdp"
    assert invite.body == OUR_SDP


def test_invite_is_repeated_until_something_comes() -> None:
    caller = Caller()
    invite = caller.call()
    assert [at for at, _ in caller.advance(4.0)] == [0.5, 1.5, 3.5]
    assert caller.get(answer_to(invite, 100)) == ()
    assert caller.advance(60.0) == []


def test_ringing_then_answer() -> None:
    caller = Caller()
    invite = caller.call()
    progress = only(Progress, caller.get(answer_to(invite, 180, tag="bob")))
    assert progress.response.status == 180
    effects = caller.get(caller.accepted(invite))
    ack = request_in(effects, "ACK")
    assert str(ack.uri) == "sip:bob@192.0.2.20:5060"
    assert ack.cseq.number == invite.cseq.number
    assert ack.to.tag == "bob"
    assert ack.top_via.branch != invite.top_via.branch
    assert only(Answered, effects).response.body == SDP
    assert isinstance(effects[0], type(sends(effects)[0]))


def test_repeated_2xx_gets_the_same_ack_again() -> None:
    caller = Caller()
    invite = caller.call()
    ok = caller.accepted(invite)
    first = caller.get(ok)
    again = caller.get(ok)
    assert sends(again) == sends(first)
    assert events(again) == []


def test_repeated_2xx_is_acknowledged_even_after_the_call() -> None:
    caller = Caller()
    invite = caller.confirm()
    bye = request_in(caller.ua.bye(caller.session, caller.now), "BYE")
    caller.get(answer_to(bye, 200))
    assert methods(caller.get(caller.accepted(invite))) == ["ACK"]
    caller.idle()


def test_second_branch_is_acknowledged_and_hung_up() -> None:
    caller = Caller()
    invite = caller.confirm()
    effects = caller.get(caller.accepted(invite, tag="carol"))
    assert methods(effects) == ["ACK", "BYE"]
    assert events(effects) == []
    assert {message.to.tag for message in sent(effects)} == {"carol"}
    caller.get(answer_to(request_in(effects, "BYE"), 200))
    assert caller.ua.counts().sessions == 1
    caller.ua.bye(caller.session, caller.now)
    caller.idle()


def test_rejected_call() -> None:
    caller = Caller()
    invite = caller.call()
    busy = answer_to(invite, 486, tag="bob")
    effects = caller.get(busy)
    ack = request_in(effects, "ACK")
    assert ack.top_via == invite.top_via
    assert ack.to.tag == "bob"
    assert ack.uri == invite.uri
    assert ack.cseq.number == invite.cseq.number
    ended = only(SessionEnded, effects)
    assert (ended.by, ended.reason, ended.status) == (EndedBy.PEER, "rejected", 486)
    assert ended.response is not None
    assert ended.response.status == 486
    again = caller.get(busy)
    assert methods(again) == ["ACK"]
    assert events(again) == []
    caller.idle()


@pytest.mark.parametrize("status", [300, 302, 404, 500, 603])
def test_every_failure_ends_the_session(status: int) -> None:
    caller = Caller()
    effects = caller.get(answer_to(caller.call(), status, tag="bob"))
    assert only(SessionEnded, effects).status == status
    caller.idle()


def test_nobody_there() -> None:
    caller = Caller()
    caller.call()
    at, effects = caller.advance(32.0)[-1]
    assert at == 32.0
    ended = only(SessionEnded, effects)
    assert (ended.by, ended.reason, ended.status) == (EndedBy.NETWORK, "timeout", 408)
    caller.idle()


def test_transport_failure() -> None:
    caller = Caller(by=TCP)
    invite = caller.call()
    key = f"c|{invite.top_via.branch}|INVITE"
    ended = only(SessionEnded, caller.ua.transport_failed(key, caller.now))
    assert (ended.by, ended.reason, ended.status) == (EndedBy.NETWORK, "transport-failed", 503)
    assert caller.ua.transport_failed(key, caller.now) == ()
    caller.idle()


# --- CANCEL


def cancelled(caller: Caller, invite: Request) -> Request:
    caller.get(answer_to(invite, 180, tag="bob"))
    return request_in(caller.ua.cancel(caller.session, caller.now), "CANCEL")


def test_cancel() -> None:
    caller = Caller()
    invite = caller.call()
    cancel = cancelled(caller, invite)
    assert cancel.uri == invite.uri
    assert cancel.top_via == invite.top_via
    assert cancel.cseq.number == invite.cseq.number
    assert cancel.to.tag is None
    assert cancel.from_ == invite.from_
    assert caller.get(answer_to(cancel, 200)) == ()
    effects = caller.get(answer_to(invite, 487, tag="bob"))
    assert methods(effects) == ["ACK"]
    ended = only(SessionEnded, effects)
    assert (ended.by, ended.reason, ended.status) == (EndedBy.LOCAL, "cancelled", 487)
    caller.idle()


def test_cancel_waits_for_a_provisional_response() -> None:
    caller = Caller()
    invite = caller.call()
    assert caller.ua.bye(caller.session, caller.now) == ()
    effects = caller.get(answer_to(invite, 100))
    assert methods(effects) == ["CANCEL"]
    assert methods(caller.get(answer_to(invite, 180, tag="bob"))) == []
    ended = only(SessionEnded, caller.get(answer_to(invite, 487, tag="bob")))
    assert ended.reason == "cancelled"
    caller.idle()


def test_cancel_that_finds_the_call_refused() -> None:
    caller = Caller()
    invite = caller.call()
    caller.ua.cancel(caller.session, caller.now)
    ended = only(SessionEnded, caller.get(answer_to(invite, 486, tag="bob")))
    assert (ended.by, ended.reason) == (EndedBy.LOCAL, "cancelled")
    caller.idle()


def test_cancel_that_nobody_hears() -> None:
    caller = Caller()
    caller.call()
    caller.ua.cancel(caller.session, caller.now)
    _, effects = caller.advance(32.0)[-1]
    assert only(SessionEnded, effects).reason == "cancelled"
    caller.idle()


def test_cancel_that_crosses_the_answer() -> None:
    caller = Caller()
    invite = caller.call()
    cancelled(caller, invite)
    effects = caller.get(caller.accepted(invite))
    assert methods(effects) == ["ACK", "BYE"]
    assert only(SessionEnded, effects).reason == "cancelled"
    caller.get(answer_to(request_in(effects, "BYE"), 200))
    caller.idle()


def test_cancel_without_final_response_is_given_up() -> None:
    caller = Caller()
    invite = caller.call()
    caller.get(answer_to(cancelled(caller, invite), 200))
    at, effects = caller.advance(40.0)[-1]
    assert at == 32.0
    assert only(SessionEnded, effects).reason == "cancelled"
    late = caller.get(answer_to(invite, 487, tag="bob"))
    assert only(Dropped, late).rule == "response-unknown"
    caller.idle()


def test_nobody_takes_the_call() -> None:
    caller = Caller(config=UserAgentConfig(max_invite_s=60.0))
    invite = caller.call()
    caller.get(answer_to(invite, 180, tag="bob"))
    at, effects = caller.advance(60.0)[-1]
    assert at == 60.0
    assert methods(effects) == ["CANCEL"]
    caller.get(answer_to(invite, 487, tag="bob"))
    caller.idle()


def test_cancel_of_an_answered_call_does_nothing() -> None:
    caller = Caller()
    caller.confirm()
    assert caller.ua.cancel(caller.session, caller.now) == ()


# --- in the dialog


def test_route_set_is_reversed_and_followed() -> None:
    caller = Caller()
    invite = caller.call()
    routes = "<sip:p1.example;lr>, <sip:192.0.2.40:5070;transport=tcp;lr>"
    effects = caller.get(caller.accepted(invite, ("Record-Route", routes)))
    ack = request_in(effects, "ACK")
    assert [str(route.uri) for route in ack.routes] == [
        "sip:192.0.2.40:5070;transport=tcp;lr",
        "sip:p1.example;lr",
    ]
    hop = sends(effects)[0].attempts[0].hop
    assert hop == Hop("192.0.2.40", 5070, "tcp")


def test_headers_given_stand_in_the_place_of_our_own() -> None:
    given = [("To", "<sip:b@x>"), ("call-id", "c1"), ("CSeq", "102 INVITE"), ("Allow", "BYE")]
    caller = Caller()
    invite = caller.call(headers=given)
    for name, value in given:
        assert invite.headers.all(name) == (value,)
    ack = request_in(caller.get(caller.accepted(invite)), "ACK")
    assert (ack.call_id, ack.cseq.number) == ("c1", 102)
    assert str(ack.to.uri) == "sip:b@x"


def test_what_our_own_invite_recorded_is_no_route() -> None:
    own = "<sip:192.0.2.10:443;transport=tls;lr>"
    caller = Caller()
    invite = caller.call(headers=[("Record-Route", own)])
    routes = f"<sip:p1.example;lr>, {own}"
    ack = request_in(caller.get(caller.accepted(invite, ("Record-Route", routes))), "ACK")
    assert [str(route.uri) for route in ack.routes] == ["sip:p1.example;lr"]


def test_bye_of_the_callee() -> None:
    caller = Caller()
    invite = caller.confirm()
    bye = (
        "BYE sip:us@192.0.2.10:5070 SIP/2.0\r\n"
        "Via: SIP/2.0/UDP 192.0.2.20:5060;branch=z9hG4bKbye\r\n"
        f"From: {invite.headers.get('To')};tag=bob\r\nTo: {invite.headers.get('From')}\r\n"
        f"Call-ID: {invite.call_id}\r\nCSeq: 1 BYE\r\nMax-Forwards: 70\r\n\r\n"
    )
    effects = caller.get(bye.encode())
    assert statuses(effects) == [200]
    assert only(SessionEnded, effects).by is EndedBy.PEER
    caller.idle()


def test_request_of_another_fork_is_refused() -> None:
    caller = Caller()
    invite = caller.confirm()
    data = (
        "BYE sip:us@192.0.2.10:5070 SIP/2.0\r\n"
        "Via: SIP/2.0/UDP 192.0.2.20:5060;branch=z9hG4bKbye\r\n"
        f"From: {invite.headers.get('To')};tag=eve\r\nTo: {invite.headers.get('From')}\r\n"
        f"Call-ID: {invite.call_id}\r\nCSeq: 1 BYE\r\nMax-Forwards: 70\r\n\r\n"
    )
    effects = caller.get(data.encode())
    assert response_in(effects, 481)
    assert only(Refused, effects).rule == "dialog-unknown"


def test_2xx_without_usable_contact_is_still_acknowledged() -> None:
    caller = Caller()
    invite = caller.call()
    route = ("Record-Route", "<tel:+911234>")
    data = answer_to(invite, 200, ("Contact", "<tel:+911234>"), route, tag="bob", body=SDP)
    assert request_in(caller.get(data), "ACK").uri == invite.uri


# --- credentials


@pytest.mark.parametrize(
    ("status", "challenge", "answer"),
    [
        (401, "WWW-Authenticate", "Authorization"),
        (407, "Proxy-Authenticate", "Proxy-Authorization"),
    ],
)
def test_challenged_invite(status: int, challenge: str, answer: str) -> None:
    caller = Caller()
    first = caller.call(credentials=CREDENTIALS)
    assert answer not in first.headers
    effects = caller.get(answer_to(first, status, (challenge, CHALLENGE), tag="proxy"))
    assert methods(effects) == ["ACK", "INVITE"]
    second = request_in(effects, "INVITE")
    assert second.cseq.number == first.cseq.number + 1
    assert second.call_id == first.call_id
    assert second.from_ == first.from_
    assert second.to.tag is None
    assert second.top_via.branch != first.top_via.branch
    assert 'username="alice"' in (second.headers.get(answer) or "")
    effects = caller.get(caller.accepted(second))
    ack = request_in(effects, "ACK")
    assert ack.headers.get(answer) == second.headers.get(answer)
    assert ack.cseq.number == second.cseq.number
    bye = request_in(caller.ua.bye(caller.session, caller.now), "BYE")
    assert "nc=00000002" in (bye.headers.get(answer) or "")
    caller.get(answer_to(bye, 200))
    caller.idle()


def test_wrong_password_ends_the_session() -> None:
    caller = Caller()
    first = caller.call(credentials=CREDENTIALS)
    challenge = ("WWW-Authenticate", CHALLENGE)
    second = request_in(caller.get(answer_to(first, 401, challenge, tag="p")), "INVITE")
    effects = caller.get(answer_to(second, 401, challenge, tag="p"))
    assert methods(effects) == ["ACK"]
    assert only(SessionEnded, effects).status == 401
    caller.idle()


def test_stale_nonces_are_followed_only_so_often() -> None:
    caller = Caller()
    invite = caller.call(credentials=CREDENTIALS)
    tries = 0
    while True:
        stale = ("WWW-Authenticate", f"{CHALLENGE.replace('n1', f'n{tries}')}, stale=true")
        effects = caller.get(answer_to(invite, 401, stale, tag="p"))
        if "INVITE" not in methods(effects):
            break
        invite = request_in(effects, "INVITE")
        tries += 1
    assert tries == 3
    assert only(SessionEnded, effects).status == 401
    caller.idle()


def test_challenge_without_credentials_ends_the_session() -> None:
    caller = Caller()
    effects = caller.get(answer_to(caller.call(), 401, ("WWW-Authenticate", CHALLENGE), tag="p"))
    assert only(SessionEnded, effects).status == 401


def test_challenged_bye() -> None:
    caller = Caller()
    invite = caller.call(credentials=CREDENTIALS)
    caller.get(caller.accepted(invite))
    bye = request_in(caller.ua.bye(caller.session, caller.now), "BYE")
    effects = caller.get(answer_to(bye, 407, ("Proxy-Authenticate", CHALLENGE)))
    again = request_in(effects, "BYE")
    assert again.cseq.number == bye.cseq.number + 1
    caller.get(answer_to(again, 200))
    caller.idle()


def test_late_failure_of_the_challenged_try_does_no_harm() -> None:
    caller = Caller()
    first = caller.call(credentials=CREDENTIALS)
    caller.get(answer_to(first, 401, ("WWW-Authenticate", CHALLENGE), tag="p"))
    key = f"c|{first.top_via.branch}|INVITE"
    assert caller.ua.transport_failed(key, caller.now) == ()
    assert caller.ua.counts().sessions == 1


def test_cancelled_call_does_not_answer_a_challenge() -> None:
    caller = Caller()
    invite = caller.call(credentials=CREDENTIALS)
    caller.ua.cancel(caller.session, caller.now)
    effects = caller.get(answer_to(invite, 401, ("WWW-Authenticate", CHALLENGE), tag="p"))
    assert methods(effects) == ["ACK"]
    assert only(SessionEnded, effects).reason == "cancelled"


# --- where it goes


def test_a_large_invite_prefers_a_stream() -> None:
    caller = Caller()
    _, effects = caller.ua.invite(
        to=Uri.parse("sip:bob@192.0.2.20"),
        from_=NameAddr.parse("<sip:us@192.0.2.10>"),
        body=OUR_SDP + b"a=x\r\n" * 300,
        hop=None,
        now=caller.now,
    )
    hops = [attempt.hop for attempt in sends(effects)[0].attempts]
    assert [hop.transport for hop in hops if hop] == ["tcp", "udp"]
    vias = [attempt.wire.split(b"\r\n")[1][:16] for attempt in sends(effects)[0].attempts]
    assert vias == [b"Via: SIP/2.0/TCP", b"Via: SIP/2.0/UDP"]


def test_a_given_hop_wins() -> None:
    caller = Caller()
    _, effects = caller.ua.invite(
        to=Uri.parse("sip:bob@example.com"),
        from_=NameAddr.parse("<sip:us@192.0.2.10>"),
        body=OUR_SDP,
        hop=Hop("edge.example", 5070, "tcp"),
        now=caller.now,
    )
    attempts = sends(effects)[0].attempts
    assert [attempt.hop for attempt in attempts] == [Hop("edge.example", 5070, "tcp")]


def test_cancel_and_ack_follow_a_named_hop_to_the_address_that_answered() -> None:
    caller = Caller()
    invite = caller.call(to=Uri.parse("sip:bob@example.com;transport=udp"))
    caller.get(answer_to(invite, 180, tag="bob"))
    cancel = sends(caller.ua.cancel(caller.session, caller.now))[0]
    assert cancel.attempts[0].flow == caller.by
    ack = sends(caller.get(answer_to(invite, 487, tag="bob")))[0]
    assert ack.attempts[0].flow == caller.by


@pytest.mark.parametrize("to", ["tel:+911234", "mailto:a@b"])
def test_only_sip_uris_can_be_called(to: str) -> None:
    with pytest.raises(LocalProtocolError):
        Caller().call(to=Uri.parse(to))


def test_a_call_needs_an_offer() -> None:
    caller = Caller()
    with pytest.raises(LocalProtocolError):
        caller.call(body=b"")
    assert caller.ua.counts().sessions == 0


def test_too_many_sessions() -> None:
    caller = Caller(config=UserAgentConfig(max_dialogs=1))
    caller.call()
    with pytest.raises(LocalProtocolError):
        caller.call()


def test_response_with_a_bad_header_is_dropped() -> None:
    caller = Caller()
    invite = caller.call()
    data = answer_to(invite, 200, ("Contact", "<sip:"), tag="bob")
    assert only(Dropped, caller.get(data)).rule == "syntax"
