"""What an attempt to call somebody came to, from what SIP or Exotel's API says."""

from __future__ import annotations

from enum import Enum
from typing import Final


class Outcome(Enum):
    """One word for each way that an attempt can end. The value is what results and logs show."""

    ANSWERED = "answered"
    BUSY = "busy"
    NO_ANSWER = "no-answer"
    DECLINED = "declined"  # the callee said no
    INVALID = "invalid"  # there is no such number
    REFUSED = "refused"  # the trunk will not carry our calls
    FAILED = "failed"  # a fault of the network, the trunk or ours
    UNKNOWN = "unknown"  # whoever dialled is gone, and nobody knows how it went
    CANCELLED = "cancelled"  # we were told to stop
    DO_NOT_CALL = "do-not-call"  # on the list: never dialled
    EXPIRED = "expired"  # its time was over before it could be dialled
    HELD_BACK = "held-back"  # not dialled: no room here. Not an attempt; it is tried again soon


# RFC 3261 section 21. What is missing falls to its class, see ``of_sip``. Exotel's errors page
# gives the same meaning to 408, 480, 486, 487, 600 and 603; 403 is ACL, From domain or caller id.
_BY_STATUS: Final = {
    401: Outcome.REFUSED,
    402: Outcome.REFUSED,
    403: Outcome.REFUSED,
    404: Outcome.INVALID,
    407: Outcome.REFUSED,
    408: Outcome.NO_ANSWER,
    410: Outcome.INVALID,
    416: Outcome.INVALID,
    480: Outcome.NO_ANSWER,
    484: Outcome.INVALID,
    485: Outcome.INVALID,
    486: Outcome.BUSY,
    487: Outcome.NO_ANSWER,
    600: Outcome.BUSY,
    603: Outcome.DECLINED,
    604: Outcome.INVALID,
    607: Outcome.DECLINED,
    608: Outcome.DECLINED,
}
_NETWORK: Final = frozenset({"transport-failed", "timeout", "unreachable"})
# Statuses after which another address of the trunk may do better (RFC 3263 section 4.3).
_ELSEWHERE: Final = frozenset({500, 502, 503, 504})

# Call statuses of Exotel's v1 API and of its callbacks.
_BY_EXOTEL: Final = {
    "completed": Outcome.ANSWERED,
    "busy": Outcome.BUSY,
    "no-answer": Outcome.NO_ANSWER,
    "failed": Outcome.FAILED,
    "canceled": Outcome.CANCELLED,
    "cancelled": Outcome.CANCELLED,
}


def of_sip(status: int, reason: str) -> Outcome:
    """The outcome of an INVITE that was not answered.

    ``reason`` is that of the user agent core where the network ended it (``timeout``,
    ``transport-failed``), whatever status stands in for the missing response.
    """
    if reason in _NETWORK:
        return Outcome.FAILED
    if 200 <= status < 300:
        return Outcome.FAILED  # answered, but with nothing that could be agreed on
    return _BY_STATUS.get(status, Outcome.FAILED)


def tries_elsewhere(status: int, reason: str) -> bool:
    """Whether the next address of the trunk may take a call that this one did not."""
    return reason in _NETWORK or status in _ELSEWHERE


def of_exotel(status: str) -> Outcome | None:
    """The outcome that a call status of Exotel means; None while the call goes on."""
    return _BY_EXOTEL.get(status.strip().lower())
