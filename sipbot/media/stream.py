"""Values that the signalling side hands to the media plane, and what it hears back."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Codec(Enum):
    """G.711 variants. The value is the encoding name in SDP (RFC 3551)."""

    PCMA = "PCMA"
    PCMU = "PCMU"


@dataclass(frozen=True, slots=True)
class SrtpKey:
    """One direction's SDES keying (RFC 4568): master key and salt joined, 30 bytes."""

    suite: str  # "AES_CM_128_HMAC_SHA1_80" or "AES_CM_128_HMAC_SHA1_32"
    key: bytes


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """One call's media as negotiated. A re-INVITE replaces it whole.

    ``remote`` and ``remote_rtcp`` are IP literal and port from the peer's SDP. ``payload_type`` is
    what we send with and expect; ``dtmf_payload_type`` is None when telephone-event was not
    negotiated. ``send`` and ``receive`` follow the negotiated direction from our point of view.
    """

    remote: tuple[str, int]
    remote_rtcp: tuple[str, int]
    codec: Codec
    payload_type: int
    dtmf_payload_type: int | None = None
    ptime_ms: int = 20  # of what we send
    send: bool = True
    receive: bool = True
    srtp_send: SrtpKey | None = None
    srtp_receive: SrtpKey | None = None


class StreamListener(Protocol):
    """What a media stream tells its leg. Called from the plane's tick; must be quick."""

    def on_dtmf(self, digit: str) -> None:
        """One key press, exactly once."""
        ...

    def on_media_timeout(self) -> None:
        """No valid RTP for the configured time while we should receive. Told once."""
        ...


@dataclass(frozen=True, slots=True)
class StreamStats:
    """A snapshot of one stream. Counts are packets unless the name says otherwise."""

    packets_received: int = 0
    packets_sent: int = 0
    bytes_received: int = 0  # RTP payload
    bytes_sent: int = 0
    lost: int = 0  # as the receiver sees it, RFC 3550 A.3; never negative here
    concealed: int = 0  # frames made up for a gap
    duplicates: int = 0
    reordered: int = 0  # arrived out of order and put right
    late: int = 0  # arrived after their place was concealed
    overruns: int = 0  # samples the reader was too slow for
    dropped: tuple[tuple[str, int], ...] = ()  # (rule, packets), e.g. ("wrong-source", 3)
    jitter_ms: float = 0.0  # RFC 3550 6.4.1
    round_trip_ms: float | None = None  # from RTCP, None when unknown
    remote_lost: int | None = None  # what the peer reports of our stream
    remote_jitter_ms: float | None = None
    latched: bool = False  # the source was learnt from RTP, not SDP
    late_departures: int = 0  # packets that left more than one tick late
    ssrc_changes: int = 0
