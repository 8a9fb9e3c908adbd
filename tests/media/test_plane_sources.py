"""Who is listened to, and what is thrown away under which name."""

from __future__ import annotations

import random
import struct

from sipbot.media.handle import MediaStream
from tests.media import kit
from tests.media.kit import Bench, codes, level, spec_for

NOWHERE = ("127.0.0.1", 9)


def dropped(stream: MediaStream) -> dict[str, int]:
    return dict(stream.stats().dropped)


def test_wrong_source_is_refused_and_counted_once_the_right_one_was_heard(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    peer.say(100)
    bench.tick()
    stream.read()
    stranger = bench.peer()
    stranger.to = peer.to
    for _ in range(5):
        stranger.say(9000)
        bench.tick()
    assert len(stream.read()) == 0
    assert dropped(stream) == {"wrong-source": 5}
    assert bench.plane.drops["wrong-source"] == 5
    peer.say(200)
    bench.tick()
    assert (stream.read() == level(200)).all()
    assert not stream.stats().latched


def test_source_behind_a_nat_is_adopted_once(bench: Bench) -> None:
    stream, peer, _ = bench.call(expect=NOWHERE)
    peer.say(100)
    bench.tick()
    assert dropped(stream) == {"source-probation": 1}
    peer.say(200)
    bench.tick()
    assert (stream.read() == level(200)).all()
    assert stream.stats().latched
    bench.run(40)
    assert len(peer.receive()) >= 1  # we answer to where it came from
    stranger = bench.peer()
    stranger.to = peer.to
    for _ in range(4):
        stranger.say(9000)
        bench.tick()
    assert dropped(stream)["wrong-source"] == 4
    assert len(stream.read()) == 0


def test_no_source_is_adopted_after_the_window(bench: Bench) -> None:
    stream, peer, _ = bench.call(expect=NOWHERE)
    bench.run(5_100)
    stream.read()
    for _ in range(4):
        peer.say(100)
        bench.tick()
    assert dropped(stream) == {"wrong-source": 4}
    assert not stream.stats().latched


def test_two_sources_in_turn_are_never_in_sequence(bench: Bench) -> None:
    stream, one, _ = bench.call(expect=NOWHERE)
    two = bench.peer()
    two.to, two.ssrc = one.to, 0x9999
    for _ in range(4):
        one.say(100)
        bench.tick()
        two.say(100)
        bench.tick()
    assert dropped(stream) == {"source-probation": 8}


def test_packets_sent_before_the_start_are_not_heard(bench: Bench) -> None:
    stream, peer = bench.plane.allocate(kit.LOCAL), bench.peer()
    peer.to = (kit.LOCAL, stream.local_port)
    for _ in range(10):
        peer.say(1000)
    stream.start(spec_for(peer), kit.Heard())
    bench.tick()
    assert len(stream.read()) == 0
    peer.say(500)
    bench.tick()
    assert (stream.read() == level(500)).all()


def test_new_address_by_renegotiation(bench: Bench) -> None:
    stream, old, _ = bench.call()
    old.say(100)
    bench.tick()
    sent_before = old.receive()
    new = bench.peer()
    new.to = old.to
    stream.update(spec_for(new))
    bench.run(40)
    sent = new.receive()
    assert len(sent) == 2
    if sent_before:
        assert sent[0].ssrc == sent_before[0].ssrc
    new.sequence, new.ssrc = 40_000, 0x7777
    stream.read()
    new.say(300)
    bench.tick()
    assert (stream.read() == level(300)).all()
    old.say(9000)
    bench.tick()
    assert len(stream.read()) == 0
    assert dropped(stream) == {"wrong-source": 1}
    assert stream.stats().ssrc_changes == 1


def test_packets_under_way_do_not_bring_the_old_address_back(bench: Bench) -> None:
    stream, old, _ = bench.call()
    old.say(100)
    bench.tick()
    new = bench.peer()
    new.to = old.to
    stream.update(spec_for(new))
    stream.read()
    for _ in range(5):
        old.say(9000)
        bench.tick()
    assert len(stream.read()) == 0
    new.ssrc = 0x7777
    new.say(300)
    bench.tick()
    assert (stream.read() == level(300)).all()
    assert not stream.stats().latched
    assert dropped(stream) == {"wrong-source": 5}


def test_the_announced_source_takes_over_from_a_learnt_one(bench: Bench) -> None:
    announced = bench.peer()
    stream, learnt, _ = bench.call(expect=announced.address)
    announced.to = learnt.to
    for _ in range(2):
        learnt.say(100)
        bench.tick()
    assert stream.stats().latched
    stream.read()
    announced.ssrc = 0x9999
    announced.say(300)
    bench.tick()
    assert (stream.read()[-160:] == level(300)).all()
    assert not stream.stats().latched
    learnt.say(9000)
    bench.tick()
    assert len(stream.read()) == 0


def test_update_without_a_new_address_stays_locked(bench: Bench) -> None:
    stream, peer, _ = bench.call(expect=NOWHERE)
    for _ in range(2):
        peer.say(100)
        bench.tick()
    stream.update(spec_for(peer, expect=NOWHERE, ptime_ms=30))
    stream.read()
    peer.say(200)
    bench.tick()
    assert (stream.read() == level(200)).all()
    assert stream.stats().latched


def test_order_is_kept_while_the_source_becomes_known(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    values = list(range(100, 2100, 100))
    for value in values:
        peer.say(value)
    bench.tick()
    heard = stream.read().reshape(-1, 160)[:, 0].tolist()
    assert heard == [level(value) for value in values]
    assert stream.stats().reordered == 0


def test_new_ssrc_from_the_right_source(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    for _ in range(3):
        peer.say(100)
        bench.tick(4)
    stream.read()
    peer.ssrc, peer.sequence, peer.timestamp = 0xABCD, 60_000, 77
    for _ in range(3):
        peer.say(300)
        bench.tick(4)
    assert (stream.read() == level(300)).all()
    stats = stream.stats()
    assert (stats.ssrc_changes, stats.packets_received, stats.lost) == (1, 6, 0)


def test_garbage_is_dropped_by_name(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    peer.say(100)
    bench.tick()
    stun = struct.pack("!HHI12s", 1, 0, 0x2112A442, b"x" * 12)
    for data in (
        stun,
        b"\x16\xfe\xfd" + b"x" * 20,  # DTLS
        b"\x80\x08",
        b"\x41" + b"x" * 30,
        b"\xb0" + b"\xff" * 20,
        b"",
        b"\x80" + b"x" * 900,
    ):
        peer.send(data)
        bench.tick()
    peer.say(1, payload_type=96)
    bench.tick()
    counts = dropped(stream)
    assert counts == {
        "stun": 1,
        "dtls": 1,
        "rtp-short": 2,
        "rtp-version": 1,
        "rtp-extension": 1,
        "rtp-long": 1,
        "payload-type": 1,
    }


def test_random_bytes_harm_nobody(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    other, quiet, _ = bench.call()
    source = random.Random(3)
    for _ in range(300):
        data = source.randbytes(source.randrange(700))
        peer.send(data)
        peer.rtcp.sendto(data, (peer.to[0], peer.to[1] + 1))
        quiet.say(100)
        bench.tick()
        assert (other.read() == level(100)).all()
    assert other.received == 300 * 160
    assert other.stats().dropped == ()
    assert sum(dropped(stream).values()) > 250


def test_unknown_slot_traffic_before_start_is_ignored(bench: Bench) -> None:
    stream = bench.plane.allocate(kit.LOCAL)
    peer = bench.peer()
    peer.to = (kit.LOCAL, stream.local_port)
    peer.say(1)
    bench.tick(3)
    assert bench.plane.counters.packets_in == 0
    assert stream.stats().packets_received == 0


def test_extension_and_csrc_are_read_over(bench: Bench) -> None:
    stream, peer, _ = bench.call()
    for value in (100, 200, 300):
        peer.send(
            peer.packet(codes(value), csrc=(1, 2), extension_profile=0xBEDE, extension=b"abcd")
        )
        bench.tick(4)
    assert stream.read().reshape(-1, 160)[:, 0].tolist() == [level(v) for v in (100, 200, 300)]
