from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipbot.errors import LocalProtocolError
from sipbot.rtp import rtcp
from sipbot.rtp.rtcp import ReportBlock, SenderReport
from sipbot.rtp.statistics import (
    MIN_SEQUENTIAL,
    Arrival,
    ReceiverStatistics,
    ReportClock,
    SenderStatistics,
    StatisticsArrays,
)

VALID, OLD, JUMP = Arrival.VALID, Arrival.OLD, Arrival.JUMP


def feed(stats: ReceiverStatistics, sequences: Sequence[int]) -> list[Arrival]:
    return [stats.update(number & 0xFFFF, 160 * number, 160 * number) for number in sequences]


class SlowReference:
    """Counts in the plainest way: all extended numbers kept, jitter as real RFC 3550 formula."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.transits: list[int] = []

    def update(self, number: int, timestamp: int, arrival: int) -> None:
        self.numbers.append(number)
        self.transits.append(arrival - timestamp)

    @property
    def lost(self) -> int:
        return max(self.numbers) - self.numbers[0] + 1 - len(self.numbers)

    @property
    def jitter(self) -> float:
        """Section 6.4.1: J(i) = J(i-1) + (|D(i-1,i)| - J(i-1))/16."""
        jitter = 0.0
        for before, after in zip(self.transits, self.transits[1:], strict=False):
            jitter += (abs(after - before) - jitter) / 16
        return jitter


def test_counts_across_the_wrap() -> None:
    stats = ReceiverStatistics()
    assert not stats.begun
    assert (stats.expected, stats.lost) == (0, 0)
    assert feed(stats, range(65_530, 65_542)) == [VALID] * 12
    assert (stats.received, stats.expected, stats.lost) == (12, 12, 0)
    assert stats.extended_max == 65_536 + 5


def test_gaps_are_lost_and_late_packets_found() -> None:
    stats = ReceiverStatistics()
    assert feed(stats, [10, 11, 14, 12, 14]) == [VALID, VALID, VALID, OLD, OLD]
    assert (stats.expected, stats.received, stats.lost) == (5, 5, 0)
    feed(stats, [15, 15])
    assert stats.lost == -1  # A.3: duplicates may make the loss negative


def test_overtaken_packet_at_the_wrap_does_not_count_a_cycle() -> None:
    stats = ReceiverStatistics()
    assert feed(stats, [65_534, 65_536, 65_535, 65_537]) == [VALID, VALID, OLD, VALID]
    assert stats.extended_max == 65_537
    assert stats.lost == 0


@pytest.mark.parametrize(
    ("step", "verdict"),
    [
        (2999, VALID),
        (3000, JUMP),
        (-99, OLD),
        (-100, JUMP),
        (32_768, JUMP),
        (0, OLD),
    ],
)
def test_limits_of_dropout_and_misorder(step: int, verdict: Arrival) -> None:
    stats = ReceiverStatistics()
    feed(stats, range(500, 600))
    assert stats.update((599 + step) & 0xFFFF, 0, 0) is verdict


def test_two_packets_in_sequence_after_a_jump_restart_the_count() -> None:
    stats = ReceiverStatistics()
    feed(stats, range(100))
    assert feed(stats, [40_000, 100, 40_000, 40_001]) == [JUMP, VALID, JUMP, Arrival.RESTART]
    assert (stats.received, stats.expected, stats.extended_max) == (1, 1, 40_001)
    assert feed(stats, [40_002]) == [VALID]


def test_a_jump_that_is_not_followed_changes_nothing() -> None:
    stats = ReceiverStatistics()
    feed(stats, range(100))
    before = (stats.received, stats.expected, stats.jitter)
    feed(stats, [30_000, 50_000, 20_000])
    assert (stats.received, stats.expected, stats.jitter) == before


def test_probation_wants_packets_in_sequence() -> None:
    stats = ReceiverStatistics(probation=MIN_SEQUENTIAL)
    proving = Arrival.PROBATION
    assert feed(stats, [7, 9, 10, 11]) == [proving, proving, VALID, VALID]
    assert stats.received == 2
    longer = ReceiverStatistics(probation=3)
    assert feed(longer, [65_535, 65_536, 65_537]) == [proving, proving, VALID]


def test_fraction_lost_is_of_the_interval_since_the_last_report() -> None:
    stats = ReceiverStatistics()
    feed(stats, [n for n in range(100) if n % 4 != 1])  # a quarter is missing
    block = stats.report_block(0xABCD, 5, 6)
    assert (block.ssrc, block.last_sr, block.delay_since_last_sr) == (0xABCD, 5, 6)
    assert (block.fraction_lost, block.cumulative_lost) == (64, 25)
    assert block.highest_sequence == 99
    feed(stats, range(100, 200))
    block = stats.report_block(0xABCD)
    assert (block.fraction_lost, block.cumulative_lost) == (0, 25)
    assert stats.report_block(0xABCD).fraction_lost == 0  # nothing expected since


def test_fraction_lost_fits_its_octet_and_is_never_negative() -> None:
    stats = ReceiverStatistics()
    feed(stats, [0])
    stats.report_block(1)
    stats.update(2999, 0, 0)
    stats._arrays.received[0] = 1  # as if the interval had lost all
    assert stats.report_block(1).fraction_lost == 255
    feed(stats, [2999, 2999, 3000])
    assert stats.report_block(1).fraction_lost == 0


def test_jitter_of_a_known_script() -> None:
    stats = ReceiverStatistics()
    for index, late in enumerate([0, 80, 0, 80, 0]):  # 10 ms late every other time
        stats.update(index, 160 * index, 160 * index + late)
    # |D| = 80 four times; integers scaled by 16: 80, 155, 225, 291
    assert stats.jitter == 291 >> 4


def test_jitter_ignores_the_wrap_of_timestamps_and_clocks() -> None:
    stats = ReceiverStatistics()
    for index in range(20):
        stats.update(index, (2**32 - 800 + 160 * index) % 2**32, (2**32 - 80 + 160 * index) % 2**32)
    assert stats.jitter == 0


def test_a_new_sender_clock_is_no_jitter() -> None:
    stats = ReceiverStatistics()
    feed(stats, range(10))
    stats.update(10, 160 * 10 + 1_000_000, 160 * 10)
    stats.update(11, 160 * 11 + 1_000_000, 160 * 11)
    assert stats.jitter == 0


def test_packets_with_repeated_timestamps_can_be_left_out_of_the_jitter() -> None:
    stats = ReceiverStatistics()
    feed(stats, range(10))
    for index in range(10, 30):
        assert stats.update(index, 1600, 160 * index, jitter=False) is VALID
    feed(stats, range(30, 40))
    assert stats.jitter == 0
    assert stats.received == 40


ARRIVALS = st.lists(
    st.tuples(st.integers(-5, 20), st.integers(0, 4000)), min_size=1, max_size=120
)  # step of the sequence number, lateness in timestamp units


@given(st.integers(0, 0xFFFF), st.integers(0, 2**32 - 1), ARRIVALS)
def test_scalar_agrees_with_the_slow_reference(
    first: int, origin: int, steps: list[tuple[int, int]]
) -> None:
    stats, reference = ReceiverStatistics(), SlowReference()
    number = first
    for step, late in [(0, 0), *steps]:
        number = max(number + step, first)
        timestamp = origin + 160 * number
        stats.update(number & 0xFFFF, timestamp & 0xFFFF_FFFF, (timestamp + late) & 0xFFFF_FFFF)
        reference.update(number, timestamp, timestamp + late)
    assert stats.lost == reference.lost
    assert stats.extended_max == max(reference.numbers)
    assert stats.jitter == pytest.approx(reference.jitter, abs=2)


@given(
    st.lists(
        st.lists(
            st.tuples(
                st.integers(0, 4), st.integers(1, 2999), st.integers(0, 200_000), st.booleans()
            ),
            max_size=5,
            unique_by=lambda packet: packet[0],
        ),
        max_size=20,
    ),
    st.lists(st.integers(0, 0xFFFF), min_size=5, max_size=5),
)
def test_arrays_agree_with_scalars(
    ticks: list[list[tuple[int, int, int, bool]]], firsts: list[int]
) -> None:
    """Five streams; in each tick some of them get one packet, by either way in."""
    arrays = StatisticsArrays(5)
    scalars = [ReceiverStatistics() for _ in range(5)]
    numbers = list(firsts)
    for slot, first in enumerate(firsts):
        scalars[slot].update(first, 0, 0)
        arrays.row(slot).update(first, 0, 0)
    for now, tick in enumerate(ticks):
        batch = []
        for slot, step, late, single in tick:
            numbers[slot] += step
            packet = (numbers[slot] & 0xFFFF, 160 * numbers[slot] % 2**32, 160 * now + late)
            assert scalars[slot].update(*packet) is VALID
            if single:
                arrays.row(slot).update(*packet)
            else:
                batch.append((slot, *packet))
        columns = np.array(batch, dtype=np.int64).reshape(-1, 4).T
        arrays.update(columns[0].astype(np.intp), columns[1], columns[2], columns[3])
    lost = arrays.lost(np.arange(5))
    for slot, scalar in enumerate(scalars):
        row = arrays.row(slot)
        assert (row.received, row.extended_max) == (scalar.received, scalar.extended_max)
        assert (row.lost, row.jitter) == (scalar.lost, scalar.jitter)
        assert lost[slot] == scalar.lost
        assert row.report_block(1) == scalar.report_block(1)


def test_arrays_accept_the_widths_of_a_header_batch() -> None:
    arrays = StatisticsArrays(2)
    arrays.row(0).update(65_535, 2**32 - 160, 0)
    arrays.update(
        np.array([0]),
        np.array([0], dtype=np.uint16),
        np.array([0], dtype=np.uint32),
        np.array([160], dtype=np.uint32),
    )
    assert arrays.row(0).extended_max == 65_536
    assert arrays.row(0).jitter == 0


def test_a_slot_can_be_used_again() -> None:
    arrays = StatisticsArrays(2)
    for slot in (0, 1):
        feed(arrays.row(slot), [5, 6, 9, 40_000])
    arrays.row(1).report_block(1)
    arrays.reset(1)
    fresh = arrays.row(1)
    assert not fresh.begun
    assert arrays.lost(np.array([0, 1])).tolist() == [2, 0]
    assert feed(fresh, [40_001, 40_002]) == [VALID, VALID]
    assert (fresh.received, fresh.lost, fresh.jitter) == (2, 0, 0)


def test_a_block_needs_slots() -> None:
    with pytest.raises(LocalProtocolError):
        StatisticsArrays(0)


def test_sender_counts_wrap_in_the_report() -> None:
    sender = SenderStatistics()
    sender.sent(160)
    sender.sent(480, packets=3)
    assert (sender.packets, sender.octets) == (4, 640)
    sender.sent(2**32, packets=2**32)
    report = sender.report(7, 2**40, 2**32 + 5)
    assert report == SenderReport(7, 2**40, 5, 4, 640)


def test_round_trip_of_the_rfc_example() -> None:
    """RFC 3550 figure 2: A 0xb710:8000, LSR 0xb705:2000, DLSR 0x0005:4000 give 6.125 s."""
    block = ReportBlock(1, 0, 0, 0, 0, last_sr=0xB7052000, delay_since_last_sr=0x00054000)
    clock = ReportClock()
    assert clock.heard_block(block, 0xB44DB71080000000) == 6.125
    assert clock.round_trip_s == 6.125


def test_round_trip_of_odd_reports() -> None:
    clock = ReportClock()
    arrival = rtcp.ntp_from_wall(1_000_000_000.0)
    now = rtcp.middle32(arrival)
    assert clock.heard_block(ReportBlock(1, 0, 0, 0, 0), arrival) is None  # no SR heard yet
    assert clock.heard_block(ReportBlock(1, 0, 0, 0, 0, now, 1000), arrival) == 0.0
    assert clock.heard_block(ReportBlock(1, 0, 0, 0, 0, now - 61 * 65_536, 0), arrival) is None
    assert clock.heard_block(ReportBlock(1, 0, 0, 0, 0, now - 65_536, 3 * 65_536), arrival) is None
    assert clock.round_trip_s == 0.0  # the last good one stands


def test_round_trip_across_the_wrap_of_the_middle_bits() -> None:
    clock = ReportClock()
    block = ReportBlock(1, 0, 0, 0, 0, last_sr=0xFFFF_8000, delay_since_last_sr=0)
    assert clock.heard_block(block, 0x0000_8000_0000) == 1.0


def test_delay_since_last_sender_report() -> None:
    clock = ReportClock()
    assert clock.last_sr_and_delay(50.0) == (0, 0)
    clock.heard_sender_report(SenderReport(1, 0xB44DB70520000000, 0, 0, 0), 100.0)
    assert clock.last_sr_and_delay(105.25) == (0xB7052000, 0x00054000)
    assert clock.last_sr_and_delay(99.0) == (0xB7052000, 0)
    assert clock.last_sr_and_delay(1e9) == (0xB7052000, 0xFFFF_FFFF)
