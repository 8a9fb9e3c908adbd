"""What ``sipbot call`` asks for and what it hears back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

CallTransport: TypeAlias = Literal["udp", "tcp", "tls"]
CallCodec: TypeAlias = Literal["PCMA", "PCMU"]
CallSrtp: TypeAlias = Literal["off", "sdes"]
CallEndedBy: TypeAlias = Literal["caller", "callee", "network"]


@dataclass(frozen=True, slots=True)
class CallRequest:
    """One outgoing test call.

    ``transport`` None leaves the choice to the URI; ``codec`` None offers PCMA, then PCMU. ``dtmf``
    holds the keys to press once the call is up (``0123456789*#ABCD``, a comma waits one second).
    ``seconds`` is the longest time in the answered call, after which the caller hangs up.
    ``insecure`` accepts any TLS certificate.
    """

    uri: str
    transport: CallTransport | None = None
    codec: CallCodec | None = None
    srtp: CallSrtp = "off"
    play: Path | None = None  # WAV file to play to the callee
    record: Path | None = None  # WAV file for what is heard
    dtmf: str = ""
    seconds: float = 15.0
    insecure: bool = False
    from_user: str = "sipbot"


@dataclass(frozen=True, slots=True)
class CallResult:
    """How the call went. Times that never came are None; packet counts are RTP packets."""

    answered: bool
    status: int  # final SIP status; 0 when none came
    reason: str  # its phrase, or a short constant text such as "no-answer", "unreachable"
    ended_by: CallEndedBy
    codec: str = ""
    srtp: bool = False
    setup_ms: float | None = None  # INVITE sent to 2xx received
    ring_ms: float | None = None  # INVITE sent to the first 180 or 183
    packets_sent: int = 0
    packets_received: int = 0
    lost: int = 0
    loss_percent: float = 0.0
    jitter_ms: float = 0.0
    round_trip_ms: float | None = None
    duration_s: float = 0.0  # of the answered part
    recorded_s: float = 0.0
    dtmf_sent: int = 0  # how many keys, never which
