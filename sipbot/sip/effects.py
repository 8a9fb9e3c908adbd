"""What the SIP core asks of its driver, and what it tells the application.

Every input of the core (a message, a timer, a command) returns a tuple of these values, in the
order in which they must be carried out. Drivers send; the application reads the events.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Literal, TypeAlias

from sipbot.sip.message import Request, Response

Transport: TypeAlias = Literal["udp", "tcp", "tls"]
Address: TypeAlias = tuple[str, int]  # IP literal without brackets, port


@dataclass(frozen=True, slots=True)
class Flow:
    """The path a message came by. ``connection`` numbers a stream connection; None for UDP."""

    transport: Transport
    local: Address
    remote: Address
    connection: int | None = None


@dataclass(frozen=True, slots=True)
class Hop:
    """A next hop that may still need name resolution.

    ``port`` is None when the URI names none: RFC 3263 then picks by NAPTR/SRV or the default port.
    ``transport`` is None when the URI names none.
    """

    host: str
    port: int | None = None
    transport: Transport | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One way to send a message: over an existing ``flow`` if it is still open, else to ``hop``."""

    wire: bytes
    flow: Flow | None = None
    hop: Hop | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """Send the first of ``attempts`` that works.

    When none works, the driver calls ``UserAgent.transport_failed(key, now)``.
    """

    key: str  # of the transaction that sends
    attempts: tuple[Attempt, ...]


class EndedBy(Enum):
    """Who ended a session."""

    PEER = "peer"
    LOCAL = "local"
    NETWORK = "network"  # a time-out or a transport failure


@dataclass(frozen=True, slots=True)
class IncomingCall:
    """A new INVITE passed all protocol checks; 100 is already on its way.

    The application answers with ``ring``, ``answer`` or ``reject`` for this ``session``.
    ``request.body`` holds the offer, or is empty for a delayed offer.
    """

    session: str
    request: Request
    flow: Flow


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The ACK of our 2xx arrived; ``body`` holds the answer when our 2xx carried the offer."""

    session: str
    body: bytes = b""
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class Reoffer:
    """A re-INVITE or UPDATE in a confirmed dialog wants an answer.

    ``body`` is empty for an offerless re-INVITE. The application must call ``accept_offer`` or
    ``refuse_offer`` for the session before it returns to the loop.
    """

    session: str
    method: str
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Reanswer:
    """The answer to an offer of ours in a confirmed dialog.

    It came in the ACK of our 2xx to an offerless re-INVITE, or in the 2xx to our own re-INVITE.
    """

    session: str
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class InfoDigit:
    """A key sent by SIP INFO (application/dtmf-relay or application/dtmf)."""

    session: str
    digit: str
    duration_ms: int = field(default=0)


@dataclass(frozen=True, slots=True)
class Progress:
    """A provisional response to our INVITE (never 100)."""

    session: str
    response: Response


@dataclass(frozen=True, slots=True)
class Answered:
    """A 2xx to our INVITE; its ACK is already on its way."""

    session: str
    response: Response


@dataclass(frozen=True, slots=True)
class OfferRefused:
    """Our re-INVITE failed with ``status`` (0: no answer at all). The session goes on as it was.

    491 means that the peer had a re-INVITE of its own under way; try again a little later. When
    the re-INVITE succeeds, the peer's answer comes as ``Reanswer``.
    """

    session: str
    status: int


@dataclass(frozen=True, slots=True)
class TransferProgress:
    """News of the transfer that ``refer`` asked for.

    ``status`` 202 says that the peer will try; then come statuses of its own call to the target,
    as its NOTIFY bodies tell them. ``final`` is True for the last one; 2xx is success.
    """

    session: str
    status: int
    final: bool


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """The session is over; nothing more comes for it.

    ``status`` is the SIP status of the final response where one ended it (487 for a cancelled
    INVITE, 408 for no answer, 0 for a BYE), ``reason`` a short constant text: ``bye``,
    ``cancelled``, ``rejected``, ``expired`` (the INVITE's Expires), ``no-answer`` (nobody took the
    call in time), ``timeout`` (no response), ``ack-timeout``, ``session-expired``,
    ``dialog-gone`` (the peer does not know the call any more), ``transport-failed``.
    ``response`` is the final non-2xx response to our own INVITE.
    """

    session: str
    by: EndedBy
    reason: str
    status: int = 0
    response: Response | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A request was refused, by the core itself or by ``refuse_offer``.

    ``rule`` names the rule, for the log and the counter; it is a constant text.
    """

    rule: str
    status: int
    method: str
    flow: Flow
    call_id: str = ""


@dataclass(frozen=True, slots=True)
class Dropped:
    """Bytes or a message that no answer is allowed for. ``rule`` says why."""

    rule: str
    flow: Flow


Event: TypeAlias = (
    IncomingCall
    | Confirmed
    | Reoffer
    | Reanswer
    | InfoDigit
    | Progress
    | Answered
    | OfferRefused
    | TransferProgress
    | SessionEnded
    | Refused
    | Dropped
)
Effect: TypeAlias = Send | Event
Effects: TypeAlias = tuple[Effect, ...]
