"""Session timers (RFC 4028): reading the headers, choosing interval and refresher, deadlines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sipbot.errors import SipSyntaxError
from sipbot.sip.message import Message, Request, Response

OPTION: Final = "timer"
SMALLEST_MIN_SE: Final = 90  # seconds, RFC 4028 section 5
_MAX_DELTA: Final = 2**31 - 1  # seconds


@dataclass(frozen=True, slots=True)
class SessionExpires:
    """A Session-Expires value. ``refresher`` is ``"uac"``, ``"uas"`` or ``""`` when not given."""

    seconds: int
    refresher: str = ""

    def __str__(self) -> str:
        return f"{self.seconds};refresher={self.refresher}" if self.refresher else f"{self.seconds}"


@dataclass(frozen=True, slots=True)
class TimerPolicy:
    """What we want of session timers.

    ``session_expires_s``: longest interval that we agree to, and that we ask for when the peer
    supports timers and names none; None never asks. ``min_se_s``: shortest interval that we agree
    to. ``always``: ask even when the peer does not support timers; we then refresh.
    """

    session_expires_s: int | None = None
    min_se_s: int = SMALLEST_MIN_SE
    always: bool = False


@dataclass(frozen=True, slots=True)
class TimerChoice:
    """The outcome for one session, from our point of view."""

    seconds: int
    we_refresh: bool
    header: SessionExpires | None  # for our 2xx; None when the peer's 2xx decided
    require: bool = False  # our 2xx must carry Require: timer

    @property
    def refresh_after(self) -> float:
        """Seconds from the last refresh until we send ours (section 10: half the interval)."""
        return self.seconds / 2

    @property
    def expire_after(self) -> float:
        """Seconds from the last refresh until BYE.

        RFC 4028 section 10: a side that gets no refresh "SHOULD send a BYE ... slightly before the
        session expiration. The minimum of 32 seconds and one third of the session interval is
        RECOMMENDED".
        """
        return self.seconds - min(32.0, self.seconds / 3)


class IntervalTooSmall(SipSyntaxError):
    """Answer with 422 and Min-SE (RFC 4028 section 9)."""

    default_status = 422


def session_expires(message: Message) -> SessionExpires | None:
    """The Session-Expires of a message. Raises ``SipSyntaxError``."""
    text = message.headers.get("Session-Expires")
    if text is None:
        return None
    # Session-Expires = "Session-Expires" HCOLON delta-seconds *(SEMI se-params)
    seconds, *parameters = text.split(";")
    refresher = ""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "refresher":
            refresher = value.strip().lower()
    if refresher not in ("", "uac", "uas"):
        raise SipSyntaxError("Bad Session-Expires")
    return SessionExpires(_delta(seconds, "Session-Expires"), refresher)


def min_se(message: Message) -> int:
    """The Min-SE of a message in seconds, 0 when absent. Raises ``SipSyntaxError``."""
    text = message.headers.get("Min-SE")
    return 0 if text is None else _delta(text.partition(";")[0], "Min-SE")


def choose(request: Request, policy: TimerPolicy) -> TimerChoice | None:
    """What the UAS answers to an INVITE or UPDATE (RFC 4028 section 9); None: no session timer.

    Raises ``IntervalTooSmall`` (422) and ``SipSyntaxError`` (400).
    """
    asked = session_expires(request)
    floor = max(min_se(request), SMALLEST_MIN_SE)
    supported = OPTION in request.supported or OPTION in request.require
    if asked is None:
        return _ask(policy, floor, supported=supported)
    if asked.seconds < policy.min_se_s and supported:
        # "If an incoming request contains a Supported header field with a value 'timer'" only then
        # may it be refused for this; otherwise a proxy put the header in.
        raise IntervalTooSmall("Session Interval Too Small")
    seconds = asked.seconds
    if policy.session_expires_s is not None and policy.session_expires_s < seconds:
        # "The UAS MAY reduce its value but it MUST NOT set it to a duration lower than the value
        # in the Min-SE header field in the request, if one is present".
        seconds = max(policy.session_expires_s, floor, policy.min_se_s)
    seconds = min(max(seconds, SMALLEST_MIN_SE), max(asked.seconds, SMALLEST_MIN_SE))
    # Table 2: a peer without timer support leaves the refreshing to us.
    refresher = (asked.refresher or "uac") if supported else "uas"
    return _uas(seconds, refresher, supported=supported)


def accept(response: Response) -> TimerChoice | None:
    """What a 2xx to our INVITE or UPDATE decides (RFC 4028 section 7.2). None: no session timer.

    A header that cannot be read counts as none: the call is up, a refusal is no longer possible.
    """
    try:
        decided = session_expires(response)
    except SipSyntaxError:
        return None
    if decided is None:
        return None
    # "If the 2xx response ... contains a Session-Expires header field without refresher", which it
    # must not, the UAC is the safe side to refresh.
    return TimerChoice(
        max(decided.seconds, SMALLEST_MIN_SE),
        we_refresh=decided.refresher != "uas",
        header=None,
    )


def _ask(policy: TimerPolicy, floor: int, *, supported: bool) -> TimerChoice | None:
    if policy.session_expires_s is None or not (supported or policy.always):
        return None
    seconds = max(policy.session_expires_s, floor, policy.min_se_s)
    return _uas(seconds, "uac" if supported else "uas", supported=supported)


def _uas(seconds: int, refresher: str, *, supported: bool) -> TimerChoice:
    # "If the refresher parameter ... has a value of 'uac', the UAS MUST place a Require header
    # field into the response with the value 'timer'." With 'uas' it is a SHOULD for a peer that
    # supports it.
    return TimerChoice(
        seconds,
        we_refresh=refresher == "uas",
        header=SessionExpires(seconds, refresher),
        require=supported,
    )


def _delta(text: str, name: str) -> int:
    text = text.strip()
    if not text.isascii() or not text.isdigit() or len(text) > 10 or int(text) > _MAX_DELTA:
        raise SipSyntaxError(f"Bad {name}")
    return int(text)
