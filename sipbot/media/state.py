"""What the plane keeps of one call beside its row in the arrays."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from sipbot.media.inbound import Inbound
from sipbot.media.source import Address, SourceLock
from sipbot.media.stream import StreamListener, StreamSpec
from sipbot.rtp.dtmf import DtmfSender
from sipbot.rtp.rtcp import RtcpSchedule
from sipbot.rtp.srtp import SrtpPair
from sipbot.rtp.statistics import ReportClock


@dataclass(slots=True)
class Dialling:
    """Keys being sent: ``timestamp`` is the one of the key that is under way."""

    sender: DtmfSender
    timestamp: int = 0


@dataclass(slots=True)
class Reports:
    """RTCP of one stream: our schedule, and what the peer says of our packets."""

    schedule: RtcpSchedule
    remote: Address
    clock: ReportClock = field(default_factory=ReportClock)
    remote_lost: int | None = None
    remote_jitter_ms: float | None = None
    peer: Address | None = None  # where the peer's RTCP comes from, once heard


@dataclass(slots=True)
class StreamState:
    """One started stream."""

    slot: int
    spec: StreamSpec
    listener: StreamListener
    source: SourceLock
    inbound: Inbound
    reports: Reports
    drops: Counter[str]
    started_at: float  # seconds
    srtp: SrtpPair | None = None
    dialling: list[Dialling] = field(default_factory=list)
    timed_out: bool = False
