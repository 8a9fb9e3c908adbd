"""The Leg port: what one transport's half of a conversation must offer.

``SipLeg`` implements it over SIP and RTP; WebSocket and WebRTC legs, and a leg that lives in
another process, implement the same port and pass the same contract tests.

Audio is mono signed 16-bit PCM at ``rate`` Hz, as one-dimensional ``numpy.int16`` arrays of any
length. Positions count samples at that rate from the start of the leg.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Final, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Pcm: TypeAlias = NDArray[np.int16]
Direction: TypeAlias = Literal["inbound", "outbound"]

TRUNK_CALL_ID_HEADER: Final = "x-exotel-callsid"


class EndReason(Enum):
    """Why a leg ended. The value is what call records, logs and metrics show."""

    CALLER_HUNG_UP = "caller-hung-up"
    BOT_HUNG_UP = "bot-hung-up"
    CANCELLED = "cancelled"  # the caller gave up before the answer
    REJECTED = "rejected"  # we refused the call, or the callee did
    TRANSFERRED = "transferred"
    MEDIA_TIMEOUT = "media-timeout"  # no RTP for too long
    NETWORK = "network"  # a SIP time-out or a lost transport
    AGENT_FAILED = "agent-failed"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True)
class LegInfo:
    """Who calls whom, by what way. Never changes during a leg.

    ``caller`` and ``callee`` are user parts as received (``+919812345678``, ``echo``).
    ``headers`` has lower-case names; of repeated headers the first value.
    """

    transport: str  # "sip/udp", "sip/tcp", "sip/tls", "voicebot", "webrtc"
    direction: Direction
    caller: str
    callee: str
    trunk: str = ""
    request_user: str = ""  # user part of the Request-URI
    peer: str = ""  # address the signalling came from, "host:port"
    protocol_id: str = ""  # SIP Call-ID or stream id
    codec: str = ""
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    parameters: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def trunk_call_id(self) -> str:
        """By which id the trunk itself knows the call, where it tells: Exotel's CallSid."""
        return self.headers.get(TRUNK_CALL_ID_HEADER, "")


@dataclass(frozen=True, slots=True)
class LegDtmf:
    """The caller pressed one key: ``digit`` is one of ``0123456789*#ABCD``."""

    digit: str
    source: Literal["rtp", "info", "inband", "stream"]


@dataclass(frozen=True, slots=True)
class LegHeld:
    """The peer put us on hold: it hears nothing, and what is queued waits."""


@dataclass(frozen=True, slots=True)
class LegResumed:
    """The peer took us off hold."""


@dataclass(frozen=True, slots=True)
class LegEnded:
    """The leg is over. Always the last event, and exactly one."""

    reason: EndReason
    detail: str = ""  # constant text for logs, e.g. "bye", "ack-timeout"


LegEvent: TypeAlias = LegDtmf | LegHeld | LegResumed | LegEnded
LegSink: TypeAlias = Callable[[LegEvent], None]


@dataclass(frozen=True, slots=True)
class TransferResult:
    """How a transfer went. ``accepted`` False leaves the call as it was."""

    accepted: bool
    detail: str = ""


class LegAudio(Protocol):
    """Both directions of a leg's audio. Nothing here blocks; both queues are bounded."""

    @property
    def rate(self) -> int:
        """Samples a second, fixed for the life of the leg."""
        ...

    def read(self) -> Pcm:
        """All samples that arrived since the last read, as a copy; empty when there are none."""
        ...

    @property
    def received(self) -> int:
        """Samples that ever arrived, i.e. the stream time of the newest sample.

        Silence and concealment that stand in for missing audio count. Samples lost because the
        reader was too slow count too (and are counted as overrun by the leg).
        """
        ...

    async def wait_readable(self) -> bool:
        """Return True when ``read`` has something, False once the leg has ended."""
        ...

    def write(self, pcm: Pcm) -> int:
        """Queue samples to be played; returns how many fitted (0 when full, or when ended)."""
        ...

    async def wait_consumed(self, position: int) -> bool:
        """Return True once ``consumed >= position``, False if the leg ended before that."""
        ...

    @property
    def written(self) -> int:
        """Samples that ``write`` ever accepted."""
        ...

    @property
    def consumed(self) -> int:
        """Samples of ``written`` that were played or cleared; ``written - consumed`` still wait."""
        ...

    @property
    def played(self) -> int:
        """Samples of ``written`` that really left towards the peer. The played position."""
        ...

    async def clear(self) -> int:
        """Discard what waits to be played; returns how many samples were not heard."""
        ...


class Leg(Protocol):
    """One transport's half of a conversation.

    Life: created for a new call -> ``ring`` (optional) -> ``answer`` or ``reject`` -> ... ->
    ``LegEnded``. Every method may be called at any time: on an ended leg they do nothing.
    """

    @property
    def info(self) -> LegInfo: ...

    @property
    def audio(self) -> LegAudio: ...

    @property
    def ended(self) -> bool: ...

    def attach(self, sink: LegSink) -> None:
        """Deliver events to ``sink`` from now on, first those that were kept until now."""
        ...

    async def ring(self) -> None:
        """Tell the caller that it rings (180). No effect when done before."""
        ...

    async def answer(self) -> None:
        """Take the call; audio flows both ways from here. Raises ``SipbotError`` if it cannot."""
        ...

    async def reject(self, status: int, reason: str = "") -> None:
        """Refuse an unanswered call with a SIP status (legs without SIP map it)."""
        ...

    async def hangup(self, reason: EndReason = EndReason.BOT_HUNG_UP) -> None:
        """End the leg at once. Audio still queued is lost: wait for it first."""
        ...

    async def transfer(self, target: str) -> TransferResult:
        """Send the caller on to ``target``."""
        ...

    async def send_dtmf(self, digits: str, duration_ms: int = 100, gap_ms: int = 60) -> None:
        """Press keys towards the peer; returns when they were sent."""
        ...


@runtime_checkable
class LoopsBack(Protocol):
    """A leg that can give the peer its own audio back below all agents, for measurements."""

    def loopback(self, on: bool) -> None:
        """Begin or end it."""
        ...
