"""Why a call was refused: one table for the log, the counter and the SIP answer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """``rule`` names the reason; with ``busy`` the caller is told when to come again.

    ``warning`` is a constant text for the Warning header (RFC 3261 section 20.43).
    """

    rule: str
    status: int
    busy: bool = False
    warning: str | None = None


NOT_A_TRUNK = Refusal("not-a-trunk", 403)
NO_ROUTE = Refusal("no-route", 404)
SHUTTING_DOWN = Refusal("shutting-down", 503, busy=True)
PORTS_EXHAUSTED = Refusal("ports-exhausted", 503, busy=True)
MEDIA_UNAVAILABLE = Refusal("media-unavailable", 503, busy=True)


def over_limit(rule: str) -> Refusal:
    """A limit of calls is reached; ``rule`` says which."""
    return Refusal(rule, 503, busy=True)


def unanswerable(rule: str, status: int) -> Refusal:
    """A session description that cannot be read (400) or answered (488)."""
    return Refusal(rule, status, warning=rule)
