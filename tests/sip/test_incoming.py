from __future__ import annotations

import pytest

from sipbot.errors import LocalProtocolError
from sipbot.sip.effects import Confirmed, Dropped, EndedBy, IncomingCall, Refused, SessionEnded
from sipbot.sip.message import Request
from sipbot.sip.user_agent import UserAgentConfig
from tests.sip.kit import (
    OUR_SDP,
    SDP,
    TCP,
    UDP,
    Callee,
    Peer,
    events,
    flow,
    methods,
    only,
    request_in,
    response_in,
    sends,
    sent,
    statuses,
)


def test_invite_gets_100_at_once_then_the_application_hears() -> None:
    callee = Callee()
    effects = callee.ring_in()
    assert statuses(effects) == [100]
    call = only(IncomingCall, effects)
    assert call.request.body == SDP
    assert effects.index(call) == 1
    trying = response_in(effects, 100)
    assert trying.to.tag is None


def test_timestamp_is_copied_into_100() -> None:
    effects = Callee().ring_in(("Timestamp", "54"))
    assert response_in(effects, 100).headers.get("Timestamp") == "54"


def test_same_tag_from_180_to_200_with_record_route_and_contact() -> None:
    callee = Callee(peer=Peer(transport="TCP"), by=TCP)
    route = "<sip:192.0.2.30:443;transport=tls;lr;ftag=a1>"
    callee.ring_in(("Record-Route", route))
    ringing = response_in(callee.ua.ring(callee.session, callee.now), 180)
    ok = response_in(callee.answer(), 200)
    assert ringing.to.tag == ok.to.tag != ""
    for response in (ringing, ok):
        assert response.headers.get("Record-Route") == route
        assert str(response.contacts[0].uri) == "sip:echo@192.0.2.10:5070;transport=tcp"
    assert ok.body == OUR_SDP
    assert ok.content_type == "application/sdp"
    assert "INVITE" in (ok.headers.get("Allow") or "")
    assert ok.headers.get("Supported") == "timer"


def test_sips_request_gets_a_sips_contact() -> None:
    callee = Callee(peer=Peer(transport="TLS"), by=flow("tls"))
    data = callee.peer.invite().replace(b"INVITE sip:", b"INVITE sips:", 1)
    session = only(IncomingCall, callee.get(data)).session
    ringing = response_in(callee.ua.ring(session, callee.now), 180)
    assert str(ringing.contacts[0].uri) == "sips:echo@192.0.2.10:5070"


def test_repeated_invite_gets_the_last_provisional() -> None:
    callee = Callee()
    invite = callee.peer.invite()
    session = only(IncomingCall, callee.get(invite)).session
    assert statuses(callee.get(invite)) == [100]
    callee.ua.ring(session, callee.now)
    assert statuses(callee.get(invite)) == [180]
    callee.ua.answer(session, OUR_SDP, callee.now)
    assert callee.get(invite) == ()  # RFC 6026: absorbed


def test_provisional_is_repeated_each_minute() -> None:
    callee = Callee()
    callee.ring_in()
    callee.ua.ring(callee.session, callee.now)
    seen = [(at, statuses(effects)) for at, effects in callee.advance(130.0)]
    assert seen == [(60.0, [180]), (120.0, [180])]


def test_early_media_in_183() -> None:
    callee = Callee()
    callee.ring_in()
    progress = callee.ua.ring(callee.session, callee.now, status=183, body=OUR_SDP)
    assert response_in(progress, 183).body == OUR_SDP


def test_provisional_needs_a_provisional_status() -> None:
    callee = Callee()
    callee.ring_in()
    with pytest.raises(LocalProtocolError):
        callee.ua.ring(callee.session, callee.now, status=200)


@pytest.mark.parametrize("by", [UDP, TCP])
def test_2xx_is_repeated_until_ack_on_every_transport(by: object) -> None:
    callee = Callee(by=UDP if by is UDP else TCP)
    callee.ring_in()
    callee.answer()
    seen = [(at, statuses(effects)) for at, effects in callee.advance(8.0)]
    assert seen == [(0.5, [200]), (1.5, [200]), (3.5, [200]), (7.5, [200])]
    ack = callee.peer.request("ACK")
    confirmed = only(Confirmed, callee.get(ack))
    assert confirmed.session == callee.session
    assert confirmed.body == b""
    assert callee.advance(20.0) == []
    assert callee.get(ack) == ()  # a re-sent ACK is harmless


def test_no_ack_ends_the_session_with_bye() -> None:
    callee = Callee()
    callee.ring_in()
    callee.answer()
    seen = callee.advance(32.0)
    at, effects = seen[-1]
    assert at == 32.0
    assert [round(when, 1) for when, _ in seen] == [
        *(0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5, 32.0),
    ]
    ended = only(SessionEnded, effects)
    assert (ended.by, ended.reason, ended.status) == (EndedBy.NETWORK, "ack-timeout", 408)
    assert methods(effects) == ["BYE"]
    callee.idle()


def test_ack_with_the_branch_of_the_invite_and_a_wrong_tag_confirms() -> None:
    # pyVoIP 1.6.8 acknowledges so.
    callee = Callee()
    branch = "z9hG4bK-only"
    session = only(IncomingCall, callee.get(callee.peer.invite(branch=branch))).session
    callee.ua.answer(session, OUR_SDP, callee.now)
    callee.peer.to_tag = "made-up"
    ack = callee.peer.request("ACK", branch=branch)
    assert only(Confirmed, callee.get(ack)).session == session


def test_ack_of_another_cseq_is_no_ack() -> None:
    callee = Callee()
    callee.ring_in()
    callee.answer()
    assert callee.get(callee.peer.request("ACK", cseq=7)) == ()
    assert statuses(callee.fire()) == [200]


def test_delayed_offer_brings_the_answer_in_the_ack() -> None:
    callee = Callee()
    callee.ring_in(body=b"")
    callee.answer()
    confirmed = only(Confirmed, callee.get(callee.peer.request("ACK", body=SDP)))
    assert confirmed.body == SDP
    assert confirmed.content_type == "application/sdp"


def test_unknown_ack_is_dropped() -> None:
    callee = Callee()
    callee.peer.to_tag = "nobody"
    assert only(Dropped, callee.get(callee.peer.request("ACK"))).rule == "ack-unknown"


@pytest.mark.parametrize("rung", [False, True])
def test_cancel_before_the_answer(rung: bool) -> None:
    callee = Callee()
    branch = "z9hG4bK-cancelled"
    session = only(IncomingCall, callee.get(callee.peer.invite(branch=branch))).session
    if rung:
        callee.ua.ring(session, callee.now)
    effects = callee.get(callee.peer.request("CANCEL", branch=branch))
    assert statuses(effects) == [200, 487]
    assert response_in(effects, 200).to.tag == response_in(effects, 487).to.tag != ""
    ended = only(SessionEnded, effects)
    assert (ended.by, ended.reason, ended.status) == (EndedBy.PEER, "cancelled", 487)
    # The 487 is repeated until its ACK, which belongs to the transaction.
    assert statuses(callee.fire()) == [487]
    callee.peer.to_tag = response_in(effects, 487).to.tag or ""
    assert callee.get(callee.peer.request("ACK", branch=branch)) == ()
    with pytest.raises(LocalProtocolError):
        callee.ua.answer(session, OUR_SDP, callee.now)
    callee.idle()


def test_repeated_cancel_gets_the_same_answer() -> None:
    callee = Callee()
    branch = "z9hG4bK-c"
    callee.get(callee.peer.invite(branch=branch))
    cancel = callee.peer.request("CANCEL", branch=branch)
    callee.get(cancel)
    again = callee.get(cancel)
    assert statuses(again) == [200]
    assert events(again) == []


def test_cancel_of_nothing_gets_481() -> None:
    callee = Callee()
    effects = callee.get(callee.peer.request("CANCEL", branch="z9hG4bK-nothing"))
    assert statuses(effects) == [481]
    assert only(Refused, effects).rule == "cancel-unknown"


def test_cancel_after_the_answer_has_no_effect() -> None:
    callee = Callee()
    branch = "z9hG4bK-late"
    callee.session = only(IncomingCall, callee.get(callee.peer.invite(branch=branch))).session
    callee.answer()
    callee.peer.to_tag = ""
    effects = callee.get(callee.peer.request("CANCEL", branch=branch))
    assert statuses(effects) == [200]
    assert events(effects) == []
    assert callee.ua.counts().sessions == 1


def test_reject_with_all_that_may_go_with_it() -> None:
    callee = Callee()
    callee.ring_in()
    effects = callee.ua.reject(
        callee.session,
        488,
        callee.now,
        reason="No Codec",
        retry_after_s=7,
        warning='only "G.711" here',
        headers=[("X-Rule", "codec")],
    )
    refused = response_in(effects, 488)
    assert refused.reason == "No Codec"
    assert refused.headers.get("Retry-After") == "7"
    assert refused.headers.get("Warning") == '305 192.0.2.10 "only \\"G.711\\" here"'
    assert refused.headers.get("X-Rule") == "codec"
    ended = only(SessionEnded, effects)
    assert (ended.by, ended.reason, ended.status) == (EndedBy.LOCAL, "rejected", 488)
    assert callee.ua.reject(callee.session, 486, callee.now) == ()
    callee.idle()


@pytest.mark.parametrize("status", [100, 200, 299, 700])
def test_reject_needs_a_rejecting_status(status: int) -> None:
    callee = Callee()
    callee.ring_in()
    with pytest.raises(LocalProtocolError):
        callee.ua.reject(callee.session, status, callee.now)


def test_nobody_answers() -> None:
    callee = Callee(config=UserAgentConfig(max_ring_s=30.0))
    callee.ring_in()
    at, effects = callee.advance(30.0)[-1]
    assert at == 30.0
    assert statuses(effects) == [480]
    assert only(SessionEnded, effects).reason == "no-answer"
    callee.idle()


def test_expires_of_the_invite() -> None:
    callee = Callee()
    callee.ring_in(("Expires", "20"))
    at, effects = callee.advance(20.0)[-1]
    assert at == 20.0
    assert statuses(effects) == [487]
    ended = only(SessionEnded, effects)
    assert (ended.by, ended.reason) == (EndedBy.PEER, "expired")


def test_too_many_sessions_get_503() -> None:
    callee = Callee(config=UserAgentConfig(max_dialogs=1, retry_after_s=9))
    callee.ring_in()
    other = Peer(call_id="call-2")
    effects = callee.get(other.invite())
    assert response_in(effects, 503).headers.get("Retry-After") == "9"
    assert only(Refused, effects).rule == "dialogs-limit"


def test_bye_before_the_answer() -> None:
    callee = Callee()
    callee.ring_in()
    ringing = response_in(callee.ua.ring(callee.session, callee.now), 180)
    callee.peer.to_tag = ringing.to.tag or ""
    effects = callee.hang_up_by_peer()
    assert statuses(effects) == [200, 487]
    assert only(SessionEnded, effects).reason == "bye"
    callee.idle()


def test_our_bye_waits_for_the_ack() -> None:
    callee = Callee()
    callee.ring_in()
    callee.answer()
    effects = callee.ua.bye(callee.session, callee.now)
    assert sent(effects) == []
    assert only(SessionEnded, effects).reason == "bye"
    assert statuses(callee.fire()) == [200]
    effects = callee.get(callee.peer.request("ACK"))
    assert methods(effects) == ["BYE"]
    assert events(effects) == []
    callee.get(callee.peer.response(request_in(effects, "BYE"), 200))
    callee.idle()


def test_our_bye_without_any_ack() -> None:
    callee = Callee()
    callee.ring_in()
    callee.answer()
    callee.ua.bye(callee.session, callee.now)
    at, effects = callee.advance(32.0)[-1]
    assert at == 32.0
    assert methods(effects) == ["BYE"]
    assert events(effects) == []
    callee.idle()


def test_bye_of_an_unanswered_call_refuses_it() -> None:
    callee = Callee()
    callee.ring_in()
    effects = callee.ua.bye(callee.session, callee.now)
    assert statuses(effects) == [480]
    assert only(SessionEnded, effects).by is EndedBy.LOCAL


def test_an_ended_session_ignores_what_may_come_late() -> None:
    callee = Callee()
    callee.confirm()
    callee.hang_up_by_peer()
    now = callee.now
    assert callee.ua.ring(callee.session, now) == ()
    assert callee.ua.bye(callee.session, now) == ()
    assert callee.ua.cancel(callee.session, now) == ()
    with pytest.raises(LocalProtocolError):
        callee.ua.accept_offer(callee.session, OUR_SDP, now)


def test_lost_connection_leaves_a_way_back() -> None:
    callee = Callee(peer=Peer(transport="TCP"), by=TCP)
    effects = callee.ring_in()
    attempts = sends(effects)[0].attempts
    assert attempts[0].flow == TCP
    assert attempts[1].hop is not None
    assert (attempts[1].hop.host, attempts[1].hop.port) == ("192.0.2.20", 5060)
    assert attempts[1].hop.transport == "tcp"


def test_transport_failure_of_a_response_leaves_the_session() -> None:
    callee = Callee(by=TCP)
    callee.ring_in()
    key = sends(callee.answer())[0].key
    assert callee.ua.transport_failed(key, callee.now) == ()
    assert callee.ua.counts().sessions == 1


def test_inv2543_without_tags_and_cookies() -> None:
    callee = Callee()
    invite = callee.peer.request("INVITE", body=SDP, via="SIP/2.0/UDP 192.0.2.20:5060")
    invite = invite.replace(b";tag=peer-tag", b"")
    session = only(IncomingCall, callee.get(invite)).session
    assert statuses(callee.get(invite)) == [100]
    callee.session = session
    callee.answer()
    ack = callee.peer.request("ACK", via="SIP/2.0/UDP 192.0.2.20:5060")
    assert only(Confirmed, callee.get(ack.replace(b";tag=peer-tag", b""))).session == session
    bye = callee.peer.request("BYE", via="SIP/2.0/UDP 192.0.2.20:5060")
    assert only(SessionEnded, callee.get(bye.replace(b";tag=peer-tag", b""))).reason == "bye"


def test_header_injection_by_the_application_is_refused() -> None:
    callee = Callee()
    callee.ring_in()
    with pytest.raises(LocalProtocolError):
        callee.ua.reject(callee.session, 486, callee.now, headers=[("X-A", "b\r\nX-C: d")])
    assert statuses(callee.ua.reject(callee.session, 486, callee.now)) == [486]


def test_two_calls_do_not_mix() -> None:
    callee = Callee()
    callee.confirm()
    other = Peer(call_id="call-2")
    second = only(IncomingCall, callee.get(other.invite())).session
    ended = only(SessionEnded, callee.hang_up_by_peer())
    assert ended.session == callee.session != second
    assert isinstance(callee.ua.reject(second, 486, callee.now), tuple)
    callee.idle()


def test_request_sent_in_dialog_has_our_own_sequence_numbers() -> None:
    callee = Callee()
    callee.confirm()
    bye = request_in(callee.ua.bye(callee.session, callee.now), "BYE")
    assert isinstance(bye, Request)
    assert bye.from_.tag == callee.peer.to_tag
    assert bye.to.tag == callee.peer.from_tag
    assert bye.call_id == "call-1"
