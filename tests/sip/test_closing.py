"""Session timers over the whole user agent (RFC 4028)."""

from __future__ import annotations

import pytest

from sipbot.sip.effects import EndedBy, Refused, SessionEnded
from sipbot.sip.user_agent import UserAgentConfig
from tests.sip.kit import (
    OUR_SDP,
    Callee,
    Caller,
    answer_to,
    methods,
    only,
    request_in,
    response_in,
    statuses,
)

TIMER = ("Supported", "replaces, timer")
ASK = UserAgentConfig(session_expires_s=600)
ALWAYS = UserAgentConfig(session_expires_s=600, session_timer_always=True)


def test_no_timer_unless_somebody_asks() -> None:
    callee = Callee()
    ok = callee.confirm(TIMER)
    assert "Session-Expires" not in ok.headers
    assert callee.advance(10_000.0) == []


def test_peer_refreshes_when_it_supports_timers() -> None:
    callee = Callee()
    ok = callee.confirm(TIMER, ("Session-Expires", "1800"))
    assert ok.headers.get("Session-Expires") == "1800;refresher=uac"
    assert ok.require == ("timer",)


def test_missing_refresh_ends_the_session() -> None:
    callee = Callee()
    callee.confirm(TIMER, ("Session-Expires", "90"))
    at, effects = callee.advance(60.0)[-1]
    assert at == 60.0  # 90 s less a third
    ended = only(SessionEnded, effects)
    assert (ended.by, ended.reason) == (EndedBy.LOCAL, "session-expired")
    assert methods(effects) == ["BYE"]
    callee.idle()


@pytest.mark.parametrize("method", ["UPDATE", "INVITE"])
def test_refresh_by_the_peer_starts_the_interval_again(method: str) -> None:
    callee = Callee()
    callee.confirm(TIMER, ("Session-Expires", "90"))
    callee.advance(50.0)
    body = b"v=0\r\n" if method == "INVITE" else b""
    headers = (TIMER, ("Session-Expires", "90;refresher=uac"))
    effects = callee.get(callee.peer.request(method, *headers, body=body))
    if method == "INVITE":
        effects = callee.ua.accept_offer(callee.session, OUR_SDP, callee.now)
        callee.get(callee.peer.request("ACK"))
    assert response_in(effects, 200).headers.get("Session-Expires") == "90;refresher=uac"
    assert callee.advance(59.9) == []
    assert methods(callee.fire()) == ["BYE"]


def test_interval_too_small() -> None:
    callee = Callee(config=UserAgentConfig(min_se_s=120))
    effects = callee.get(callee.peer.invite(TIMER, ("Session-Expires", "100")))
    assert response_in(effects, 422).headers.get("Min-SE") == "120"
    assert only(Refused, effects).rule == "session-interval"
    callee.peer.call_id = "again"
    callee.confirm()
    effects = callee.get(callee.peer.request("UPDATE", TIMER, ("Session-Expires", "100")))
    assert response_in(effects, 422).headers.get("Min-SE") == "120"
    effects = callee.get(callee.peer.invite(TIMER, ("Session-Expires", "100")))
    assert statuses(effects) == [422]


def test_we_ask_the_peer_when_configured() -> None:
    ok = Callee(config=ASK).confirm(TIMER)
    assert ok.headers.get("Session-Expires") == "600;refresher=uac"
    assert "Session-Expires" not in Callee(config=ASK).confirm().headers


def test_we_refresh_by_update_when_the_peer_cannot() -> None:
    callee = Callee(config=ALWAYS)
    ok = callee.confirm(("Allow", "INVITE, ACK, BYE, UPDATE"))
    assert ok.headers.get("Session-Expires") == "600;refresher=uas"
    assert ok.require == ()
    at, effects = callee.advance(300.0)[-1]
    assert at == 300.0
    update = request_in(effects, "UPDATE")
    assert update.body == b""
    assert update.headers.get("Session-Expires") == "600;refresher=uac"
    assert update.contacts
    done = answer_to(update, 200, ("Session-Expires", "600;refresher=uac"))
    assert callee.get(done) == ()
    assert callee.advance(299.0) == []
    assert methods(callee.fire()) == ["UPDATE"]


def test_we_refresh_by_invite_without_update() -> None:
    callee = Callee(config=ALWAYS)
    callee.confirm(("Allow", "INVITE, ACK, BYE"))
    _, effects = callee.advance(300.0)[-1]
    invite = request_in(effects, "INVITE")
    assert invite.body == OUR_SDP
    ok = answer_to(invite, 200, ("Session-Expires", "600;refresher=uac"), body=b"v=0\r\n")
    assert methods(callee.get(ok)) == ["ACK"]
    assert callee.advance(299.0) == []
    assert methods(callee.fire()) == ["INVITE"]


@pytest.mark.parametrize("status", [405, 501])
def test_refused_update_falls_back_to_invite(status: int) -> None:
    callee = Callee(config=ALWAYS)
    callee.confirm(("Allow", "UPDATE"))
    _, effects = callee.advance(300.0)[-1]
    assert methods(callee.get(answer_to(request_in(effects, "UPDATE"), status))) == ["INVITE"]


def test_refresh_that_nobody_answers_ends_the_session() -> None:
    callee = Callee(config=ALWAYS)
    callee.confirm(("Allow", "UPDATE"))
    seen = callee.advance(332.0)
    at, effects = seen[-1]
    assert at == 332.0
    assert only(SessionEnded, effects).reason == "timeout"
    callee.idle()


def test_refresh_refused_for_good_ends_at_the_expiry() -> None:
    callee = Callee(config=ALWAYS)
    callee.confirm(("Allow", "UPDATE"))
    _, effects = callee.advance(300.0)[-1]
    effects = callee.get(answer_to(request_in(effects, "UPDATE"), 405))
    callee.get(answer_to(request_in(effects, "INVITE"), 603))
    at, effects = callee.advance(1000.0)[0]
    assert at == 268.0
    assert only(SessionEnded, effects).reason == "session-expired"


def test_refresh_after_422_asks_for_longer() -> None:
    callee = Callee(config=ALWAYS)
    callee.confirm(("Allow", "UPDATE"))
    _, effects = callee.advance(300.0)[-1]
    effects = callee.get(answer_to(request_in(effects, "UPDATE"), 422, ("Min-SE", "900")))
    assert request_in(effects, "UPDATE").headers.get("Session-Expires") == "900;refresher=uac"
    # A peer that does not keep to its own word is not asked for ever.
    again = request_in(effects, "UPDATE")
    assert methods(callee.get(answer_to(again, 422, ("Min-SE", "900")))) == []


def test_refresh_glare_waits_a_little() -> None:
    callee = Callee(config=ALWAYS)
    callee.confirm(("Allow", "UPDATE"))
    _, effects = callee.advance(300.0)[-1]
    assert callee.get(answer_to(request_in(effects, "UPDATE"), 491)) == ()
    at, effects = callee.advance(2.0)[0]
    assert 0.0 <= at <= 2.0
    assert methods(effects) == ["UPDATE"]


def test_refresh_on_a_dialog_that_is_gone() -> None:
    callee = Callee(config=ALWAYS)
    callee.confirm(("Allow", "UPDATE"))
    _, effects = callee.advance(300.0)[-1]
    effects = callee.get(answer_to(request_in(effects, "UPDATE"), 481))
    assert only(SessionEnded, effects).reason == "dialog-gone"


def test_refresh_waits_for_a_pending_ack() -> None:
    callee = Callee(config=ALWAYS)
    callee.confirm(("Allow", "UPDATE"))
    callee.advance(299.0)
    # A peer without timer support sends a re-INVITE: it restarts the interval, too.
    callee.get(callee.peer.invite(("Allow", "UPDATE")))
    callee.ua.accept_offer(callee.session, OUR_SDP, callee.now)
    callee.get(callee.peer.request("ACK"))
    assert callee.advance(299.0) == []
    assert methods(callee.fire()) == ["UPDATE"]


def test_refresh_answered_without_session_expires_ends_the_timer() -> None:
    callee = Callee(config=ALWAYS)
    callee.confirm(("Allow", "UPDATE"))
    _, effects = callee.advance(300.0)[-1]
    callee.get(answer_to(request_in(effects, "UPDATE"), 200))
    assert callee.advance(10_000.0) == []


@pytest.mark.parametrize(
    ("refresher", "expected"), [(";refresher=uac", ["UPDATE"]), (";refresher=uas", ["BYE"])]
)
def test_caller_keeps_to_what_the_2xx_decides(refresher: str, expected: list[str]) -> None:
    caller = Caller()
    caller.confirm(("Session-Expires", f"180{refresher}"), ("Allow", "UPDATE, INVITE"))
    at, effects = caller.advance(170.0)[0]
    assert methods(effects) == expected
    assert at == (90.0 if expected == ["UPDATE"] else 148.0)
