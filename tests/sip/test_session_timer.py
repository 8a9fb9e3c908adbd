from __future__ import annotations

import pytest

from sipbot.errors import SipSyntaxError
from sipbot.sip.headers import Headers
from sipbot.sip.message import Request, Response
from sipbot.sip.session_timer import (
    IntervalTooSmall,
    SessionExpires,
    TimerPolicy,
    accept,
    choose,
    min_se,
    session_expires,
)
from sipbot.sip.uri import Uri

SUPPORTED = ("Supported", "timer")


def request(*headers: tuple[str, str]) -> Request:
    return Request("INVITE", Uri.parse("sip:a@b"), Headers(headers))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1800", SessionExpires(1800)),
        ("1800;refresher=uac", SessionExpires(1800, "uac")),
        (" 90 ; Refresher = UAS ;x", SessionExpires(90, "uas")),
        ("4294967295", None),
        ("soon", None),
        ("-1", None),
        ("", None),
        ("1800;refresher=me", None),
    ],
)
def test_session_expires(text: str, expected: SessionExpires | None) -> None:
    message = request(("Session-Expires", text))
    if expected is None:
        with pytest.raises(SipSyntaxError):
            session_expires(message)
    else:
        assert session_expires(message) == expected


def test_compact_name_and_absence() -> None:
    assert session_expires(request(("x", "100"))) == SessionExpires(100)
    assert session_expires(request()) is None
    assert min_se(request()) == 0
    assert min_se(request(("Min-SE", "120;x=y"))) == 120


# RFC 4028 table 2: (supported, refresher asked) -> refresher.
@pytest.mark.parametrize(
    ("headers", "refresher", "require"),
    [
        ([SUPPORTED, ("Session-Expires", "600")], "uac", True),
        ([SUPPORTED, ("Session-Expires", "600;refresher=uac")], "uac", True),
        ([SUPPORTED, ("Session-Expires", "600;refresher=uas")], "uas", True),
        ([("Session-Expires", "600")], "uas", False),
        ([("Require", "timer"), ("Session-Expires", "600")], "uac", True),
    ],
)
def test_choice_of_refresher(headers: list[tuple[str, str]], refresher: str, require: bool) -> None:
    choice = choose(request(*headers), TimerPolicy())
    assert choice is not None
    assert choice.header == SessionExpires(600, refresher)
    assert choice.we_refresh is (refresher == "uas")
    assert choice.require is require


@pytest.mark.parametrize(
    ("asked", "policy", "minimum", "seconds"),
    [
        (1800, None, 0, 1800),
        (1800, 600, 0, 600),
        (1800, 600, 900, 900),
        (300, 600, 0, 300),
        (90, None, 0, 90),
    ],
)
def test_interval_is_lowered_never_raised(
    asked: int, policy: int | None, minimum: int, seconds: int
) -> None:
    headers = [SUPPORTED, ("Session-Expires", str(asked))]
    if minimum:
        headers.append(("Min-SE", str(minimum)))
    choice = choose(request(*headers), TimerPolicy(policy))
    assert choice is not None
    assert choice.seconds == seconds


def test_too_small_is_refused_only_when_the_peer_supports_timers() -> None:
    policy = TimerPolicy(min_se_s=120)
    with pytest.raises(IntervalTooSmall) as caught:
        choose(request(SUPPORTED, ("Session-Expires", "119")), policy)
    assert caught.value.status == 422
    assert choose(request(("Session-Expires", "119")), policy) is not None


def test_asking_by_ourselves() -> None:
    assert choose(request(SUPPORTED), TimerPolicy()) is None
    assert choose(request(), TimerPolicy(600)) is None
    asked = choose(request(SUPPORTED), TimerPolicy(600))
    assert asked is not None
    assert asked.header == SessionExpires(600, "uac")
    forced = choose(request(), TimerPolicy(600, always=True))
    assert forced is not None
    assert (forced.we_refresh, forced.require) == (True, False)
    raised = choose(request(SUPPORTED, ("Min-SE", "900")), TimerPolicy(600))
    assert raised is not None
    assert raised.seconds == 900


@pytest.mark.parametrize(("seconds", "expire"), [(90, 60.0), (96, 64.0), (1800, 1768.0)])
def test_deadlines(seconds: int, expire: float) -> None:
    choice = choose(request(SUPPORTED, ("Session-Expires", str(seconds))), TimerPolicy())
    assert choice is not None
    assert choice.expire_after == expire
    assert choice.refresh_after == seconds / 2


@pytest.mark.parametrize(
    ("text", "we_refresh"),
    [("180;refresher=uac", True), ("180", True), ("180;refresher=uas", False)],
)
def test_what_a_2xx_decides(text: str, we_refresh: bool) -> None:
    choice = accept(Response.of(200, Headers([("Session-Expires", text)])))
    assert choice is not None
    assert choice.we_refresh is we_refresh


def test_2xx_without_a_readable_timer() -> None:
    assert accept(Response.of(200, Headers())) is None
    assert accept(Response.of(200, Headers([("Session-Expires", "x")]))) is None
    floor = accept(Response.of(200, Headers([("Session-Expires", "1")])))
    assert floor is not None
    assert floor.seconds == 90
