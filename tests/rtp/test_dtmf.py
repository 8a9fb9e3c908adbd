from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipbot.errors import LocalProtocolError, RtpError
from sipbot.rtp.dtmf import KEYS, DtmfReceiver, DtmfSender
from sipbot.rtp.sequence import add32

TICK_S = 0.020
UNITS = 160  # RTP timestamp units of a tick


@dataclass(frozen=True)
class Event:
    """One telephone-event packet on its way, at ``tick`` (20 ms) of the script."""

    tick: int
    code: int
    timestamp: int
    duration: int
    end: bool = False
    marker: bool = False

    @property
    def payload(self) -> bytes:
        return struct.pack("!BBH", self.code, 0x80 * self.end | 10, self.duration)


def press(key: str, tick: int, packets: int = 5, origin: int = 0) -> list[Event]:
    """A key as RFC 4733 wants it: ``packets`` updates, the last an end, which is sent 3 times."""
    code, start = KEYS.index(key), add32(origin, tick * UNITS)
    events = [
        Event(tick + step, code, start, (step + 1) * UNITS, marker=step == 0)
        for step in range(packets)
    ]
    last = replace(events[-1], end=True)
    return [
        *events[:-1],
        last,
        replace(last, tick=last.tick + 1),
        replace(last, tick=last.tick + 2),
    ]


def heard(events: list[Event], receiver: DtmfReceiver | None = None) -> str:
    """The keys a receiver tells for packets in this order, one at its tick."""
    receiver = receiver or DtmfReceiver()
    keys = [
        receiver.receive(event.payload, event.timestamp, event.marker, 100 + event.tick * TICK_S)
        for event in events
    ]
    return "".join(key for key in keys if key)


def without_markers(events: list[Event]) -> list[Event]:
    return [replace(event, marker=False) for event in events]


def test_every_key_once() -> None:
    for key in KEYS:
        assert heard(press(key, 0)) == key


def test_told_at_the_first_packet() -> None:
    first = press("7", 0)[0]
    assert DtmfReceiver().receive(first.payload, 0, True, 0.0) == "7"


def test_without_marker_bits() -> None:
    assert heard(without_markers(press("1", 0) + press("2", 20) + press("2", 40))) == "122"


def test_marker_on_every_packet() -> None:
    assert heard([replace(event, marker=True) for event in press("4", 0)]) == "4"


@pytest.mark.parametrize("lost", range(7))
def test_first_packets_lost(lost: int) -> None:
    assert heard(press("5", 0)[lost:]) == "5"


@pytest.mark.parametrize("marked", [True, False])
def test_end_packets_lost_between_equal_keys(marked: bool) -> None:
    events = press("9", 0)[:4] + press("9", 8)[:4] + press("9", 16)
    assert heard(events if marked else without_markers(events)) == "999"


def test_end_packets_repeated_often() -> None:
    events = press("3", 0)
    events += [replace(events[-1], tick=7 + extra) for extra in range(30)]
    assert heard(events) == "3"


def test_two_quick_equal_keys_count_twice() -> None:
    assert heard(press("0", 0, packets=2) + press("0", 5, packets=2)) == "00"
    assert heard(without_markers(press("0", 0, packets=2) + press("0", 4, packets=2))) == "00"


def test_quick_different_keys_without_a_pause() -> None:
    events = without_markers(press("1", 0)[:5] + press("2", 5)[:5] + press("3", 10))
    assert heard(events) == "123"


def test_next_key_overtakes_the_ends_of_the_one_before() -> None:
    first, second = press("1", 0), press("2", 6)
    assert heard(first[:5] + second[:3] + first[5:] + second[3:]) == "12"
    again = press("1", 6)
    assert heard(first[:5] + again[:3] + first[5:] + again[3:]) == "11"


def test_packets_of_one_key_in_any_order() -> None:
    events = press("6", 0)
    assert heard([events[2], events[0], events[5], events[1], events[4], events[3]]) == "6"


def test_every_packet_doubled() -> None:
    events = [event for event in press("1", 0) + press("1", 10) for _ in range(2)]
    assert heard(events) == "11"


def long_press(segments: int) -> list[Event]:
    """RFC 4733 section 2.5.1.3: a key held beyond 0xFFFF units is told in segments."""
    events: list[Event] = []
    for segment in range(segments):
        start = segment * 0xFFFF
        events += [
            Event((start + duration) // UNITS, 8, start, duration)
            for duration in (*range(UNITS, 0xFFFF, UNITS), 0xFFFF)
        ]
    events[0] = replace(events[0], marker=True)
    return [*events, *(replace(events[-1], end=True) for _ in range(3))]


def test_a_key_held_for_half_a_minute() -> None:
    assert heard(long_press(3)) == "8"


def test_a_long_key_whose_segment_border_is_lost() -> None:
    events = long_press(2)
    border = next(index for index, event in enumerate(events) if event.timestamp == 0xFFFF)
    assert heard(events[: border - 8] + events[border + 5 :]) == "8"


def test_a_long_key_with_short_segments() -> None:
    events = [Event(10 * s + d, 8, 1600 * s, 160 * (d + 1)) for s in range(4) for d in range(10)]
    assert heard(events) == "8"


def test_equal_key_after_a_long_one() -> None:
    events = long_press(2)
    tick = events[-1].tick + 3
    assert heard(events + without_markers(press("8", tick))) == "88"


def test_a_sender_that_moves_the_timestamp_on_with_each_packet() -> None:
    creeping = [
        replace(event, timestamp=event.timestamp + UNITS * index)
        for index, event in enumerate(press("5", 0))
    ]
    assert heard(creeping) == "5"
    later = [replace(event, tick=event.tick + 20, timestamp=event.timestamp + 20 * UNITS)
             for event in creeping]  # fmt: skip
    assert heard(creeping + later) == "55"


def test_timestamps_wrap() -> None:
    origin = 2**32 - 5 * UNITS
    events = press("1", 0, origin=origin) + press("1", 10, origin=origin)
    assert heard(events) == "11"
    held = long_press(2)
    held = [replace(event, timestamp=add32(event.timestamp, 2**32 - 0x8000)) for event in held]
    assert heard(held) == "8"


def test_timestamp_that_starts_over_on_the_same_source() -> None:
    """A gateway that switches its media source inside a call: an old timestamp, much later."""
    assert heard(press("1", 0, origin=2_000_000) + press("2", 100)) == "12"


def test_frozen_timestamps() -> None:
    """A broken sender that uses one timestamp for all keys is understood if keys are slow."""
    events = press("1", 0) + press("1", 100)
    assert heard([replace(event, timestamp=7) for event in events]) == "11"


def test_a_held_key_after_a_long_burst_of_loss() -> None:
    events = press("1", 0, packets=200)
    assert heard(events[:20] + events[120:]) == "1"


def test_reset_for_a_new_source() -> None:
    receiver = DtmfReceiver()
    assert heard(press("1", 0, origin=5_000_000), receiver) == "1"
    receiver.reset()
    assert heard(press("1", 8), receiver) == "1"


def test_events_that_are_no_keys() -> None:
    for code in (16, 64, 255):
        assert heard([Event(0, code, 0, 160, marker=True)]) == ""
    flash = [Event(5, 16, 900, 160), Event(6, 16, 900, 320, end=True)]
    assert heard(press("1", 0)[:5] + flash + press("1", 0)[5:]) == "1"


def test_payload_of_any_length() -> None:
    payload = press("1", 0)[0].payload
    for length in range(4):
        with pytest.raises(RtpError, match="dtmf-short"):
            DtmfReceiver().receive(payload[:length], 0, True, 0.0)
    assert DtmfReceiver().receive(payload + b"\0\0", 0, True, 0.0) == "1"


@given(st.lists(st.tuples(st.binary(max_size=6), st.integers(0, 2**32 - 1), st.booleans())))
def test_any_payload_gives_a_key_nothing_or_an_rtp_error(
    packets: list[tuple[bytes, int, bool]],
) -> None:
    receiver = DtmfReceiver()
    for tick, (payload, timestamp, marker) in enumerate(packets):
        try:
            key = receiver.receive(payload, timestamp, marker, tick * TICK_S)
        except RtpError:
            assert len(payload) < 4
        else:
            assert key is None or (key in KEYS and key == KEYS[payload[0]])


SCRIPT = st.lists(
    st.tuples(st.sampled_from(KEYS), st.integers(2, 20), st.integers(2, 30)), max_size=12
)  # key, packets while held, packet times of pause


@given(SCRIPT, st.integers(0, 2**32 - 1), st.booleans(), st.randoms(use_true_random=False))
def test_no_key_is_lost_or_doubled_while_one_packet_of_each_arrives(
    script: list[tuple[str, int, int]], origin: int, marked: bool, random: Random
) -> None:
    tick, events = 0, []
    for key, packets, pause in script:
        sent = press(key, tick, packets, origin)
        kept = [event for event in sent if random.random() > 0.5]
        events += kept or [sent[int(random.random() * len(sent))]]
        tick += packets + pause
    events.sort(key=lambda event: event.tick)
    assert heard(events if marked else without_markers(events)) == "".join(s[0] for s in script)


def played(sender: DtmfSender) -> list[tuple[int, Event]]:
    """(tick, packet) for each packet of a sender, with the timestamp a plane would give it."""
    events = []
    for tick in range(10_000):
        if sender.done:
            break
        packet = sender.next_packet()
        if packet is not None:
            code, flags, duration = struct.unpack("!BBH", packet.payload)
            stamp = packet.timestamp(tick * UNITS)
            events.append((tick, Event(tick, code, stamp, duration, flags >= 128, packet.marker)))
    return events


def test_one_key_as_sent() -> None:
    sender = DtmfSender("5", 100, 60)
    assert sender.remaining_ms == 160
    events = played(sender)
    assert [tick for tick, _ in events] == [0, 1, 2, 3, 4, 5, 6]
    assert [event.duration for _, event in events] == [160, 320, 480, 640, 800, 800, 800]
    assert [event.end for _, event in events] == [False] * 4 + [True] * 3
    assert [event.marker for _, event in events] == [True] + [False] * 6
    assert {event.timestamp for _, event in events} == {0}
    assert sender.remaining_ms == 0
    assert sender.next_packet() is None


def test_gap_between_keys() -> None:
    events = played(DtmfSender("12", 100, 200))
    starts = [tick for tick, event in events if event.marker]
    assert starts == [0, 15]  # 100 ms held, 200 ms pause
    assert [event.timestamp for _, event in events] == [0] * 7 + [15 * UNITS] * 7


def test_times_are_rounded_up_to_packets() -> None:
    sender = DtmfSender("1", 90, 70, packet_ms=30)
    assert sender.remaining_ms == 90 + 90
    assert [event.duration for _, event in played(sender)] == [240, 480, 720, 720, 720]


def test_timestamp_of_a_packet_wraps() -> None:
    sender = DtmfSender("1")
    sender.next_packet()
    packet = sender.next_packet()
    assert packet is not None
    assert packet.timestamp(100) == 2**32 - 60


@given(st.text(KEYS + "abcd", max_size=20), st.integers(40, 6000), st.integers(40, 1000))
def test_what_is_sent_is_heard(digits: str, duration_ms: int, gap_ms: int) -> None:
    events = [event for _, event in played(DtmfSender(digits, duration_ms, gap_ms))]
    assert heard(events) == digits.upper()
    assert heard(without_markers(events)) == digits.upper()
    assert all(event.duration <= 0xFFFF for event in events)


@pytest.mark.parametrize(
    ("digits", "duration_ms", "gap_ms"),
    [
        ("12x", 100, 60),
        ("1 2", 100, 60),
        ("1" * 65, 100, 60),
        ("1", 39, 60),
        ("1", 6001, 60),
        ("1", 100, 39),
        ("1", 100, 6001),
    ],
)
def test_what_cannot_be_sent(digits: str, duration_ms: int, gap_ms: int) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        DtmfSender(digits, duration_ms, gap_ms)
    assert digits not in str(caught.value) or digits == "1"  # keys are private


def test_no_key_is_done_at_once() -> None:
    sender = DtmfSender("")
    assert sender.done
    assert sender.next_packet() is None
