"""Which agent takes a call: ordered rules, the first that fits wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from sipbot.call.leg import LegInfo
from sipbot.call.numbers import e164, forms

NO_ROUTE: Final = "no-route"  # rule name of a call that no route wants: answered with 404


@dataclass(frozen=True, slots=True)
class Route:
    """One rule. Every condition that is set must hold; one that is None always holds.

    Patterns are exact, or hold ``*`` for any text, empty text included. ``to`` is compared with the
    called user of the To header and with the user part of the Request-URI: trunks put the number in
    either. Numbers compare in all their forms: ``+918064061518`` fits ``08064061518``. Users and
    paths compare with case (RFC 3261 section 19.1.4), header values and trunks without.
    """

    agent: str
    to: str | None = None
    from_: str | None = None
    trunk: str | None = None
    header: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    path: str | None = None


@dataclass(frozen=True, slots=True)
class RouteResult:
    """The agent, and the rule that chose it; or no agent, and the rule to refuse with."""

    agent: str | None
    rule: str


class Routes:
    """An ordered list of rules."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = tuple(routes)

    def choose(self, info: LegInfo, path: str = "") -> RouteResult:
        """Pick the agent for a call. ``path`` is the URL path of legs that come by HTTP."""
        for index, route in enumerate(self._routes):
            if _fits(route, info, path):
                return RouteResult(route.agent, f"routes[{index}]")
        return RouteResult(None, NO_ROUTE)

    def may_take(self, path: str, *, named: bool) -> bool:
        """Whether a call with this URL path may find an agent, whatever else is known of it later.

        With ``named`` only routes with a path count: those without are no answer to a name.
        """
        return any(
            not named if route.path is None else matches(route.path, path) for route in self._routes
        )


def matches(pattern: str, text: str) -> bool:
    """Whether ``text`` is ``pattern``, in which ``*`` stands for any text."""
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == text
    last = rest.pop()
    if len(text) < len(first) + len(last):
        return False
    if not (text.startswith(first) and text.endswith(last)):
        return False
    position, end = len(first), len(text) - len(last)
    for piece in rest:
        found = text.find(piece, position, end)
        if found < 0:
            return False
        position = found + len(piece)
    return True


def matches_user(pattern: str, user: str) -> bool:
    """``matches`` for user parts: a number fits in whichever form either side is written."""
    if matches(pattern, user):
        return True
    if "*" in pattern:
        return e164(user) is not None and any(matches(pattern, form) for form in forms(user))
    wanted = e164(pattern)
    return wanted is not None and wanted == e164(user)


def _fits(route: Route, info: LegInfo, path: str) -> bool:
    called = (info.callee, info.request_user)
    return (
        (route.to is None or any(matches_user(route.to, user) for user in called))
        and (route.from_ is None or matches_user(route.from_, info.caller))
        and (route.trunk is None or matches(route.trunk.casefold(), info.trunk.casefold()))
        and (route.path is None or matches(route.path, path))
        and all(_header_fits(info, *condition) for condition in route.header.items())
    )


def _header_fits(info: LegInfo, name: str, pattern: str) -> bool:
    value = info.headers.get(name.lower())
    return value is not None and matches(pattern.casefold(), value.casefold())
