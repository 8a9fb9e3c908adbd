"""What leaves the plane: spacing, timestamps, keys, pauses."""

from __future__ import annotations

import itertools

import pytest

from sipbot.errors import LocalProtocolError, MediaError
from sipbot.media.stream import Codec
from sipbot.rtp.dtmf import DtmfReceiver
from sipbot.rtp.packet import RtpPacket
from tests.media import kit
from tests.media.kit import Bench, codes, level, spec_for, tone


def departures(bench: Bench, peer: kit.Peer, ticks: int) -> list[tuple[int, RtpPacket]]:
    """(tick counted from now, packet) of what leaves in the next ticks."""
    out = []
    for tick in range(ticks):
        bench.tick()
        out += [(tick, packet) for packet in peer.receive()]
    return out


def test_silence_leaves_every_20_ms_with_continuous_numbers(bench: Bench) -> None:
    _, peer, _ = bench.call()
    sent = departures(bench, peer, 40)
    ticks = [tick for tick, _ in sent]
    assert len(sent) == 10
    assert {after - before for before, after in itertools.pairwise(ticks)} == {4}
    first = sent[0][1]
    for index, (_, packet) in enumerate(sent):
        assert packet.sequence == (first.sequence + index) & 0xFFFF
        assert packet.timestamp == (first.timestamp + 160 * index) & 0xFFFF_FFFF
        assert packet.ssrc == first.ssrc
        assert packet.marker is (index == 0)
        assert packet.payload == b"\xd5" * 160


def test_identifiers_differ_between_calls(bench: Bench) -> None:
    packets = []
    for _ in range(4):
        _, peer, _ = bench.call()
        packets.append(departures(bench, peer, 4)[0][1])
    assert len({packet.ssrc for packet in packets}) == 4
    assert len({packet.sequence for packet in packets}) == 4
    assert all(packet.sequence < 2**15 for packet in packets)


@pytest.mark.parametrize(("ptime", "ticks"), [(10, 2), (20, 4), (30, 6), (60, 12)])
def test_packet_time_is_respected(bench: Bench, ptime: int, ticks: int) -> None:
    stream, peer, _ = bench.call(ptime_ms=ptime)
    stream.write(tone(700, 8 * ptime * 3))
    sent = departures(bench, peer, 5 * ticks)
    assert len(sent) == 5
    assert all(len(packet.payload) == 8 * ptime for _, packet in sent)
    steps = {after[0] - before[0] for before, after in itertools.pairwise(sent)}
    assert steps == {ticks}
    assert [packet.payload[0] for _, packet in sent] == [codes(700, 1)[0]] * 3 + [0xD5] * 2
    assert sent[4][1].timestamp == (sent[0][1].timestamp + 4 * 8 * ptime) & 0xFFFF_FFFF


def test_end_of_speech_is_padded_with_silence(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    stream.write(tone(500, 200))
    sent = [packet for _, packet in departures(bench, peer, 12)]
    assert sent[1].payload == codes(500, 40) + b"\xd5" * 120
    assert (stream.consumed, stream.played, stream.written) == (200, 200, 200)


def test_played_position_and_clear_tell_the_truth(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    stream.write(tone(500, 1600))
    sent = departures(bench, peer, 16)
    assert len(sent) == 4
    assert (stream.consumed, stream.played) == (640, 640)
    stream.clear()
    assert (stream.consumed, stream.played) == (640, 640)  # the plane has yet to obey
    bench.tick()
    assert bench.moved == {stream.slot}
    assert (stream.consumed, stream.played) == (1600, 640)
    assert peer.receive()[0].payload == b"\xd5" * 160
    stream.write(tone(300, 160))
    packets = [packet for _, packet in departures(bench, peer, 8)]
    assert packets[0].payload[0] == codes(300, 1)[0]
    assert (stream.consumed, stream.played) == (1760, 800)


def test_clear_spares_what_is_written_after_it(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    stream.write(tone(500, 320))
    stream.clear()
    stream.write(tone(900, 160))
    sent = departures(bench, peer, 4)
    assert sent[0][1].payload[0] == codes(900, 1)[0]
    assert stream.played == 160


def test_clear_works_while_nothing_is_sent(bench: Bench) -> None:
    stream, _, _ = bench.call(send=False)
    stream.write(tone(500, 320))
    bench.run(40)
    assert stream.consumed == 0
    stream.clear()
    bench.tick()
    assert (stream.consumed, stream.played) == (320, 0)


def test_full_ring_takes_no_more(bench: Bench) -> None:
    stream, _, _ = bench.call()
    room = stream.write(tone(1, 100_000))
    assert room == bench.plane.tx.size
    assert stream.write(tone(1, 160)) == 0


def test_hold_sends_nothing_and_resumes_on_the_same_time_line(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    before = departures(bench, peer, 8)[-1][1]
    spec = spec_for(peer)
    stream.update(spec_for(peer, send=False))
    assert departures(bench, peer, 40) == []
    stream.update(spec)
    after = departures(bench, peer, 8)[0][1]
    assert after.sequence == (before.sequence + 1) & 0xFFFF
    assert after.marker
    assert after.ssrc == before.ssrc
    paused = (after.timestamp - before.timestamp) & 0xFFFF_FFFF
    assert 1600 < paused <= 1600 + 400


def test_codec_change_keeps_the_stream(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    before = departures(bench, peer, 8)[-1][1]
    stream.update(spec_for(peer, codec=Codec.PCMU, payload_type=0, ptime_ms=30))
    stream.write(tone(500, 240))
    after = departures(bench, peer, 8)[0][1]
    assert (after.payload_type, len(after.payload)) == (0, 240)
    assert after.payload[0] == codes(500, 1, "PCMU")[0]
    assert after.sequence == (before.sequence + 1) & 0xFFFF
    assert (after.timestamp - before.timestamp) & 0xFFFF_FFFF == 160
    peer.payload_type = 0
    peer.send(peer.packet(codes(321, 160, "PCMU")))
    bench.tick()
    assert (stream.read() == level(321, "PCMU")).all()


def test_two_codecs_and_two_sizes_in_one_tick(bench: Bench) -> None:
    calls = [
        bench.call(codec=codec, payload_type=payload_type, ptime_ms=ptime)
        for codec, payload_type in ((Codec.PCMA, 8), (Codec.PCMU, 0))
        for ptime in (20, 40)
    ]
    for stream, peer, _ in calls:
        stream.write(tone(500, 640))
        peer.payload_type = 0 if calls.index((stream, peer, _)) >= 2 else 8
    bench.run(100)
    for index, (_, peer, _heard) in enumerate(calls):
        codec = "PCMU" if index >= 2 else "PCMA"
        packets = peer.receive()
        assert b"".join(packet.payload for packet in packets)[:640] == codes(500, 640, codec)


def test_keys_replace_audio_and_audio_waits(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    departures(bench, peer, 4)
    stream.write(tone(500, 320))
    seconds = stream.send_dtmf("12", 60, 60)
    assert seconds == pytest.approx(0.26)
    sent = departures(bench, peer, 80)
    receiver, digits = DtmfReceiver(), []
    for tick, packet in sent:
        if packet.payload_type == 101:
            digit = receiver.receive(packet.payload, packet.timestamp, packet.marker, tick * 0.005)
            digits += [digit] if digit else []
    assert digits == ["1", "2"]
    numbers = [packet.sequence for _, packet in sent]
    assert numbers == [(numbers[0] + index) & 0xFFFF for index in range(len(numbers))]
    events = [packet for _, packet in sent if packet.payload_type == 101]
    assert [packet.marker for packet in events].count(True) == 2
    assert len({packet.timestamp for packet in events}) == 2
    voice = [packet for _, packet in sent if packet.payload_type == 8]
    assert sum(packet.payload.count(codes(500, 1)) for packet in voice) == 320
    audio_times = [packet.timestamp for packet in voice]
    assert all((time - audio_times[0]) % 160 == 0 for time in audio_times)


def test_keys_are_bounded_and_need_negotiation(bench: Bench) -> None:
    stream, _, _ = bench.call()
    with pytest.raises(LocalProtocolError):
        stream.send_dtmf("x")
    for _ in range(8):
        stream.send_dtmf("1")
    with pytest.raises(MediaError):
        stream.send_dtmf("1")
    other, _, _ = bench.call(dtmf_payload_type=None)
    with pytest.raises(MediaError):
        other.send_dtmf("1")


def test_stall_leaves_no_burst_and_no_standing_delay(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    before = departures(bench, peer, 8)[-1][1]
    bench.stall(2.0)
    after = peer.receive()
    assert len(after) == 1
    assert after[0].marker
    assert after[0].sequence == (before.sequence + 1) & 0xFFFF
    behind = (after[0].timestamp - before.timestamp) & 0xFFFF_FFFF
    assert 16_000 - 160 <= behind <= 16_000 + 160
    sent = departures(bench, peer, 20)
    assert len(sent) == 5
    assert not any(packet.marker for _, packet in sent)
    assert stream.stats().late_departures == 1
    assert bench.plane.counters.missed_ticks >= 398


def test_nobody_to_send_to(bench: Bench) -> None:
    stream, peer, _ = bench.call(expect=("0.0.0.0", 4000))
    bench.run(100)
    assert peer.receive() == []
    assert stream.stats().packets_sent == 0


def test_sent_statistics(bench: Bench) -> None:
    stream, _, _ = bench.call()
    bench.run(200)
    stats = stream.stats()
    assert (stats.packets_sent, stats.bytes_sent) == (10, 1600)


def test_peer_that_is_gone_does_not_stop_the_stream(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    peer.say(100)
    bench.tick()  # locked: the socket is connected
    peer.rtp.close()
    bench.run(200)
    assert stream.stats().packets_sent >= 9
    assert bench.plane.counters.icmp_errors > 0


def test_ipv6(bench: Bench) -> None:
    stream, peer, _ = bench.call("::1")
    peer.say(400)
    bench.tick()
    assert (stream.read() == level(400)).all()
    stream.write(tone(250, 160))
    assert departures(bench, peer, 8)[0][1].payload == codes(250, 160)
