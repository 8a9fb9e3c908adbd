"""From a negotiated ``StreamSpec`` to the state of a stream, and back to its statistics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sipbot.errors import LocalProtocolError, MediaError
from sipbot.media.inbound import Inbound
from sipbot.media.rings import RingBlock
from sipbot.media.slots import RATE, Slots, first_word
from sipbot.media.source import SourceLock, literal_address
from sipbot.media.state import Reports, StreamState
from sipbot.media.stream import Codec, SrtpKey, StreamListener, StreamSpec, StreamStats
from sipbot.rtp.rtcp import RtcpSchedule
from sipbot.rtp.srtp import SrtpPair

if TYPE_CHECKING:
    from sipbot.media.plane import PlaneConfig

MIN_PTIME_MS: Final = 10
MAX_PTIME_MS: Final = 60


def open_state(
    slot: int,
    spec: StreamSpec,
    listener: StreamListener,
    slots: Slots,
    rx: RingBlock,
    tx: RingBlock,
    config: PlaneConfig,
    entropy: Callable[[int], bytes],
    now: float,
) -> StreamState:
    """The state of a new stream, its identifiers drawn at random (RFC 3550 section 5.1)."""
    drops: Counter[str] = Counter()
    schedule = RtcpSchedule(
        lambda: int.from_bytes(entropy(4), "big") / 2**32, config.rtcp_interval_s
    )
    state = StreamState(
        slot=slot,
        spec=spec,
        listener=listener,
        source=SourceLock(literal_address(spec.remote), now, config.latch_window_s),
        inbound=Inbound(slot, slots, rx, tx, drops),
        reports=Reports(schedule, literal_address(spec.remote_rtcp)),
        drops=drops,
        started_at=now,
    )
    secure(state, spec, slots)
    state.inbound.configure(spec)
    slots.report_at[slot] = schedule.start(now)
    slots.local_ssrc[slot] = int.from_bytes(entropy(4), "big")
    # RFC 3711 section 3.3.1: below 2**15, so that an early loss cannot upset the peer's roll-over.
    slots.sequence[slot] = int.from_bytes(entropy(2), "big") >> 1
    slots.origin[slot] = int.from_bytes(entropy(4), "big")
    return state


def secure(state: StreamState, spec: StreamSpec, slots: Slots) -> None:
    """Take the SRTP keys of ``spec``. Raises MediaError for one key without the other."""
    if spec.srtp_send is None and spec.srtp_receive is None:
        state.srtp = None
    elif spec.srtp_send is None or spec.srtp_receive is None:
        raise MediaError("SRTP needs a key for each direction")
    else:
        send, receive = _keying(spec.srtp_send), _keying(spec.srtp_receive)
        try:
            if state.srtp is None:
                state.srtp = SrtpPair(send, receive)
            else:
                state.srtp.rekey(send, receive)
        except LocalProtocolError as error:
            raise MediaError("SRTP keys cannot be used") from error
    slots.secure(state.slot, state.srtp is not None)


def _keying(key: SrtpKey) -> tuple[str, bytes]:
    return key.suite, key.key


def configure_sending(slots: Slots, slot: int, spec: StreamSpec, tick_ms: int) -> None:
    """Codec, payload type and packet time of what we send; an odd packet time becomes a near one.

    ``ptime`` only states a wish of the peer (RFC 4566 section 6), so rounding is allowed.
    """
    ptime_ms = min(max(spec.ptime_ms, MIN_PTIME_MS), MAX_PTIME_MS)
    ticks = max(ptime_ms // tick_ms, 1)
    slots.period[slot], slots.frame[slot] = ticks, ticks * tick_ms * RATE // 1000
    slots.first_word[slot] = first_word(spec.payload_type)
    slots.mulaw[slot] = spec.codec is Codec.PCMU
    slots.sort(slot)


def stream_stats(state: StreamState, slots: Slots, rx: RingBlock) -> StreamStats:
    """A snapshot of one started stream."""
    slot, inbound, reports = state.slot, state.inbound, state.reports
    round_trip_s = reports.clock.round_trip_s
    return StreamStats(
        packets_received=inbound.received,
        packets_sent=int(slots.packets_sent[slot]),
        bytes_received=int(slots.bytes_received[slot]),
        bytes_sent=int(slots.bytes_sent[slot]),
        lost=inbound.lost,
        concealed=inbound.counts.concealed,
        duplicates=inbound.counts.duplicates,
        reordered=inbound.counts.reordered,
        late=inbound.counts.late,
        overruns=int(rx.overrun[slot]),
        dropped=tuple(sorted(state.drops.items())),
        jitter_ms=inbound.jitter_ms,
        round_trip_ms=None if round_trip_s is None else round_trip_s * 1000,
        remote_lost=reports.remote_lost,
        remote_jitter_ms=reports.remote_jitter_ms,
        latched=state.source.latched,
        late_departures=int(slots.late_departures[slot]),
        ssrc_changes=inbound.counts.ssrc_changes,
    )
