from __future__ import annotations

import pytest

from sipbot.errors import LocalProtocolError
from sipbot.sip.effects import (
    EndedBy,
    InfoDigit,
    OfferRefused,
    Reanswer,
    Refused,
    Reoffer,
    SessionEnded,
    TransferProgress,
)
from sipbot.sip.message import Request
from sipbot.sip.uri import Uri
from tests.sip.kit import (
    OUR_SDP,
    SDP,
    TCP,
    UDP,
    Callee,
    Peer,
    answer_to,
    events,
    flow,
    methods,
    only,
    request_in,
    response_in,
    sends,
    statuses,
)

HOLD = SDP + b"a=sendonly\r\n"
OUR_HOLD = OUR_SDP + b"a=recvonly\r\n"


def up(*, peer: Peer | None = None) -> Callee:
    callee = Callee(peer=peer)
    callee.confirm()
    return callee


def refused(callee: Callee, data: bytes, status: int, rule: str) -> dict[str, str]:
    effects = callee.get(data)
    assert only(Refused, effects).rule == rule
    return dict(response_in(effects, status).headers.items())


# --- BYE


def test_bye_of_the_peer() -> None:
    callee = up()
    effects = callee.hang_up_by_peer()
    assert statuses(effects) == [200]
    ended = only(SessionEnded, effects)
    assert (ended.by, ended.reason, ended.status) == (EndedBy.PEER, "bye", 0)
    callee.idle()


def test_bye_on_a_new_connection_finds_its_dialog() -> None:
    callee = Callee(peer=Peer(transport="TCP"), by=TCP)
    callee.confirm()
    other = flow("tcp", ("192.0.2.77", 50_000), connection=9)
    effects = callee.receive(callee.peer.request("BYE"), other)
    assert only(SessionEnded, effects).reason == "bye"
    assert sends(effects)[0].attempts[0].flow == other


def test_bye_before_the_ack_ends_the_repeats() -> None:
    callee = Callee()
    callee.ring_in()
    callee.answer()
    assert only(SessionEnded, callee.hang_up_by_peer()).by is EndedBy.PEER
    assert callee.advance(31.0) == []
    callee.idle()


def test_both_hang_up_at_once() -> None:
    callee = up()
    ours = request_in(callee.ua.bye(callee.session, callee.now), "BYE")
    effects = callee.hang_up_by_peer()
    assert statuses(effects) == [200]
    assert events(effects) == []
    callee.get(answer_to(ours, 200))
    callee.idle()


def test_our_bye_is_repeated_and_given_up() -> None:
    callee = up()
    effects = callee.ua.bye(callee.session, callee.now, reason_header="Q.850;cause=16")
    assert request_in(effects, "BYE").headers.get("Reason") == "Q.850;cause=16"
    assert only(SessionEnded, effects).by is EndedBy.LOCAL
    seen = callee.advance(40.0)
    assert [at for at, _ in seen] == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    callee.idle()


@pytest.mark.parametrize("status", [200, 481, 408, 500])
def test_any_answer_to_our_bye_ends_the_dialog(status: int) -> None:
    callee = up()
    bye = request_in(callee.ua.bye(callee.session, callee.now), "BYE")
    callee.get(answer_to(bye, status))
    assert callee.ua.counts().dialogs == 0
    callee.idle()


def test_transport_failure_of_our_bye_ends_the_dialog() -> None:
    callee = up()
    key = sends(callee.ua.bye(callee.session, callee.now))[0].key
    assert callee.ua.transport_failed(key, callee.now) == ()
    assert callee.ua.counts().dialogs == 0
    callee.idle()


def test_other_requests_after_our_bye_get_481() -> None:
    callee = up()
    callee.ua.bye(callee.session, callee.now)
    refused(callee, callee.peer.request("INFO"), 481, "dialog-ending")


def test_line_end_in_the_reason_is_refused_without_harm() -> None:
    callee = up()
    with pytest.raises(LocalProtocolError):
        callee.ua.bye(callee.session, callee.now, reason_header="a\r\nb: c")
    assert methods(callee.ua.bye(callee.session, callee.now)) == ["BYE"]


# --- sequence numbers and general checks


def test_out_of_order_request_gets_500_with_retry_after() -> None:
    callee = up()
    callee.get(callee.peer.request("INFO", cseq=200))
    headers = refused(callee, callee.peer.request("INFO", cseq=150), 500, "cseq-order")
    assert 0 <= int(headers["Retry-After"]) <= 10


def test_bye_that_forgot_to_count_still_hangs_up() -> None:
    callee = up()
    assert statuses(callee.get(callee.peer.request("BYE", cseq=callee.peer.cseq))) == [200]


def test_options_in_the_dialog() -> None:
    callee = up()
    callee.ua.set_overload(5)
    assert statuses(callee.get(callee.peer.request("OPTIONS"))) == [200]


@pytest.mark.parametrize(("method", "status"), [("REFER", 405), ("MESSAGE", 405), ("FOO", 501)])
def test_methods_that_are_not_allowed(method: str, status: int) -> None:
    callee = up()
    assert statuses(callee.get(callee.peer.request(method))) == [status]
    assert callee.ua.counts().sessions == 1


# --- re-INVITE


def reoffer(callee: Callee, body: bytes = HOLD, *headers: tuple[str, str]) -> None:
    effects = callee.get(callee.peer.request("INVITE", *headers, body=body))
    assert statuses(effects) == [100]
    offer = only(Reoffer, effects)
    assert (offer.session, offer.method, offer.body) == (callee.session, "INVITE", body)


def test_hold_and_resume() -> None:
    callee = up()
    for _ in range(2):
        reoffer(callee)
        ok = response_in(callee.ua.accept_offer(callee.session, OUR_HOLD, callee.now), 200)
        assert ok.body == OUR_HOLD
        assert ok.contacts
        assert [statuses(effects) for _, effects in callee.advance(2.0)] == [[200], [200]]
        assert callee.get(callee.peer.request("ACK")) == ()
        assert callee.advance(20.0) == []


def test_reinvite_without_ack_ends_the_session() -> None:
    callee = up()
    reoffer(callee)
    callee.ua.accept_offer(callee.session, OUR_HOLD, callee.now)
    at, effects = callee.advance(32.0)[-1]
    assert at == 32.0
    assert only(SessionEnded, effects).reason == "ack-timeout"
    assert methods(effects) == ["BYE"]
    callee.idle()


def test_refused_reinvite_does_no_harm() -> None:
    callee = up()
    reoffer(callee)
    effects = callee.ua.refuse_offer(callee.session, 488, callee.now, warning="no codec")
    assert response_in(effects, 488).headers.get("Warning") == '305 192.0.2.10 "no codec"'
    told = only(Refused, effects)
    assert (told.rule, told.status, told.method) == ("no codec", 488, "INVITE")
    reoffer(callee)
    assert statuses(callee.ua.accept_offer(callee.session, OUR_SDP, callee.now)) == [200]


def test_offerless_reinvite_gets_our_offer_and_answers_in_the_ack() -> None:
    callee = up()
    reoffer(callee, b"")
    ok = response_in(callee.ua.accept_offer(callee.session, OUR_SDP, callee.now), 200)
    assert ok.body == OUR_SDP
    # Until the answer is here, another offer collides with ours.
    refused(callee, callee.peer.request("INVITE", body=SDP), 491, "offer-glare")
    refused(callee, callee.peer.request("UPDATE", body=SDP), 491, "offer-glare")
    ack = callee.peer.request("ACK", cseq=callee.peer.cseq - 2, body=HOLD)
    answer = only(Reanswer, callee.get(ack))
    assert (answer.session, answer.body) == (callee.session, HOLD)


def test_second_invite_before_the_first_is_answered() -> None:
    callee = up()
    reoffer(callee)
    headers = refused(callee, callee.peer.request("INVITE", body=SDP), 500, "invite-pending")
    assert 0 <= int(headers["Retry-After"]) <= 10
    headers = refused(callee, callee.peer.request("UPDATE", body=SDP), 500, "offer-pending")
    assert "Retry-After" in headers


def test_invite_in_the_early_dialog() -> None:
    callee = Callee()
    callee.ring_in()
    ringing = response_in(callee.ua.ring(callee.session, callee.now), 180)
    callee.peer.to_tag = ringing.to.tag or ""
    refused(callee, callee.peer.request("INVITE", body=SDP), 500, "invite-pending")


def test_glare_with_our_own_reinvite() -> None:
    callee = up()
    ours = request_in(callee.ua.reinvite(callee.session, OUR_HOLD, callee.now), "INVITE")
    refused(callee, callee.peer.request("INVITE", body=SDP), 491, "offer-glare")
    effects = callee.get(answer_to(ours, 491))
    assert methods(effects) == ["ACK"]
    assert only(OfferRefused, effects).status == 491
    reoffer(callee)


def test_reinvite_of_ours_is_impossible_during_theirs() -> None:
    callee = up()
    reoffer(callee)
    with pytest.raises(LocalProtocolError):
        callee.ua.reinvite(callee.session, OUR_SDP, callee.now)
    callee.ua.accept_offer(callee.session, OUR_SDP, callee.now)
    with pytest.raises(LocalProtocolError):
        callee.ua.reinvite(callee.session, OUR_SDP, callee.now)
    callee.get(callee.peer.request("ACK"))
    assert methods(callee.ua.reinvite(callee.session, OUR_SDP, callee.now)) == ["INVITE"]


def test_target_refresh_moves_our_requests() -> None:
    peer = Peer()
    callee = up(peer=peer)
    peer.contact = "<sip:caller@192.0.2.21:5099;transport=tcp>"
    reoffer(callee)
    callee.ua.accept_offer(callee.session, OUR_SDP, callee.now)
    callee.get(peer.request("ACK"))
    effects = callee.ua.bye(callee.session, callee.now)
    assert str(request_in(effects, "BYE").uri) == "sip:caller@192.0.2.21:5099;transport=tcp"
    hop = sends(effects)[0].attempts[0].hop
    assert hop is not None
    assert (hop.host, hop.port, hop.transport) == ("192.0.2.21", 5099, "tcp")


def test_refused_reinvite_does_not_move_the_target() -> None:
    peer = Peer()
    callee = up(peer=peer)
    peer.contact = "<sip:caller@192.0.2.21:5099>"
    reoffer(callee)
    callee.ua.refuse_offer(callee.session, 488, callee.now)
    bye = request_in(callee.ua.bye(callee.session, callee.now), "BYE")
    assert str(bye.uri) == "sip:caller@192.0.2.20:5060"


def test_cancelled_reinvite() -> None:
    callee = up()
    data = callee.peer.request("INVITE", body=HOLD, branch="z9hG4bKre")
    callee.get(data)
    effects = callee.get(callee.peer.request("CANCEL", branch="z9hG4bKre"))
    assert statuses(effects) == [200, 487]
    with pytest.raises(LocalProtocolError):
        callee.ua.accept_offer(callee.session, OUR_SDP, callee.now)
    assert callee.ua.counts().sessions == 1


def test_bye_answers_a_pending_reinvite() -> None:
    callee = up()
    reoffer(callee)
    assert sorted(statuses(callee.hang_up_by_peer())) == [200, 487]
    callee.idle()


@pytest.mark.parametrize("status", [100, 200, 700])
def test_refusal_needs_a_refusing_status(status: int) -> None:
    callee = up()
    reoffer(callee)
    with pytest.raises(LocalProtocolError):
        callee.ua.refuse_offer(callee.session, status, callee.now)
    assert statuses(callee.ua.refuse_offer(callee.session, 488, callee.now)) == [488]


def test_reinvite_before_the_first_ack() -> None:
    """The ACK was lost; both 2xx are then repeated until each has its ACK."""
    callee = Callee()
    callee.ring_in()
    callee.answer()
    reoffer(callee)
    callee.ua.accept_offer(callee.session, OUR_HOLD, callee.now)
    assert [statuses(effects) for _, effects in callee.advance(0.5)] == [[200, 200]]
    callee.get(callee.peer.request("ACK", cseq=103))
    callee.get(callee.peer.request("ACK", cseq=102))
    assert callee.advance(30.0) == []
    assert callee.ua.counts().sessions == 1


# --- UPDATE


def test_update_without_offer_is_answered_by_the_core() -> None:
    peer = Peer()
    callee = up(peer=peer)
    peer.contact = "<sip:caller@192.0.2.20:5088>"
    effects = callee.get(peer.request("UPDATE"))
    ok = response_in(effects, 200)
    assert ok.body == b""
    assert ok.contacts
    assert events(effects) == []
    bye = request_in(callee.ua.bye(callee.session, callee.now), "BYE")
    assert bye.uri.port == 5088


def test_update_with_offer() -> None:
    callee = up()
    effects = callee.get(callee.peer.request("UPDATE", body=HOLD))
    assert statuses(effects) == []
    assert only(Reoffer, effects).method == "UPDATE"
    ok = response_in(callee.ua.accept_offer(callee.session, OUR_HOLD, callee.now), 200)
    assert ok.body == OUR_HOLD
    # No ACK belongs to UPDATE, so nothing is repeated.
    assert callee.advance(31.0) == []


def test_update_in_the_early_dialog() -> None:
    callee = Callee()
    callee.ring_in()
    ringing = response_in(callee.ua.ring(callee.session, callee.now), 180)
    callee.peer.to_tag = ringing.to.tag or ""
    refused(callee, callee.peer.request("UPDATE", body=SDP), 500, "offer-pending")
    assert statuses(callee.get(callee.peer.request("UPDATE"))) == [200]
    assert statuses(callee.ua.answer(callee.session, OUR_SDP, callee.now)) == [200]


def test_update_while_our_reinvite_is_out() -> None:
    callee = up()
    callee.ua.reinvite(callee.session, OUR_HOLD, callee.now)
    refused(callee, callee.peer.request("UPDATE", body=SDP), 491, "offer-glare")
    assert statuses(callee.get(callee.peer.request("UPDATE"))) == [200]


# --- INFO


@pytest.mark.parametrize(
    ("content_type", "body", "digit", "duration_ms"),
    [
        ("application/dtmf-relay", b"Signal=5\r\nDuration=160", "5", 160),
        ("application/dtmf-relay", b"Signal= #\nDuration= 90\n", "#", 90),
        ("application/dtmf-relay", b"Signal=10\r\nDuration=x\r\n", "*", 0),
        ("application/dtmf", b"d", "D", 0),
        ("Application/DTMF", b"7\r\n", "7", 0),
    ],
)
def test_info_digit(content_type: str, body: bytes, digit: str, duration_ms: int) -> None:
    callee = up()
    effects = callee.get(callee.peer.request("INFO", body=body, content_type=content_type))
    assert statuses(effects) == [200]
    assert only(InfoDigit, effects) == InfoDigit(callee.session, digit, duration_ms)


def test_info_digit_repeated_by_the_network_is_told_once() -> None:
    callee = up()
    data = callee.peer.request("INFO", body=b"5", content_type="application/dtmf")
    assert len(events(callee.get(data))) == 1
    again = callee.get(data)
    assert statuses(again) == [200]
    assert events(again) == []


def test_info_of_other_kinds() -> None:
    callee = up()
    assert statuses(callee.get(callee.peer.request("INFO"))) == [200]
    data = callee.peer.request("INFO", body=b"x", content_type="text/plain")
    assert "application/dtmf-relay" in refused(callee, data, 415, "info-type")["Accept"]
    data = callee.peer.request("INFO", body=b"Signal=X", content_type="application/dtmf-relay")
    refused(callee, data, 400, "info-body")


# --- REFER and NOTIFY


def refer(callee: Callee) -> Request:
    target = Uri.parse("sip:desk@192.0.2.50")
    request = request_in(callee.ua.refer(callee.session, target, callee.now), "REFER")
    assert request.headers.get("Refer-To") == "<sip:desk@192.0.2.50>"
    assert request.contacts
    return request


def notify(callee: Callee, body: bytes, state: str = "active;expires=60") -> bytes:
    return callee.peer.request(
        "NOTIFY",
        ("Event", "refer"),
        ("Subscription-State", state),
        body=body,
        content_type="message/sipfrag;version=2.0",
    )


def test_transfer_that_succeeds() -> None:
    callee = up()
    request = refer(callee)
    progress = only(TransferProgress, callee.get(answer_to(request, 202)))
    assert (progress.status, progress.final) == (202, False)
    effects = callee.get(notify(callee, b"SIP/2.0 100 Trying\r\n"))
    assert statuses(effects) == [200]
    assert only(TransferProgress, effects) == TransferProgress(callee.session, 100, final=False)
    effects = callee.get(notify(callee, b"SIP/2.0 200 OK", "terminated;reason=noresource"))
    assert only(TransferProgress, effects) == TransferProgress(callee.session, 200, final=True)
    refused(callee, notify(callee, b"SIP/2.0 200 OK"), 481, "subscription-unknown")


@pytest.mark.parametrize("status", [405, 603])
def test_transfer_that_is_refused(status: int) -> None:
    callee = up()
    progress = only(TransferProgress, callee.get(answer_to(refer(callee), status)))
    assert (progress.status, progress.final) == (status, True)
    refer(callee)


def test_transfer_without_any_answer() -> None:
    callee = up()
    refer(callee)
    _, effects = callee.advance(32.0)[-1]
    assert only(TransferProgress, effects) == TransferProgress(callee.session, 408, final=True)


def test_one_transfer_at_a_time() -> None:
    callee = up()
    refer(callee)
    with pytest.raises(LocalProtocolError):
        refer(callee)


def test_notify_that_we_cannot_use() -> None:
    callee = up()
    refused(callee, notify(callee, b"SIP/2.0 200 OK"), 481, "subscription-unknown")
    other = callee.peer.request("NOTIFY", ("Event", "presence"))
    assert refused(callee, other, 489, "event-unknown")["Allow-Events"] == "refer"
    refer(callee)
    refused(callee, notify(callee, b"nonsense"), 400, "notify-body")


# --- our re-INVITE


def test_our_reinvite_is_answered() -> None:
    callee = up()
    ours = request_in(callee.ua.reinvite(callee.session, OUR_HOLD, callee.now), "INVITE")
    assert ours.body == OUR_HOLD
    assert ours.contacts
    contact = ("Contact", "<sip:caller@192.0.2.20:5091>")
    ok = answer_to(ours, 200, contact, body=HOLD)
    effects = callee.get(ok)
    ack = request_in(effects, "ACK")
    assert ack.cseq.number == ours.cseq.number
    assert ack.uri.port == 5091
    assert only(Reanswer, effects).body == HOLD
    again = callee.get(ok)
    assert methods(again) == ["ACK"]
    assert events(again) == []


def test_our_reinvite_on_a_dialog_that_is_gone() -> None:
    callee = up()
    ours = request_in(callee.ua.reinvite(callee.session, OUR_HOLD, callee.now), "INVITE")
    effects = callee.get(answer_to(ours, 481))
    ended = only(SessionEnded, effects)
    assert (ended.by, ended.reason, ended.status) == (EndedBy.NETWORK, "dialog-gone", 481)
    assert methods(effects) == ["ACK", "BYE"]
    callee.idle()


def test_our_reinvite_without_answer() -> None:
    callee = up()
    callee.ua.reinvite(callee.session, OUR_HOLD, callee.now)
    at, effects = callee.advance(32.0)[-1]
    assert at == 32.0
    assert only(SessionEnded, effects).reason == "timeout"
    callee.idle()


def test_our_reinvite_that_rings_for_ever() -> None:
    callee = up()
    ours = request_in(callee.ua.reinvite(callee.session, OUR_HOLD, callee.now), "INVITE")
    callee.get(answer_to(ours, 100))
    at, effects = callee.advance(180.0)[-1]
    assert at == 180.0
    assert only(SessionEnded, effects).reason == "timeout"
    callee.idle()


def test_hanging_up_during_our_reinvite_leaves_nothing() -> None:
    callee = up()
    ours = request_in(callee.ua.reinvite(callee.session, OUR_HOLD, callee.now), "INVITE")
    callee.get(answer_to(ours, 100))
    callee.hang_up_by_peer()
    effects = callee.get(answer_to(ours, 487))
    assert methods(effects) == ["ACK"]
    assert events(effects) == []
    callee.idle()


@pytest.mark.parametrize("status", [200, 487, 481, 0])
def test_answer_to_our_reinvite_after_our_bye(status: int) -> None:
    callee = up()
    ours = request_in(callee.ua.reinvite(callee.session, OUR_HOLD, callee.now), "INVITE")
    callee.get(answer_to(ours, 100))
    bye = request_in(callee.ua.bye(callee.session, callee.now), "BYE")
    callee.get(answer_to(bye, 200))
    if status:
        effects = callee.get(answer_to(ours, status, body=SDP))
        assert methods(effects) == ["ACK"]
        assert events(effects) == []
    callee.idle()


def test_transport_failure_of_our_reinvite_leaves_the_session() -> None:
    callee = up()
    key = sends(callee.ua.reinvite(callee.session, OUR_HOLD, callee.now))[0].key
    effects = callee.ua.transport_failed(key, callee.now)
    assert only(OfferRefused, effects).status == 0
    assert callee.ua.counts().sessions == 1


def test_flow_follows_where_the_peer_was_last_heard() -> None:
    callee = Callee(peer=Peer(transport="TCP", contact="<sip:c@192.0.2.20;transport=tcp>"), by=TCP)
    callee.confirm()
    newer = flow("tcp", (TCP.remote[0], 50_001), connection=2)
    callee.receive(callee.peer.request("INFO"), newer)
    attempt = sends(callee.ua.bye(callee.session, callee.now))[0].attempts[0]
    assert attempt.flow == newer
    assert newer != UDP
