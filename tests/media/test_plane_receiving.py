"""What arrives at the plane and comes out of the ring."""

from __future__ import annotations

import numpy as np
import pytest

from sipbot.media.handle import MediaStream
from tests.media.kit import Bench, codes, level, spec_for, tone


def test_packets_in_order_are_heard_at_the_next_tick(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    for value in (100, 200, 300):
        peer.say(value)
        bench.tick()
        assert bench.moved == {stream.slot}
        assert (stream.read() == level(value)).all()
        bench.tick(3)
    stats = stream.stats()
    assert (stats.packets_received, stats.lost, stats.dropped) == (3, 0, ())
    assert stats.bytes_received == 480
    assert stream.received == 480


def test_burst_waiting_in_the_socket_is_taken_in_one_tick(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    for value in range(100, 1000, 100):
        peer.say(value)
    bench.tick()
    heard = stream.read().reshape(-1, 160)
    assert heard[:, 0].tolist() == [level(value) for value in range(100, 1000, 100)]


def test_sequence_and_timestamp_wrap(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    peer.sequence, peer.timestamp = 65_533, 2**32 - 400
    for value in range(100, 900, 100):
        peer.say(value)
        bench.tick(4)
    heard = stream.read().reshape(-1, 160)
    assert heard[:, 0].tolist() == [level(value) for value in range(100, 900, 100)]
    stats = stream.stats()
    assert (stats.lost, stats.packets_received, stats.concealed) == (0, 8, 0)


def test_two_swapped_packets_are_put_right(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    first, second, third, fourth = (peer.packet(codes(value)) for value in (100, 200, 300, 400))
    for packet in (first, third, second, fourth):
        peer.send(packet)
        bench.tick(4)
    assert stream.read().reshape(-1, 160)[:, 0].tolist() == [
        level(value) for value in (100, 200, 300, 400)
    ]
    stats = stream.stats()
    assert (stats.reordered, stats.lost, stats.concealed) == (1, 0, 0)


def test_gap_waits_then_is_concealed(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    for _ in range(5):
        peer.say(1000)
        bench.tick(4)
    stream.read()
    peer.skip()
    peer.say(1000)
    bench.tick()
    assert len(stream.read()) == 0
    bench.run(45)
    heard = stream.read()
    assert len(heard) == 320
    assert int(np.abs(heard[:80]).min()) > 500  # made up from what was heard, not silence
    peer.say(1000)
    bench.tick()
    assert (stream.read() == level(1000)).all()
    stats = stream.stats()
    assert (stats.lost, stats.concealed) == (1, 1)


def test_audio_both_ways(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    assert stream.write(tone(500, 320)) == 320
    bench.run(60)
    packets = peer.receive()
    assert len(packets) == 3
    assert [packet.payload[0] for packet in packets] == [codes(500, 1)[0]] * 2 + [0xD5]
    assert (stream.consumed, stream.played) == (320, 320)


def heard_frames(stream: MediaStream) -> list[int]:
    return [int(value) for value in stream.read().reshape(-1, 160)[:, 0]]


def test_duplicates_are_dropped(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    for value in (100, 200, 300):
        packet = peer.packet(codes(value))
        peer.send(packet)
        peer.send(packet)
        bench.tick(4)
    assert heard_frames(stream) == [level(value) for value in (100, 200, 300)]
    stats = stream.stats()
    assert stats.duplicates == 3
    assert dict(stats.dropped) == {"duplicate": 3}


def test_packet_after_its_place_was_concealed_is_late(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    peer.say(100)
    bench.tick(4)
    overdue = peer.packet(codes(200))
    for _ in range(4):
        peer.say(300)
        bench.tick(4)
    peer.send(overdue)
    bench.tick()
    assert len(stream.read()) == 6 * 160
    stats = stream.stats()
    assert (stats.late, stats.concealed, stats.reordered) == (1, 1, 0)


def test_long_gap_ends_in_silence_and_keeps_time(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    for _ in range(3):
        peer.say(1000)
        bench.tick(4)
    stream.read()
    peer.skip(5)
    peer.say(1000)
    bench.run(45)
    heard = stream.read()
    assert len(heard) == 6 * 160
    assert np.abs(heard[480:800]).max() == 0  # beyond 60 ms nothing is made up
    assert stream.stats().concealed == 3


def test_talk_pause_is_filled_with_silence(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    peer.say(100)
    bench.tick(4)
    peer.timestamp += 400  # 50 ms of pause, no packet missing
    bench.tick(10)
    peer.say(200, marker=True)
    bench.tick()
    heard = stream.read()
    assert len(heard) == 160 + 400 + 160
    assert (heard[160:560] == 0).all()
    stats = stream.stats()
    assert (stats.lost, stats.concealed) == (0, 0)


def test_time_goes_on_while_nothing_comes(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    peer.say(100)
    bench.tick()
    bench.run(1_000)
    silent = stream.received - 160
    assert 1_000 * 8 - 800 - 320 <= silent <= 1_000 * 8 - 800 + 160
    peer.timestamp += 8_000 - 160
    peer.say(200)
    bench.tick()
    assert abs(stream.received - (8_000 + 160)) <= 160
    assert int(stream.read()[-1]) == level(200)


def test_delayed_packets_are_all_delivered_after_the_silence(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    peer.say(100)
    bench.tick()
    stream.read()
    bench.run(300)
    for value in range(200, 1700, 100):
        peer.say(value)
    bench.tick()
    heard = [value for value in heard_frames(stream) if value]
    assert heard == [level(value) for value in range(200, 1700, 100)]
    assert stream.stats().lost == 0


def test_wide_timestamp_jump_is_a_new_time_line(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    peer.say(100)
    bench.tick()
    peer.timestamp += 1_000_000
    peer.say(200)
    bench.tick()
    assert heard_frames(stream) == [level(100), level(200)]
    assert dict(stream.stats().dropped) == {"timestamp-jump": 1}


def test_wide_sequence_jump_is_believed_when_it_goes_on(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    peer.say(100)
    bench.tick(4)
    peer.sequence += 20_000
    for value in (200, 300, 400):
        peer.say(value)
        bench.tick(4)
    assert heard_frames(stream) == [level(value) for value in (100, 200, 300, 400)]


@pytest.mark.parametrize("samples", [80, 240, 480, 77, 160])
def test_other_packet_times_and_odd_lengths(bench: Bench, samples: int) -> None:
    stream, peer, _ = bench.call()
    for value in (100, 200, 300, 400):
        peer.say(value, samples)
        bench.tick(4)
    heard = stream.read()
    assert len(heard) == 4 * samples
    assert heard[::samples].tolist() == [level(value) for value in (100, 200, 300, 400)]
    assert stream.stats().lost == 0


def test_key_presses_arrive_once(bench: Bench) -> None:
    stream, peer, heard = bench.call()
    for _ in range(3):
        peer.say(100)
        bench.tick(4)
    for key in (5, 11):
        start = peer.timestamp
        for step in range(1, 6):
            ended = 0x80 if step == 5 else 0
            event = bytes((key, ended | 10)) + (160 * step).to_bytes(2, "big")
            peer.send(peer.packet(event, payload_type=101, timestamp=start, marker=step == 1))
            bench.tick(4)
        peer.timestamp = start + 800
        peer.say(100)
        bench.tick(4)
    assert heard.digits == ["5", "#"]
    assert stream.stats().lost == 0
    assert stream.received == (3 + 2) * 160 + 2 * 800


def test_short_key_packet_is_named(bench: Bench) -> None:
    stream, peer, heard = bench.call()
    peer.send(peer.packet(b"\x01", payload_type=101))
    bench.tick()
    assert heard.digits == []
    assert dict(stream.stats().dropped) == {"dtmf-short": 1}


def test_comfort_noise_is_a_pause(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    peer.say(100)
    bench.tick(4)
    peer.send(peer.packet(b"\x40", payload_type=13))
    peer.timestamp += 159
    bench.tick(4)
    peer.say(200)
    bench.tick()
    heard = stream.read()
    assert len(heard) == 480
    assert (heard[160:320] == 0).all()
    assert stream.stats().dropped == ()


def test_hold_hears_nothing_and_has_no_timeout(bench: Bench) -> None:
    stream, peer, heard = bench.call()
    peer.say(100)
    bench.tick()
    stream.update(spec_for(peer, receive=False))
    received = stream.received
    peer.say(200)
    bench.run(120_000)
    assert heard.timeouts == 0
    assert stream.received == received
    assert dict(stream.stats().dropped) == {"not-receiving": 1}
    stream.update(spec_for(peer))
    stream.read()
    peer.say(300)
    bench.tick()
    assert (stream.read() == level(300)).all()


def test_a_peer_that_holds_us_may_be_silent(bench: Bench) -> None:
    """Hold by ``sendonly`` without music: we may not send, and nothing comes."""
    stream, peer, heard = bench.call()
    peer.say(100)
    bench.tick()
    stream.update(spec_for(peer, send=False))
    bench.run(120_000)
    assert heard.timeouts == 0
    stream.update(spec_for(peer))
    bench.run(29_900)
    assert heard.timeouts == 0  # the time on hold does not count
    bench.run(300)
    assert heard.timeouts == 1


def test_media_timeout_is_told_once(bench: Bench) -> None:
    stream, peer, heard = bench.call()
    peer.say(100)
    bench.tick()
    bench.run(29_900)
    assert heard.timeouts == 0
    bench.run(300)
    assert heard.timeouts == 1
    bench.run(60_000)
    assert heard.timeouts == 1
    assert stream.stats().overruns > 0  # nobody read


def test_media_timeout_before_the_first_packet(bench: Bench) -> None:
    _, _, heard = bench.call()
    bench.run(59_900)
    assert heard.timeouts == 0
    bench.run(300)
    assert heard.timeouts == 1


def test_keys_keep_a_call_alive(bench: Bench) -> None:
    _, peer, heard = bench.call()
    peer.say(100)
    for _ in range(3):
        bench.run(20_000)
        peer.send(peer.packet(b"\x01\x8a\x01\x00", payload_type=101))
    bench.run(20_000)
    assert heard.timeouts == 0


def test_slow_reader_loses_the_newest_and_it_is_counted(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    for _ in range(110):
        peer.say(100)
        bench.tick(4)
    size = bench.plane.rx.size
    assert stream.stats().overruns == 110 * 160 - size
    assert stream.received == 110 * 160
    assert len(stream.read()) == size
    peer.say(200)
    bench.tick()
    assert heard_frames(stream) == [level(200)]


def test_stall_delivers_everything_that_waited(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    peer.say(100)
    bench.tick()
    stream.read()
    values = [100 + 50 * step for step in range(90)]
    for value in values:
        peer.say(value)
    bench.stall(1.8)
    assert heard_frames(stream) == [level(value) for value in values]


def test_loopback_echoes_and_does_not_queue_after_a_stall(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    stream.loopback(True)
    sent, back = [], []
    for value in range(100, 2100, 100):
        sent.append(codes(value))
        peer.say(value)
        bench.tick(4)
        back += [packet.payload for packet in peer.receive()]
    echoed = [payload for payload in back if payload in sent]
    assert echoed == sent[: len(echoed)]
    assert len(echoed) >= len(sent) - 2
    assert len(stream.read()) == 0
    for _ in range(90):
        peer.say(5000)
    bench.stall(1.8)
    assert stream.written - stream.consumed <= 320
    peer.receive()
    peer.say(9000)
    bench.tick(4)
    for _ in range(4):
        peer.say(9000)
        bench.tick(4)
    assert codes(9000) in [packet.payload for packet in peer.receive()]


def test_standing_echo_delay_is_worked_off(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    stream.loopback(True)
    peer.say(100)
    bench.tick(4)
    peer.say(100)  # two at once: from here on one more waits than need be
    for _ in range(60):
        peer.say(100)
        bench.tick(4)
    assert stream.written - stream.consumed <= 160


def test_loopback_can_be_turned_off(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    stream.loopback(True)
    peer.say(100)
    bench.tick(4)
    stream.loopback(False)
    for _ in range(2):
        peer.say(200)
        bench.tick(4)
    assert heard_frames(stream) == [level(200), level(200)]


def test_departures_follow_arrivals(bench: Bench) -> None:
    """An answer that is ready within 10 ms of a packet leaves within 10 ms of it."""
    stream, peer, _ = bench.call()
    bench.tick(3)
    peer.receive()
    waits = []
    for _ in range(10):
        peer.say(100)
        bench.tick()
        for waited in range(4):
            waits += [waited] * len(peer.receive())
            bench.tick() if waited < 3 else None
    assert set(waits[-8:]) == {2}
    assert stream.stats().late_departures == 0


def test_arrivals_that_meet_departures_are_moved_apart(bench: Bench) -> None:
    """A phase in which now the packet, now its departure comes first, does not last."""
    stream, peer, _ = bench.call()
    stream.loopback(True)
    for _ in range(40):
        peer.say(100)
        bench.tick(4)
    bench.tick(2)  # from here on packets come in the very tick of the departures
    for late in (0, 1, -1):  # one of them comes a tick late, the next one in time
        peer.say(100)
        bench.tick(4 + late)
    assert stream.written - stream.consumed >= 160
    waits = []
    for _ in range(80):
        peer.say(100)
        bench.tick()
        for waited in range(4):
            waits += [waited] * len(peer.receive())
            if waited < 3:
                bench.tick()
    assert set(waits[1:40]) == {0}
    assert set(waits[-10:]) == {2}
    assert stream.written - stream.consumed <= 160


def test_alignment_is_looked_at_again_when_arrivals_are_regular(bench: Bench) -> None:
    """The first packet waited for the call's set-up and came at an odd moment."""
    _, peer, _ = bench.call()
    peer.say(100)
    bench.tick(2)
    for _ in range(40):
        peer.say(100)
        bench.tick(4)
    waits = []
    peer.receive()
    for _ in range(10):
        peer.say(100)
        bench.tick()
        for waited in range(4):
            waits += [waited] * len(peer.receive())
            if waited < 3:
                bench.tick()
    assert set(waits[1:]) == {2}
