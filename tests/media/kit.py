"""A plane on real loopback sockets and a manual clock, and a peer to talk to it."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sipbot.media.handle import MediaStream
from sipbot.media.plane import MediaPlane, PlaneConfig
from sipbot.media.ports import PortPool
from sipbot.media.stream import Codec, StreamSpec
from sipbot.rtp import g711
from sipbot.rtp.packet import RtpPacket

TICK = 0.005  # seconds
FIRST_PORT, LAST_PORT = 21_000, 21_399
LOCAL = "127.0.0.1"


class ManualClock:
    """Time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.epoch = 1_800_000_000.0  # wall time of ``now`` 0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.epoch + self.now


@dataclass
class Heard:
    """A listener that writes down what it is told."""

    digits: list[str] = field(default_factory=list)
    timeouts: int = 0

    def on_dtmf(self, digit: str) -> None:
        self.digits.append(digit)

    def on_media_timeout(self) -> None:
        self.timeouts += 1


class Peer:
    """The far end of one call: two sockets, and RTP counters of its own."""

    def __init__(self, host: str = LOCAL) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.rtp = socket.socket(family, socket.SOCK_DGRAM)
        self.rtcp = socket.socket(family, socket.SOCK_DGRAM)
        for sock in (self.rtp, self.rtcp):
            sock.bind((host, 0))
            sock.setblocking(False)
        self.address: tuple[str, int] = self.rtp.getsockname()[:2]
        self.rtcp_address: tuple[str, int] = self.rtcp.getsockname()[:2]
        self.to = (host, 0)
        self.sequence, self.timestamp, self.ssrc, self.payload_type = 100, 5_000, 0x1234, 8

    def close(self) -> None:
        self.rtp.close()
        self.rtcp.close()

    def packet(self, payload: bytes, **changes: Any) -> RtpPacket:
        """The next packet; moves sequence and timestamp on."""
        packet = RtpPacket(self.payload_type, self.sequence, self.timestamp, self.ssrc, payload)
        self.sequence = (self.sequence + 1) & 0xFFFF
        self.timestamp = (self.timestamp + len(payload)) & 0xFFFF_FFFF
        return replace(packet, **changes)

    def send(self, packet: RtpPacket | bytes) -> None:
        data = packet if isinstance(packet, bytes) else packet.serialize()
        self.rtp.sendto(data, self.to)

    def say(self, value: int, samples: int = 160, **changes: Any) -> None:
        """Send one packet whose samples all are (nearly) ``value``."""
        self.send(self.packet(codes(value, samples), **changes))

    def skip(self, packets: int = 1, samples: int = 160) -> None:
        """Lose packets before they are sent."""
        self.sequence = (self.sequence + packets) & 0xFFFF
        self.timestamp = (self.timestamp + packets * samples) & 0xFFFF_FFFF

    def receive(self) -> list[RtpPacket]:
        return [RtpPacket.parse(data) for data in drain(self.rtp)]

    def receive_rtcp(self) -> list[bytes]:
        return drain(self.rtcp)


def drain(sock: socket.socket) -> list[bytes]:
    packets = []
    with contextlib.suppress(BlockingIOError):
        while True:
            packets.append(sock.recv(2_048))
    return packets


def codes(value: int, samples: int = 160, codec: str = "PCMA") -> bytes:
    return g711.encode(codec, np.full(samples, value, dtype=np.int16)).tobytes()


def level(value: int, codec: str = "PCMA") -> int:
    """What is left of a sample after it went through G.711."""
    return int(g711.decode(codec, codes(value, 1, codec))[0])


def tone(value: int, samples: int = 160) -> NDArray[np.int16]:
    return np.full(samples, value, dtype=np.int16)


@dataclass
class Bench:
    """A plane with time in the test's hand."""

    plane: MediaPlane
    clock: ManualClock
    peers: list[Peer] = field(default_factory=list)
    moved: set[int] = field(default_factory=set)

    def tick(self, count: int = 1) -> None:
        """Let so many ticks go by."""
        for _ in range(count):
            self.clock.now = self.plane.next_tick(self.clock.now)
            self.moved = set(self.plane.tick(self.clock.now).tolist())

    def run(self, milliseconds: int) -> None:
        self.tick(milliseconds // 5)

    def stall(self, seconds: float) -> None:
        """Time goes by and the plane is not asked."""
        self.clock.now += seconds
        self.moved = set(self.plane.tick(self.clock.now).tolist())

    def peer(self, host: str = LOCAL) -> Peer:
        peer = Peer(host)
        self.peers.append(peer)
        return peer

    def call(
        self, host: str = LOCAL, *, expect: tuple[str, int] | None = None, **changes: Any
    ) -> tuple[MediaStream, Peer, Heard]:
        """A started stream, its peer and its listener."""
        peer, heard = self.peer(host), Heard()
        stream = self.plane.allocate(host)
        peer.to = (host, stream.local_port)
        stream.start(spec_for(peer, expect=expect, **changes), heard)
        return stream, peer, heard


def spec_for(peer: Peer, *, expect: tuple[str, int] | None = None, **changes: Any) -> StreamSpec:
    spec = StreamSpec(
        remote=expect or peer.address,
        remote_rtcp=peer.rtcp_address,
        codec=Codec.PCMA,
        payload_type=8,
        dtmf_payload_type=101,
    )
    return replace(spec, **changes)


@contextlib.contextmanager
def bench(on_error: Callable[[Exception], None] | None = None, **changes: Any) -> Iterator[Bench]:
    clock, source = ManualClock(), random.Random(7)
    config = replace(PlaneConfig(slots=8), **changes)
    pool = PortPool(FIRST_PORT, LAST_PORT, entropy=source.randbytes)
    plane = MediaPlane(config, pool, clock=clock, entropy=source.randbytes, on_error=on_error)
    made = Bench(plane, clock)
    try:
        yield made
    finally:
        plane.close()
        for peer in made.peers:
            peer.close()
