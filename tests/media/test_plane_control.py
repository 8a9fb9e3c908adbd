"""RTCP, SRTP, slots and ports, listeners: all but the audio itself."""

from __future__ import annotations

import itertools

import pytest

from sipbot.errors import LocalProtocolError, MediaError, PortsExhausted
from sipbot.media.handle import MediaStream
from sipbot.media.plane import MediaPlane, PlaneConfig
from sipbot.media.ports import PortPool
from sipbot.media.rings import RingBlock
from sipbot.media.stream import SrtpKey
from sipbot.rtp import rtcp
from sipbot.rtp.packet import RtpPacket
from sipbot.rtp.srtp import SrtpPair
from tests.media import kit
from tests.media.kit import Bench, codes, level, spec_for, tone

OURS = SrtpKey("AES_CM_128_HMAC_SHA1_80", bytes(range(30)))
THEIRS = SrtpKey("AES_CM_128_HMAC_SHA1_80", bytes(range(40, 70)))
FRESH = SrtpKey("AES_CM_128_HMAC_SHA1_32", bytes(range(80, 110)))


def reports(peer: kit.Peer) -> list[tuple[rtcp.RtcpPacket, ...]]:
    return [rtcp.parse(data) for data in peer.receive_rtcp()]


def control_port(peer: kit.Peer) -> tuple[str, int]:
    return peer.to[0], peer.to[1] + 1


# --- RTCP -----------------------------------------------------------------------------------------


def test_sender_reports_tell_what_was_sent_and_heard(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    for turn in range(400):
        if turn == 100:
            peer.skip(4)
        peer.say(100)
        bench.tick(4)
        stream.read()
    compounds = reports(peer)
    assert 1 <= len(compounds) <= 4
    report, description = compounds[-1]
    assert isinstance(report, rtcp.SenderReport)
    assert isinstance(description, rtcp.SourceDescription)
    assert description.chunks[0].cname == b"sipbot"
    assert report.octets == 160 * report.packets
    block = report.reports[0]
    assert (block.ssrc, block.cumulative_lost) == (peer.ssrc, 4)
    sent = peer.receive()
    ours = sent[0]
    assert report.ssrc == ours.ssrc
    # The two times of a report are one instant: the RTP one lies on our packets' time line.
    elapsed = rtcp.wall_from_ntp(report.ntp) - rtcp.wall_from_ntp(
        first.ntp if isinstance(first := compounds[0][0], rtcp.SenderReport) else 0
    )
    if len(compounds) > 1 and isinstance(first, rtcp.SenderReport):
        ticked = (report.rtp_timestamp - first.rtp_timestamp) & 0xFFFF_FFFF
        assert ticked == pytest.approx(elapsed * 8_000, abs=16)


def test_receiver_report_while_we_send_nothing(bench: Bench) -> None:
    _, peer, _ = bench.call(send=False)
    for _ in range(200):
        peer.say(100)
        bench.tick(4)
    assert isinstance(reports(peer)[0][0], rtcp.ReceiverReport)


def test_round_trip_and_what_the_peer_lost(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    ours = None
    while ours is None:
        bench.tick()
        for compound in reports(peer):
            ours = compound[0]
    assert isinstance(ours, rtcp.SenderReport)
    bench.run(250)
    block = rtcp.ReportBlock(
        ssrc=ours.ssrc,
        fraction_lost=0,
        cumulative_lost=7,
        highest_sequence=1,
        jitter=80,
        last_sr=rtcp.middle32(ours.ntp),
        delay_since_last_sr=int(0.1 * 65_536),
    )
    theirs = rtcp.serialize((rtcp.SenderReport(peer.ssrc, 1 << 32, 0, 1, 160, (block,)),))
    peer.rtcp.sendto(theirs, control_port(peer))
    bench.tick()
    stats = stream.stats()
    assert stats.round_trip_ms == pytest.approx(155, abs=6)
    assert (stats.remote_lost, stats.remote_jitter_ms) == (7, 10.0)


def test_jitter_of_an_even_stream_is_small_and_of_an_uneven_one_is_not(bench: Bench) -> None:
    even, one, _ = bench.call()
    uneven, two, _ = bench.call()
    for turn in range(100):
        one.say(100)
        if turn % 2:
            two.say(100)
            two.say(100)
        bench.tick(4)
        even.read(), uneven.read()
    assert even.stats().jitter_ms == 0
    assert 5 < uneven.stats().jitter_ms < 25


def test_rtcp_from_a_stranger_and_garbage_are_counted(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    peer.rtcp.sendto(b"\x81\xc9\x00\x00", control_port(peer))
    bench.tick()
    assert dict(stream.stats().dropped) == {"rtcp-short": 1}


def test_rtcp_on_the_rtp_port_is_understood(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    peer.say(100)
    bench.tick()
    ssrc = peer.receive()
    bench.run(40)
    ssrc += peer.receive()
    block = rtcp.ReportBlock(ssrc[0].ssrc, 0, 3, 1, 8)
    peer.send(rtcp.serialize((rtcp.ReceiverReport(peer.ssrc, (block,)),)))
    bench.tick()
    assert stream.stats().remote_lost == 3
    assert stream.stats().dropped == ()


def test_goodbye_when_closed(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    bench.run(40)
    ours = peer.receive()[0].ssrc
    stream.close()
    goodbye = reports(peer)[-1][-1]
    assert goodbye == rtcp.Bye((ours,))


# --- SRTP -----------------------------------------------------------------------------------------


def secure_call(bench: Bench) -> tuple[MediaStream, kit.Peer, SrtpPair]:
    stream, peer, _ = bench.call(srtp_send=OURS, srtp_receive=THEIRS)
    return stream, peer, SrtpPair((THEIRS.suite, THEIRS.key), (OURS.suite, OURS.key))


def test_srtp_both_ways(bench: Bench) -> None:
    stream, peer, crypto = secure_call(bench)
    stream.write(tone(700, 480))
    heard: list[RtpPacket] = []
    for value in (100, 200, 300, 400):
        peer.send(crypto.protect(peer.packet(codes(value)).serialize()))
        bench.tick(4)
        heard += [RtpPacket.parse(crypto.unprotect(data)) for data in kit.drain(peer.rtp)]
    assert stream.read().reshape(-1, 160)[:, 0].tolist() == [
        level(value) for value in (100, 200, 300, 400)
    ]
    assert [packet.payload[0] for packet in heard][:3] == [codes(700, 1)[0]] * 3
    assert stream.stats().dropped == ()
    assert stream.stats().bytes_received == 640


def test_plain_packets_are_refused_where_keys_were_agreed(bench: Bench) -> None:
    stream, peer, crypto = secure_call(bench)
    peer.send(crypto.protect(peer.packet(codes(100)).serialize()))
    bench.tick()
    for _ in range(3):
        peer.say(9000)
        bench.tick()
    assert dict(stream.stats().dropped) == {"srtp-auth": 3}
    assert (stream.read() == level(100)).all()


def test_forged_packets_do_not_win_the_source(bench: Bench) -> None:
    stream, peer, _ = bench.call(expect=("127.0.0.1", 9), srtp_send=OURS, srtp_receive=THEIRS)
    for _ in range(4):
        peer.say(9000)
        bench.tick()
    assert dict(stream.stats().dropped) == {"srtp-auth": 4}
    assert not stream.stats().latched


def test_srtcp_both_ways(bench: Bench) -> None:
    stream, peer, crypto = secure_call(bench)
    bench.run(40)
    ours = RtpPacket.parse(crypto.unprotect(kit.drain(peer.rtp)[0])).ssrc
    block = rtcp.ReportBlock(ours, 0, 5, 1, 8)
    plain = rtcp.serialize((rtcp.ReceiverReport(peer.ssrc, (block,)),))
    peer.rtcp.sendto(plain, control_port(peer))
    peer.rtcp.sendto(crypto.protect_rtcp(plain), control_port(peer))
    bench.tick(2)
    assert stream.stats().remote_lost == 5
    assert sum(dict(stream.stats().dropped).values()) == 1  # the plain one
    stream.close()
    last = rtcp.parse(crypto.unprotect_rtcp(peer.receive_rtcp()[-1]))
    assert isinstance(last[-1], rtcp.Bye)


def test_new_keys_by_renegotiation(bench: Bench) -> None:
    stream, peer, crypto = secure_call(bench)
    peer.send(crypto.protect(peer.packet(codes(100)).serialize()))
    bench.tick(4)
    stream.update(spec_for(peer, srtp_send=FRESH, srtp_receive=FRESH))
    renewed = SrtpPair((FRESH.suite, FRESH.key), (FRESH.suite, FRESH.key))
    peer.send(renewed.protect(peer.packet(codes(200)).serialize()))
    kit.drain(peer.rtp)
    bench.tick(4)
    assert stream.read()[::160].tolist() == [level(100), level(200)]
    assert RtpPacket.parse(renewed.unprotect(kit.drain(peer.rtp)[-1])).payload_type == 8


def test_half_a_pair_of_keys_is_refused(bench: Bench) -> None:
    with pytest.raises(MediaError):
        bench.call(srtp_send=OURS)
    with pytest.raises(MediaError):
        bench.call(srtp_send=SrtpKey("NONE", b"x"), srtp_receive=THEIRS)


def test_keys_pressed_over_srtp(bench: Bench) -> None:
    stream, peer, crypto = secure_call(bench)
    stream.send_dtmf("7", 60, 60)
    bench.run(160)
    kinds = [RtpPacket.parse(crypto.unprotect(data)).payload_type for data in kit.drain(peer.rtp)]
    assert kinds.count(101) == 5


# --- slots, ports, listeners ----------------------------------------------------------------------


def test_slots_and_ports_come_back(bench: Bench) -> None:
    streams = [bench.plane.allocate(kit.LOCAL) for _ in range(8)]
    assert bench.plane.active == 8
    with pytest.raises(MediaError):
        bench.plane.allocate(kit.LOCAL)
    assert all(stream.local_port % 2 == 0 for stream in streams)
    assert len({stream.local_port for stream in streams}) == 8
    streams[3].close()
    again = bench.plane.allocate(kit.LOCAL)
    assert again.slot == streams[3].slot
    assert again.local_port not in {stream.local_port for stream in streams}


def test_a_closed_stream_keeps_its_numbers_and_does_nothing(bench: Bench) -> None:
    stream, peer, heard = bench.call()
    stream.write(tone(100, 800))
    peer.say(100)
    bench.tick(8)
    final = stream.close()
    numbers = (stream.received, stream.written, stream.consumed, stream.played)
    assert numbers == (160, 800, stream.played, stream.played)
    assert final.packets_received == 1
    other, _, _ = bench.call()
    assert other.slot == stream.slot
    assert (stream.write(tone(1)), len(stream.read()), stream.readable) == (0, 0, False)
    stream.clear()
    stream.loopback(True)
    stream.update(spec_for(peer))
    stream.start(spec_for(peer), heard)
    assert stream.send_dtmf("1") == 0.0
    assert stream.close() is final
    assert stream.stats() is final
    assert (stream.received, stream.written, stream.consumed, stream.played) == numbers
    assert other.written == 0


def test_stray_packets_of_the_last_call_are_not_heard_in_the_next(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    peer.say(100)
    bench.tick()
    stream.close()
    peer.say(9000)
    other, _, _ = bench.call()
    assert other.slot == stream.slot
    assert other.local_port != stream.local_port
    bench.tick(2)
    assert other.received == 0


def test_start_twice_and_update_before_start_are_our_faults(bench: Bench) -> None:
    stream, peer, heard = bench.call()
    with pytest.raises(LocalProtocolError):
        stream.start(spec_for(peer), heard)
    fresh = bench.plane.allocate(kit.LOCAL)
    with pytest.raises(LocalProtocolError):
        fresh.update(spec_for(peer))
    with pytest.raises(LocalProtocolError):
        fresh.send_dtmf("1")
    with pytest.raises(MediaError):
        fresh.start(spec_for(peer, expect=("host.example", 4000)), heard)
    assert fresh.close().packets_sent == 0


def test_a_listener_that_fails_harms_nobody_else() -> None:
    class Broken:
        def on_dtmf(self, digit: str) -> None:
            raise RuntimeError("listener")

        def on_media_timeout(self) -> None:
            raise RuntimeError("listener")

    errors: list[Exception] = []
    with kit.bench(on_error=errors.append) as bench:
        peer, stream = bench.peer(), bench.plane.allocate(kit.LOCAL)
        peer.to = (kit.LOCAL, stream.local_port)
        stream.start(spec_for(peer), Broken())
        other, friend, heard = bench.call()
        for sender in (peer, friend):
            sender.send(sender.packet(b"\x05\x0a\x00\xa0", payload_type=101))
        bench.tick()
        assert heard.digits == ["5"]
        assert len(errors) == 1
        assert bench.plane.counters.listener_errors == 1
        assert other.stats().dropped == ()


def test_a_listener_may_close_its_stream(bench: Bench) -> None:
    stream, peer, heard = bench.call()

    def close_it(digit: str) -> None:
        stream.close()

    heard.on_dtmf = close_it  # type: ignore[method-assign]  # a listener made on the spot
    peer.send(peer.packet(b"\x05\x0a\x00\xa0", payload_type=101))
    bench.tick()
    bench.run(100)
    assert bench.plane.active == 0


def test_ports_exhausted() -> None:
    clock = kit.ManualClock()
    pool = PortPool(21_400, 21_401, entropy=bytes)
    plane = MediaPlane(PlaneConfig(slots=3), pool, clock=clock, entropy=bytes)
    try:
        plane.allocate(kit.LOCAL)
        with pytest.raises(PortsExhausted):
            plane.allocate(kit.LOCAL)
        assert plane.active == 1
    finally:
        plane.close()


def test_configuration_and_rings_must_fit() -> None:
    with pytest.raises(LocalProtocolError):
        PlaneConfig(tick_ms=7)
    pool = PortPool(21_402, 21_403, entropy=bytes)
    with pytest.raises(LocalProtocolError):
        MediaPlane(
            PlaneConfig(slots=4),
            pool,
            clock=kit.ManualClock(),
            entropy=bytes,
            rx=RingBlock(2),
        )


def test_a_plane_without_streams_ticks_once_a_packet_time(bench: Bench) -> None:
    start = bench.clock.now
    assert bench.plane.next_tick(start) == pytest.approx(start + 0.020)
    bench.tick(3)
    assert bench.clock.now == pytest.approx(start + 0.060)
    bench.call()  # while it rests
    bench.tick()
    assert bench.clock.now == pytest.approx(start + 0.065)
    assert bench.plane.counters.missed_ticks == 0
    assert bench.plane.counters.lateness_s == pytest.approx(0.0, abs=0.001)


def test_grid_skips_what_was_missed(bench: Bench) -> None:
    bench.call()
    start = bench.clock.now
    assert bench.plane.next_tick(start) == pytest.approx(start + 0.005)
    bench.tick(3)
    assert bench.plane.next_tick(start + 0.0512) == pytest.approx(start + 0.055)
    bench.stall(0.1)
    counters = bench.plane.counters
    assert counters.missed_ticks == 19
    assert sum(counters.lateness) == counters.ticks == 4
    assert counters.lateness[6] == 1  # between 50 and 100 ms


def test_ten_millisecond_grid() -> None:
    with kit.bench(tick_ms=10) as bench:
        _, peer, _ = bench.call()
        bench.tick(20)
        packets = peer.receive()
        assert len(packets) == 10
        steps = [b.timestamp - a.timestamp for a, b in itertools.pairwise(packets)]
        assert {step & 0xFFFF_FFFF for step in steps} == {160}


def test_ports_leave_their_quarantine_without_a_new_call(bench: Bench) -> None:
    stream, _, _ = bench.call()
    pool = bench.plane.ports
    stream.close()
    assert pool.quarantined == 1
    bench.run(10_000)
    assert pool.quarantined == 0
