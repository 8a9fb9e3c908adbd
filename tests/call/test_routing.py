"""Routes: the first that fits."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipbot.call.leg import LegInfo
from sipbot.call.routing import NO_ROUTE, Route, RouteResult, Routes, matches, matches_user


def info(**changes: object) -> LegInfo:
    known: dict[str, object] = {
        "transport": "sip/tcp",
        "direction": "inbound",
        "caller": "+919812345678",
        "callee": "+918064061518",
        "request_user": "284700441224015426",
        "trunk": "exotel",
        "headers": {"x-exotel-callsid": "abc123"},
    }
    return LegInfo(**(known | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("route", "fits"),
    [
        (Route("a"), True),
        (Route("a", to="8064061518"), True),
        (Route("a", to="08064061518"), True),
        (Route("a", to="+9180*"), True),
        (Route("a", to="080*"), True),
        (Route("a", to="2847*"), True),
        (Route("a", to="*"), True),
        (Route("a", to="echo"), False),
        (Route("a", to="8064061519"), False),
        (Route("a", from_="9812345678"), True),
        (Route("a", from_="9812345679"), False),
        (Route("a", trunk="Exotel"), True),
        (Route("a", trunk="other"), False),
        (Route("a", header={"X-Exotel-CallSid": "*"}), True),
        (Route("a", header={"X-Exotel-CallSid": "ABC*"}), True),
        (Route("a", header={"X-Exotel-CallSid": "xyz"}), False),
        (Route("a", header={"X-Other": "*"}), False),
        (Route("a", path="/exotel/voicebot/*"), True),
        (Route("a", path="/other"), False),
        (Route("a", to="+918064061518", trunk="exotel", from_="+91*"), True),
        (Route("a", to="+918064061518", trunk="other"), False),
    ],
)
def test_conditions(route: Route, fits: bool) -> None:
    result = Routes([route]).choose(info(), "/exotel/voicebot/reception")
    assert result == (RouteResult("a", "routes[0]") if fits else RouteResult(None, NO_ROUTE))


def test_the_first_route_that_fits_wins() -> None:
    routes = Routes([Route("echo", to="echo"), Route("first"), Route("second")])
    assert routes.choose(info()) == RouteResult("first", "routes[1]")
    assert routes.choose(info(request_user="echo")) == RouteResult("echo", "routes[0]")


def test_without_routes_nobody_is_there() -> None:
    assert Routes([]).choose(info()) == RouteResult(None, NO_ROUTE)


def test_users_compare_with_case() -> None:
    assert not matches_user("echo", "Echo")


@given(st.text("ab*", max_size=8), st.text("ab", max_size=12))
def test_patterns_match_like_the_obvious_expression(pattern: str, text: str) -> None:
    expression = ".*".join(re.escape(piece) for piece in pattern.split("*"))
    assert matches(pattern, text) == bool(re.fullmatch(expression, text))
