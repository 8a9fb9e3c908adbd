from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipbot.rtp.reorder import Delivery, Drop, Frame, Gap, ReorderBuffer, Resync

TICK_S = 0.020


def frame(number: int) -> Frame:
    return Frame(number & 0xFFFF, 160 * number & 0xFFFF_FFFF, str(number).encode())


class Line:
    """A buffer fed at set times; packets are named by their extended numbers."""

    def __init__(self, expected: int) -> None:
        self.buffer = ReorderBuffer()
        self.buffer.start(expected & 0xFFFF)
        self.now = 100.0

    def insert(self, *numbers: int, every_s: float = 0.0) -> list[Delivery]:
        deliveries: list[Delivery] = []
        for number in numbers:
            packet = frame(number)
            deliveries += self.buffer.insert(
                packet.sequence, packet.timestamp, packet.payload, self.now
            )
            self.now += every_s
        return deliveries


def test_packets_in_order_pass_at_once() -> None:
    line = Line(10)
    for number in (10, 11, 12):
        assert line.insert(number) == [frame(number)]
    assert line.buffer.idle
    assert line.buffer.next_deadline() is None
    assert line.buffer.next_sequence == 13


def test_first_packet_ever_sets_the_order() -> None:
    buffer = ReorderBuffer()
    assert buffer.next_sequence is None
    assert buffer.insert(65_535, 0, b"", 0.0) == [Frame(65_535, 0, b"")]
    assert buffer.next_sequence == 0


def test_swapped_packets_are_put_right() -> None:
    line = Line(10)
    assert line.insert(11) == []
    assert not line.buffer.idle
    assert line.insert(10) == [frame(10), frame(11)]
    assert line.buffer.idle


def test_a_burst_in_reverse_order_is_put_right() -> None:
    line = Line(10)
    assert line.insert(14, 13, 12, 11) == []
    assert line.insert(10) == [frame(number) for number in range(10, 15)]


def test_a_gap_waits_forty_milliseconds() -> None:
    line = Line(10)
    assert line.insert(12) == []
    assert line.buffer.next_deadline() == pytest.approx(100.040)
    assert line.buffer.expire(100.0399) == []
    assert line.buffer.expire(100.0401) == [Gap(10, 2), frame(12)]
    assert line.buffer.next_sequence == 13


def test_a_gap_is_given_up_by_the_packet_that_comes_after_its_time() -> None:
    line = Line(10)
    assert line.insert(11, 12, every_s=TICK_S) == []
    line.now = 100.041
    assert line.insert(13) == [Gap(10, 1), frame(11), frame(12), frame(13)]


def test_each_gap_waits_for_itself() -> None:
    line = Line(10)
    assert line.insert(11, every_s=0.030) == []
    assert line.insert(13) == []
    assert line.buffer.expire(100.041) == [Gap(10, 1), frame(11)]
    assert line.buffer.next_deadline() == pytest.approx(100.070)
    assert line.buffer.expire(100.071) == [Gap(12, 1), frame(13)]


def test_a_gap_holds_up_eight_packets_at_most() -> None:
    line = Line(10)
    assert line.insert(*range(11, 19)) == []
    assert line.insert(19) == [Gap(10, 1), *map(frame, range(11, 20))]
    assert line.buffer.idle


def test_limits_can_be_set() -> None:
    buffer = ReorderBuffer(max_wait_ms=100, max_packets=1)
    buffer.start(0)
    assert buffer.insert(1, 0, b"", 0.0) == []
    assert buffer.next_deadline() == pytest.approx(0.1)
    assert buffer.insert(2, 0, b"", 0.0) == [Gap(0, 1), Frame(1, 0, b""), Frame(2, 0, b"")]


def test_a_late_packet_is_named_late_and_its_copy_duplicate() -> None:
    line = Line(10)
    line.insert(12)
    line.buffer.expire(101.0)
    assert line.insert(11) == [Drop("late", 11)]
    assert line.insert(11) == [Drop("duplicate", 11)]
    assert line.insert(12) == [Drop("duplicate", 12)]
    assert line.insert(10) == [Drop("late", 10)]
    assert line.insert(9) == [Drop("duplicate", 9)]


def test_a_copy_of_a_held_packet_is_a_duplicate() -> None:
    line = Line(10)
    assert line.insert(12, 12) == [Drop("duplicate", 12)]
    assert line.insert(10, 11) == [frame(10), frame(11), frame(12)]


def test_late_packets_are_known_after_the_fast_path_went_on() -> None:
    line = Line(65_530)
    line.insert(65_532)
    assert line.buffer.expire(101.0) == [Gap(65_530, 2), frame(65_532)]
    line.buffer.start(20)  # 65_533 .. 65_555 came in order, past the buffer
    assert line.insert(65_531) == [Drop("late", 65_531)]
    assert line.insert(65_555) == [Drop("duplicate", 19)]
    assert line.insert(65_556) == [frame(65_556)]


def test_reordering_across_the_wrap() -> None:
    line = Line(65_534)
    assert line.insert(65_537, 65_535, 65_536) == []
    assert line.insert(65_534) == list(map(frame, range(65_534, 65_538)))
    assert line.buffer.next_sequence == 2


def test_a_gap_across_the_wrap() -> None:
    line = Line(65_534)
    line.insert(65_538)
    assert line.buffer.expire(101.0) == [Gap(65_534, 4), frame(65_538)]


def test_widest_gap_that_is_believed() -> None:
    line = Line(0)
    line.insert(2999)
    assert line.buffer.expire(101.0) == [Gap(0, 2999), frame(2999)]


@pytest.mark.parametrize("number", [3000, 40_000, -101])
def test_a_jump_is_not_believed_at_once(number: int) -> None:
    line = Line(0)
    assert line.insert(number) == []
    assert not line.buffer.idle
    assert line.insert(0) == [Drop("sequence-jump", number & 0xFFFF), frame(0)]
    assert line.buffer.idle


def test_two_packets_in_sequence_after_a_jump_start_over() -> None:
    line = Line(10)
    assert line.insert(40_000) == []
    assert line.insert(40_001) == [Resync(40_000), frame(40_000), frame(40_001)]
    assert line.buffer.idle
    assert line.insert(40_002) == [frame(40_002)]


def test_jumps_without_sequence_replace_each_other() -> None:
    line = Line(10)
    assert line.insert(20_000, 30_000, 40_000) == [
        Drop("sequence-jump", 20_000),
        Drop("sequence-jump", 30_000),
    ]
    assert line.insert(40_001)[0] == Resync(40_000)


def test_what_was_held_is_delivered_before_starting_over() -> None:
    line = Line(10)
    assert line.insert(13, 12, 50_000) == []
    assert line.insert(50_001) == [
        Gap(10, 2),
        frame(12),
        frame(13),
        Resync(50_000),
        frame(50_000),
        frame(50_001),
    ]
    assert line.buffer.next_sequence == 50_002


def test_starting_over_at_the_wrap() -> None:
    line = Line(30_000)
    assert line.insert(65_535) == []
    assert line.insert(65_536) == [Resync(65_535), frame(65_535), frame(65_536)]


def test_reset_forgets_all() -> None:
    line = Line(10)
    line.insert(12, 40_000)
    line.buffer.reset()
    assert line.buffer.idle
    assert line.buffer.next_deadline() is None
    assert line.insert(500) == [frame(500)]


@given(st.data())
def test_whatever_comes_is_delivered_in_order_and_accounted_for(data: st.DataObject) -> None:
    """Any loss, doubling and shuffling of 60 packets around the wrap, with any timing."""
    first = data.draw(st.integers(0, 0xFFFF))
    sent = range(first, first + 60)
    arrivals = sorted(
        (number * TICK_S + data.draw(st.floats(0, 0.3)), number)
        for number in sent
        for _ in range(data.draw(st.sampled_from([1, 1, 1, 1, 0, 2])))
    )
    buffer, deliveries = ReorderBuffer(), []
    buffer.start(first)
    for now, number in arrivals:
        packet = frame(number)
        deadline = buffer.next_deadline()
        if deadline is not None and deadline <= now:
            deliveries += buffer.expire(deadline)
        deliveries += buffer.insert(packet.sequence, packet.timestamp, packet.payload, now)
        deadline = buffer.next_deadline()
        assert deadline is None or now < deadline <= now + 0.0401
    deliveries += buffer.expire(1e9)
    assert buffer.idle
    expected = first
    for delivery in deliveries:
        match delivery:
            case Gap(sequence, frames):
                assert (sequence, frames > 0) == (expected & 0xFFFF, True)
                expected += frames
            case Frame():
                assert delivery == frame(expected)
                expected += 1
            case other:
                assert isinstance(other, Drop)
                assert other.rule in {"late", "duplicate"}
    frames = sum(isinstance(delivery, Frame) for delivery in deliveries)
    drops = [delivery for delivery in deliveries if isinstance(delivery, Drop)]
    assert frames + len(drops) == len(arrivals)
    distinct = len({number for _, number in arrivals})
    assert frames + sum(drop.rule == "late" for drop in drops) == distinct


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.floats(0, 1)), max_size=200))
def test_random_numbers_keep_the_buffer_small(packets: list[tuple[int, float]]) -> None:
    buffer, now = ReorderBuffer(), 0.0
    for sequence, pause in packets:
        now += pause
        buffer.insert(sequence, 0, b"", now)
        assert len(buffer._held) <= 8
        assert len(buffer._missing) <= 100
