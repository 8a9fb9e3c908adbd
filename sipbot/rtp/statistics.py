"""Receiver and sender statistics (RFC 3550 sections 6.3, 6.4 and appendices A.1, A.3, A.8).

The state of many streams lies in arrays, one row ("slot") a stream, so that the packets of one
tick are counted with a few array operations. A packet out of the ordinary is counted through the
row's ``ReceiverStatistics``, which works on the same numbers.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sipbot.errors import LocalProtocolError
from sipbot.rtp.rtcp import ReportBlock, SenderReport, middle32
from sipbot.rtp.sequence import diff16_array, diff32, diff32_array

MAX_DROPOUT: Final = 3000  # packets, A.1
MAX_MISORDER: Final = 100  # packets, A.1
MIN_SEQUENTIAL: Final = 2  # packets, A.1
MAX_TRANSIT_STEP: Final = 80_000  # timestamp units; a wider step is a new clock, not jitter
MAX_ROUND_TRIP_S: Final = 60.0  # anything longer is a report of some other stream
_NO_BAD: Final = -1
_MIN_LOST, _MAX_LOST = -0x80_0000, 0x7F_FFFF


class Arrival(Enum):
    """What a packet's sequence number says about it (RFC 3550 A.1)."""

    VALID = "valid"  # in order, or after a gap that is not too wide
    OLD = "old"  # a duplicate, or one that was overtaken
    PROBATION = "probation"  # the source is not yet believed
    JUMP = "sequence-jump"  # too far from the last one; ignored unless the next one follows it
    RESTART = "restart"  # it did: the sender started over


class StatisticsArrays:
    """Reception state of ``slots`` streams. Every array has shape (slots,).

    ``extended_max`` is the extended highest sequence number (cycles included), ``base`` the first
    one; -1 in ``base`` marks a stream without packets. ``jitter16`` is the jitter scaled by 16,
    ``transit`` the last arrival minus timestamp, both in RTP timestamp units.
    """

    def __init__(self, slots: int) -> None:
        if slots < 1:
            raise LocalProtocolError("statistics need at least one slot")
        self.base: NDArray[np.int64] = np.full(slots, -1, dtype=np.int64)
        self.extended_max: NDArray[np.int64] = np.zeros(slots, dtype=np.int64)
        self.received: NDArray[np.int64] = np.zeros(slots, dtype=np.int64)
        self.expected_prior: NDArray[np.int64] = np.zeros(slots, dtype=np.int64)
        self.received_prior: NDArray[np.int64] = np.zeros(slots, dtype=np.int64)
        self.jitter16: NDArray[np.int64] = np.zeros(slots, dtype=np.int64)
        self.transit: NDArray[np.int64] = np.zeros(slots, dtype=np.int64)
        self.timed: NDArray[np.bool_] = np.zeros(slots, dtype=np.bool_)  # ``transit`` is set
        self.bad_sequence: NDArray[np.int64] = np.full(slots, _NO_BAD, dtype=np.int64)
        self.probation: NDArray[np.int64] = np.zeros(slots, dtype=np.int64)

    def reset(self, slot: int) -> None:
        """Forget a stream: for a new call in the slot, or a new SSRC."""
        for counters in (self.extended_max, self.received, self.expected_prior):
            counters[slot] = 0
        for counters in (self.received_prior, self.jitter16, self.transit, self.probation):
            counters[slot] = 0
        self.base[slot], self.bad_sequence[slot], self.timed[slot] = -1, _NO_BAD, False

    def row(self, slot: int, *, probation: int = 0) -> ReceiverStatistics:
        """One stream's statistics, living in this block."""
        return ReceiverStatistics(self, slot, probation=probation)

    def update(
        self,
        slots: NDArray[np.intp],
        sequence: ArrayLike,
        timestamp: ArrayLike,
        arrival: ArrayLike,
    ) -> None:
        """Count one packet for each of ``slots``, which must differ from each other.

        The packets must be in order (0 to 2999 packets ahead; no old ones, no jumps) on streams
        that were begun. ``arrival`` is the local time in RTP timestamp units, modulo 2**32.
        """
        highest = self.extended_max[slots]
        self.extended_max[slots] = highest + diff16_array(sequence, highest & 0xFFFF)
        self.received[slots] += 1
        self.bad_sequence[slots] = _NO_BAD
        transit = diff32_array(arrival, timestamp)
        step = np.abs(diff32_array(transit, self.transit[slots]))
        step[~self.timed[slots] | (step > MAX_TRANSIT_STEP)] = -1
        jitter = self.jitter16[slots]
        # A.8: s->jitter += d - ((s->jitter + 8) >> 4)
        self.jitter16[slots] = np.where(step < 0, jitter, jitter + step - ((jitter + 8) >> 4))
        self.transit[slots] = transit
        self.timed[slots] = True

    def lost(self, slots: NDArray[np.intp]) -> NDArray[np.int64]:
        """Cumulative packets lost of each slot; negative when duplicates prevail (A.3)."""
        expected = self.extended_max[slots] - self.base[slots] + 1
        return np.where(self.base[slots] < 0, 0, expected - self.received[slots])


class ReceiverStatistics:
    """One stream's reception statistics: a row of ``arrays``, or a block of its own.

    With ``probation`` packets (A.1 uses ``MIN_SEQUENTIAL``) a new source is believed only after
    that many in sequence; 0 believes the first packet, as signalling already announced it.
    """

    def __init__(
        self, arrays: StatisticsArrays | None = None, slot: int = 0, *, probation: int = 0
    ) -> None:
        self._arrays = StatisticsArrays(1) if arrays is None else arrays
        self._slot, self._min_sequential = slot, probation

    def update(
        self, sequence: int, timestamp: int, arrival: int, *, jitter: bool = True
    ) -> Arrival:
        """Count one packet; the answer tells whether it may be used.

        ``arrival`` is the local time in RTP timestamp units. Pass ``jitter=False`` for packets
        whose timestamp does not tell when they were sent, such as telephone-events.
        """
        verdict = self._place(sequence)
        if verdict is Arrival.RESTART:
            self._arrays.timed[self._slot] = False
        if jitter and verdict in (Arrival.VALID, Arrival.OLD, Arrival.RESTART):
            self._time(timestamp, arrival)
        return verdict

    def _place(self, sequence: int) -> Arrival:
        """RFC 3550 A.1, update_seq."""
        state, slot = self._arrays, self._slot
        if state.base[slot] < 0:
            return self._begin(sequence)
        highest = int(state.extended_max[slot])
        if state.probation[slot]:
            return self._prove(sequence, highest)
        ahead = (sequence - highest) & 0xFFFF
        if ahead >= MAX_DROPOUT and ahead <= 0x1_0000 - MAX_MISORDER:
            # "the sequence number made a very large jump"
            if sequence == state.bad_sequence[slot]:
                self._init(sequence)
                state.received[slot] = 1
                return Arrival.RESTART
            state.bad_sequence[slot] = (sequence + 1) & 0xFFFF
            return Arrival.JUMP
        state.received[slot] += 1
        if 0 < ahead < MAX_DROPOUT:
            state.extended_max[slot] = highest + ahead
            return Arrival.VALID
        return Arrival.OLD  # "duplicate or reordered packet"

    def _begin(self, sequence: int) -> Arrival:
        self._init(sequence)
        if self._min_sequential > 1:
            self._arrays.probation[self._slot] = self._min_sequential - 1
            return Arrival.PROBATION
        self._arrays.received[self._slot] = 1
        return Arrival.VALID

    def _prove(self, sequence: int, highest: int) -> Arrival:
        """A.1: "Source is not valid until MIN_SEQUENTIAL packets with sequential numbers"."""
        state, slot = self._arrays, self._slot
        left = int(state.probation[slot]) - 1
        in_sequence = sequence == (highest + 1) & 0xFFFF
        self._init(sequence)
        if not in_sequence:
            state.probation[slot] = self._min_sequential - 1
            return Arrival.PROBATION
        state.probation[slot] = left
        if left:
            return Arrival.PROBATION
        state.received[slot] = 1
        return Arrival.VALID

    def _init(self, sequence: int) -> None:
        """A.1, init_seq."""
        state, slot = self._arrays, self._slot
        state.base[slot] = state.extended_max[slot] = sequence
        state.bad_sequence[slot] = _NO_BAD
        state.received[slot] = state.received_prior[slot] = state.expected_prior[slot] = 0

    def _time(self, timestamp: int, arrival: int) -> None:
        """A.8, with a reset where the sender's clock jumped."""
        state, slot = self._arrays, self._slot
        transit = diff32(arrival, timestamp)
        step = abs(diff32(transit, int(state.transit[slot])))
        if state.timed[slot] and step <= MAX_TRANSIT_STEP:
            jitter = int(state.jitter16[slot])
            state.jitter16[slot] = jitter + step - ((jitter + 8) >> 4)
        state.transit[slot], state.timed[slot] = transit, True

    @property
    def begun(self) -> bool:
        """Whether a packet was counted since the last reset."""
        return bool(self._arrays.base[self._slot] >= 0)

    @property
    def received(self) -> int:
        """Packets that came, duplicates and late ones included."""
        return int(self._arrays.received[self._slot])

    @property
    def extended_max(self) -> int:
        """Extended highest sequence number received."""
        return int(self._arrays.extended_max[self._slot])

    @property
    def expected(self) -> int:
        """Packets that should have come (A.3)."""
        return self.extended_max - int(self._arrays.base[self._slot]) + 1 if self.begun else 0

    @property
    def lost(self) -> int:
        """Packets lost so far (A.3); negative when more came than were expected."""
        return self.expected - self.received

    @property
    def jitter(self) -> int:
        """Interarrival jitter in RTP timestamp units (A.8)."""
        return int(self._arrays.jitter16[self._slot]) >> 4

    def report_block(
        self, ssrc: int, last_sr: int = 0, delay_since_last_sr: int = 0
    ) -> ReportBlock:
        """The report of this stream since the last such call (A.3)."""
        state, slot = self._arrays, self._slot
        expected, received = self.expected, self.received
        interval = expected - int(state.expected_prior[slot])
        lost = interval - (received - int(state.received_prior[slot]))
        state.expected_prior[slot], state.received_prior[slot] = expected, received
        return ReportBlock(
            ssrc=ssrc,
            fraction_lost=min((lost << 8) // interval, 255) if interval > 0 and lost > 0 else 0,
            cumulative_lost=min(max(expected - received, _MIN_LOST), _MAX_LOST),
            highest_sequence=self.extended_max & 0xFFFF_FFFF,
            jitter=self.jitter,
            last_sr=last_sr,
            delay_since_last_sr=delay_since_last_sr,
        )


class SenderStatistics:
    """What we sent on one SSRC (RFC 3550 section 6.4.1)."""

    def __init__(self) -> None:
        self.packets = 0
        self.octets = 0  # payload only

    def sent(self, payload_octets: int, packets: int = 1) -> None:
        """Count packets that carried so many payload octets together."""
        self.packets += packets
        self.octets += payload_octets

    def report(
        self, ssrc: int, ntp: int, rtp_timestamp: int, reports: tuple[ReportBlock, ...] = ()
    ) -> SenderReport:
        """The sender report for one instant, given as 64-bit NTP and as RTP timestamp."""
        return SenderReport(
            ssrc=ssrc,
            ntp=ntp,
            rtp_timestamp=rtp_timestamp & 0xFFFF_FFFF,
            packets=self.packets & 0xFFFF_FFFF,
            octets=self.octets & 0xFFFF_FFFF,
            reports=reports,
        )


class ReportClock:
    """Times of report exchange with one peer: LSR and DLSR out, round trip in (section 6.4.1)."""

    def __init__(self) -> None:
        self._last_sr = 0  # middle of the NTP timestamp in the peer's last SR
        self._heard_at: float | None = None  # seconds, local
        self.round_trip_s: float | None = None

    def heard_sender_report(self, report: SenderReport, now: float) -> None:
        """Note when the peer's SR came."""
        self._last_sr, self._heard_at = middle32(report.ntp), now

    def last_sr_and_delay(self, now: float) -> tuple[int, int]:
        """The LSR and DLSR fields of a report block sent now; zeros before any SR."""
        if self._heard_at is None:
            return 0, 0
        delay = int(max(now - self._heard_at, 0.0) * 65_536)
        return self._last_sr, min(delay, 0xFFFF_FFFF)

    def heard_block(self, block: ReportBlock, arrival_ntp: int) -> float | None:
        """Round trip in seconds from a block about our stream: A - LSR - DLSR.

        None when the block answers no report of ours, or the result is out of all reason.
        """
        if block.last_sr == 0:
            return None
        units = diff32(middle32(arrival_ntp), block.last_sr) - block.delay_since_last_sr
        if not -65_536 <= units <= MAX_ROUND_TRIP_S * 65_536:
            return None
        self.round_trip_s = max(units, 0) / 65_536  # the peer's clock may tick a little faster
        return self.round_trip_s
