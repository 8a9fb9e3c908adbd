"""One INVITE session: its phases as a table, and what the core remembers of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from sipbot.errors import LocalProtocolError
from sipbot.sip.auth import Authenticator
from sipbot.sip.dialog import Dialog
from sipbot.sip.effects import Flow, Send
from sipbot.sip.message import Request
from sipbot.sip.routing import Contact
from sipbot.sip.session_timer import TimerChoice


class Phase(Enum):
    """Where a session is. The first three are the UAS's, the next five the UAC's."""

    INCOMING = "incoming"  # the INVITE has no final response yet
    ANSWERED = "answered"  # 2xx sent, ACK not yet seen
    HANGING_UP = "hanging up"  # as ANSWERED, with a BYE to follow the ACK
    CALLING = "calling"  # INVITE sent, nothing heard
    RINGING = "ringing"  # a provisional response came
    CANCEL_WANTED = "cancel wanted"  # CANCEL waits for a provisional response
    CANCELLING = "cancelling"  # CANCEL sent
    CONFIRMED = "confirmed"
    ENDING = "ending"  # our BYE is on its way
    ENDED = "ended"


class Step(Enum):
    """What moves a session."""

    ANSWER = "answer"  # our 2xx
    REFUSE = "refuse"  # our final non-2xx, for whatever reason
    ACK = "ack"
    ACK_TIMEOUT = "ack timeout"
    PROVISIONAL = "1xx"
    SUCCESS = "2xx"
    FAILURE = "3xx-6xx"  # or no response at all
    HANG_UP = "hang up"
    BYE_RECEIVED = "bye received"
    BYE_DONE = "bye done"


_TABLE: Final[dict[tuple[Phase, Step], Phase]] = {
    (Phase.INCOMING, Step.ANSWER): Phase.ANSWERED,
    (Phase.INCOMING, Step.REFUSE): Phase.ENDED,
    # RFC 3261 section 15: "the caller's UA MAY send a BYE for either confirmed or early dialogs".
    (Phase.INCOMING, Step.BYE_RECEIVED): Phase.ENDED,
    (Phase.ANSWERED, Step.ACK): Phase.CONFIRMED,
    # Section 15: "the callee's UA MUST NOT send a BYE on a confirmed dialog until it has received
    # an ACK for its 2xx response or until the server transaction times out."
    (Phase.ANSWERED, Step.HANG_UP): Phase.HANGING_UP,
    (Phase.ANSWERED, Step.ACK_TIMEOUT): Phase.ENDING,
    (Phase.ANSWERED, Step.BYE_RECEIVED): Phase.ENDED,
    (Phase.HANGING_UP, Step.ACK): Phase.ENDING,
    (Phase.HANGING_UP, Step.ACK_TIMEOUT): Phase.ENDING,
    (Phase.HANGING_UP, Step.BYE_RECEIVED): Phase.ENDED,
    (Phase.CALLING, Step.PROVISIONAL): Phase.RINGING,
    (Phase.CALLING, Step.SUCCESS): Phase.CONFIRMED,
    (Phase.CALLING, Step.FAILURE): Phase.ENDED,
    # Section 9.1: "If no provisional response has been received, the CANCEL request MUST NOT be
    # sent; rather, the client MUST wait for the arrival of a provisional response".
    (Phase.CALLING, Step.HANG_UP): Phase.CANCEL_WANTED,
    (Phase.RINGING, Step.PROVISIONAL): Phase.RINGING,
    (Phase.RINGING, Step.SUCCESS): Phase.CONFIRMED,
    (Phase.RINGING, Step.FAILURE): Phase.ENDED,
    (Phase.RINGING, Step.HANG_UP): Phase.CANCELLING,
    (Phase.CANCEL_WANTED, Step.PROVISIONAL): Phase.CANCELLING,
    (Phase.CANCEL_WANTED, Step.SUCCESS): Phase.ENDING,
    (Phase.CANCEL_WANTED, Step.FAILURE): Phase.ENDED,
    (Phase.CANCELLING, Step.PROVISIONAL): Phase.CANCELLING,
    # A 2xx that crossed the CANCEL: acknowledged, then ended by BYE.
    (Phase.CANCELLING, Step.SUCCESS): Phase.ENDING,
    (Phase.CANCELLING, Step.FAILURE): Phase.ENDED,
    (Phase.CONFIRMED, Step.HANG_UP): Phase.ENDING,
    (Phase.CONFIRMED, Step.ACK_TIMEOUT): Phase.ENDING,  # of a re-INVITE
    (Phase.CONFIRMED, Step.BYE_RECEIVED): Phase.ENDED,
    (Phase.ENDING, Step.BYE_RECEIVED): Phase.ENDING,  # both sides hung up at once
    (Phase.ENDING, Step.BYE_DONE): Phase.ENDED,
}


@dataclass(slots=True)
class Unacked:
    """A 2xx of ours that is repeated until its ACK comes (section 13.3.1.4). Times in seconds."""

    cseq: int
    send: Send
    interval: float
    until: float
    carries_offer: bool  # the ACK then carries the answer
    initial: bool  # of the INVITE that set the session up


@dataclass(frozen=True, slots=True)
class PendingOffer:
    """A re-INVITE or UPDATE that waits for the application's answer."""

    key: str  # of its server transaction
    request: Request
    timer: TimerChoice | None


@dataclass(slots=True)
class Session:
    """Everything about one INVITE session but its transactions."""

    id: str
    phase: Phase
    request: Request  # the INVITE
    contact: Contact
    local_tag: str
    invite_key: str = ""  # transaction of the INVITE
    flow: Flow | None = None  # of the incoming INVITE
    dialog: Dialog | None = None
    peer_allow: frozenset[str] = frozenset()
    timer: TimerChoice | None = None
    local_sdp: bytes = b""  # the last description that we sent
    provisional: tuple[int, bytes] | None = None  # status and body that ``ring`` sent
    unacked: dict[int, Unacked] = field(default_factory=dict)
    pending: PendingOffer | None = None
    invite_out: bool = False  # a re-INVITE of ours is under way
    offer_key: str = ""  # its transaction
    update_out: bool = False  # an UPDATE of ours is under way
    referring: bool = False  # our REFER made a subscription to its progress
    told_end: bool = False
    auth: Authenticator | None = None
    refresh_by_invite: bool = False  # the peer refused a refresh by UPDATE

    def step(self, what: Step) -> Phase:
        """Move by the table. Raises ``LocalProtocolError`` for a step that it lacks."""
        target = _TABLE.get((self.phase, what))
        if target is None:
            raise LocalProtocolError(f"no {what.value} while {self.phase.value}")
        self.phase = target
        return target

    def allows(self, what: Step) -> bool:
        """Whether the table has this step from here."""
        return (self.phase, what) in _TABLE

    @property
    def offer_out(self) -> bool:
        """Whether an offer of ours waits for its answer (RFC 3311 section 5.2)."""
        return self.invite_out or any(waiting.carries_offer for waiting in self.unacked.values())
