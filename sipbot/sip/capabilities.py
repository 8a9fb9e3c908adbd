"""What the user agent is willing to do: configuration, methods, option tags, body types."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from sipbot.sip.session_timer import OPTION as TIMER_OPTION
from sipbot.sip.session_timer import TimerPolicy
from sipbot.sip.timing import Timers

ALLOW: Final = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "UPDATE", "INFO", "NOTIFY")
# Methods of RFC 3261 and its extensions: known, so that 405 is the answer and not 501.
KNOWN_METHODS: Final = frozenset(
    {
        "ACK",
        "BYE",
        "CANCEL",
        "INFO",
        "INVITE",
        "MESSAGE",
        "NOTIFY",
        "OPTIONS",
        "PRACK",
        "PUBLISH",
        "REFER",
        "REGISTER",
        "SUBSCRIBE",
        "UPDATE",
    }
)
SUPPORTED: Final = (TIMER_OPTION,)  # option tags; 100rel is not among them
ACCEPT: Final = "application/sdp"
ACCEPT_INFO: Final = "application/dtmf-relay, application/dtmf"
URI_SCHEMES: Final = ("sip", "sips")


@dataclass(frozen=True, slots=True)
class UserAgentConfig:
    """Settings of one user agent. Times are seconds."""

    user_agent: str = "sipbot"  # Server and User-Agent header
    allow: tuple[str, ...] = ALLOW
    timers: Timers = field(default_factory=Timers)
    # Session timer (RFC 4028): see TimerPolicy.
    session_expires_s: int | None = None
    min_se_s: int = 90
    session_timer_always: bool = False
    # Sessions at once, ended ones that still wait for an answer included; more get 503.
    max_dialogs: int = 4000
    # Server transactions at once; more requests get a stateless 503.
    max_transactions: int = 20_000
    # An incoming call that the application neither takes nor refuses gets 480 after this.
    max_ring_s: float = 180.0
    # An outgoing call that nobody answers is cancelled after this (as timer C of proxies).
    max_invite_s: float = 180.0
    # A provisional response is repeated this often (RFC 3261 section 13.3.1.1: each minute).
    provisional_interval_s: float = 60.0
    retry_after_s: int = 5  # in the 503 that the limits cause

    @property
    def timer_policy(self) -> TimerPolicy:
        return TimerPolicy(self.session_expires_s, self.min_se_s, self.session_timer_always)
