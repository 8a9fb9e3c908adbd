"""Sends hostile bytes to every door of a running server, at a bounded pace."""

from __future__ import annotations

import random
import socket
import time
from collections import deque
from dataclasses import dataclass, field

from tests.interop.harness import BotConfig, pass_time
from tests.interop.wire import Caller, audio_offer

from .hostile import HOST, garbage, rtcp_packet, rtp_packet, sip_request, sip_response, spoil

MESSAGES_A_SECOND = 600
_OPEN_STREAMS = 8  # kept open with unfinished messages
_STREAM_S = 0.5  # connect and send time-out
_BATCH = 12


@dataclass(slots=True)
class Attacker:
    """One source of hostile bytes; ``seed`` makes a run repeatable."""

    config: BotConfig
    seed: int
    media: socket.socket | None = None  # negotiated RTP source of a live call, with its target
    media_target: tuple[str, int] = (HOST, 9)
    insider: Caller | None = None  # a live call whose own peer turns hostile
    sent: dict[str, int] = field(default_factory=dict)
    _rng: random.Random = field(init=False)
    _udp: socket.socket = field(init=False)
    _streams: deque[socket.socket] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind((HOST, 0))
        self._udp.setblocking(False)

    def run(self, seconds: float) -> None:
        """Attack for this long, about MESSAGES_A_SECOND a second over all doors."""
        end = time.monotonic() + seconds
        doors = [self._sip_udp, self._sip_udp, self._sip_tcp, self._tls, self._rtp, self._rtp]
        doors += [self._in_dialog] if self.insider is not None else []
        while time.monotonic() < end:
            for _ in range(_BATCH):
                door = self._rng.choice(doors)
                self.sent[door.__name__] = self.sent.get(door.__name__, 0) + 1
                door()
            self._drain()
            pass_time(_BATCH / MESSAGES_A_SECOND)

    def close(self) -> None:
        """Close all sockets; the insider hangs up, with the highest CSeq that there is."""
        if self.insider is not None:
            bye = self.insider.request("BYE", cseq=2**31 - 1)
            self._datagram(self._udp, bye, (HOST, self.config.sip_port))
        self._udp.close()
        for stream in self._streams:
            stream.close()
        self._streams.clear()

    def _message(self, transport: str) -> bytes:
        rng = self._rng
        user = rng.choice(("nobody", "nobody", "nobody", "echo", "%00", "+911234567890"))
        whole = rng.choice((sip_request(rng, user, 40_000, transport), sip_response(rng)))
        return rng.choice((whole, spoil(rng, whole), spoil(rng, whole), garbage(rng)))

    def _sip_udp(self) -> None:
        self._datagram(self._udp, self._message("UDP"), (HOST, self.config.sip_port))

    def _sip_tcp(self) -> None:
        rng = self._rng
        data = b"".join(self._message("TCP") for _ in range(rng.randrange(1, 4)))
        try:
            stream = socket.create_connection((HOST, self.config.sip_port), _STREAM_S)
            self._streams.append(stream)
            while data:
                cut = rng.randrange(1, len(data) + 1)
                stream.sendall(data[:cut])
                data = data[cut:]
        except OSError:
            return  # the server may well close on such a peer
        finally:
            while len(self._streams) > _OPEN_STREAMS:
                self._streams.popleft().close()

    def _tls(self) -> None:
        """Bytes that are no TLS handshake, or the beginning of one."""
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + self._rng.randbytes(300)
        data = self._rng.choice((hello, spoil(self._rng, hello), self._message("TLS")))
        try:
            stream = socket.create_connection((HOST, self.config.tls_port), _STREAM_S)
            self._streams.append(stream)
            stream.sendall(data)
        except OSError:
            return

    def _in_dialog(self) -> None:
        """Requests with the right Call-ID and tags, spoilt elsewhere or nowhere."""
        rng, call = self._rng, self.insider
        assert call is not None
        method = rng.choice(("INVITE", "UPDATE", "INFO", "OPTIONS", "ACK", "PRACK", "NOTIFY"))
        body = audio_offer(40_000).replace("sendrecv", rng.choice(("sendonly", "inactive", "x")))
        if rng.random() < 0.5:
            body = spoil(rng, body.encode()).decode("utf-8", "replace")
        number = rng.choice((None, rng.randrange(1, 50)))
        whole = call.request(method, body=rng.choice((body, "")), cseq=number)
        data = rng.choice((whole, whole, spoil(rng, whole)))
        self._datagram(self._udp, data, (HOST, self.config.sip_port))

    def _rtp(self) -> None:
        rng = self._rng
        packet = rng.choice((rtp_packet, rtcp_packet, garbage))(rng)
        if rng.random() < 0.5:
            packet = spoil(rng, packet)
        if self.media is not None and rng.random() < 0.5:
            host, port = self.media_target
            self._datagram(self.media, packet, (host, port + rng.randrange(2)))
        else:
            self._datagram(self._udp, packet, (HOST, rng.choice(self.config.rtp_ports)))

    @staticmethod
    def _datagram(source: socket.socket, data: bytes, target: tuple[str, int]) -> None:
        try:
            source.sendto(data, target)
        except OSError:
            return  # nobody listens there just now, or the buffer is full

    def _drain(self) -> None:
        for source in (self._udp, self.media):
            if source is None:
                continue
            try:
                while source.recv(65535):
                    pass
            except OSError:
                continue
