"""RTCP packets (RFC 3550 section 6), compound datagrams, NTP time and the sending schedule."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from sipbot.errors import LocalProtocolError, RtpError

VERSION: Final = 2
SR, RR, SDES, BYE, APP = 200, 201, 202, 203, 204
SDES_CNAME: Final = 1
MAX_COUNT: Final = 31  # report blocks, SDES chunks or BYE sources of one packet
MAX_TEXT_BYTES: Final = 255  # one SDES item or a BYE reason
MAX_BODY_BYTES: Final = 4 * 0xFFFF
NTP_UNIX_OFFSET: Final = 2_208_988_800  # seconds from 1900 to 1970

_BLOCK: Final = struct.Struct("!IIIIII")
_SENDER: Final = struct.Struct("!IQIII")
_MIN_LOST, _MAX_LOST = -0x80_0000, 0x7F_FFFF


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """What a receiver tells of one source (RFC 3550 section 6.4.1).

    ``fraction_lost`` counts 1/256, ``cumulative_lost`` is signed 24 bit, ``jitter`` counts RTP
    timestamp units, ``last_sr`` is the middle of an NTP timestamp, ``delay_since_last_sr`` counts
    1/65536 s.
    """

    ssrc: int
    fraction_lost: int
    cumulative_lost: int
    highest_sequence: int
    jitter: int
    last_sr: int = 0
    delay_since_last_sr: int = 0


@dataclass(frozen=True, slots=True)
class SenderReport:
    """SR: ``ntp`` is a 64-bit NTP timestamp; ``extension`` is profile specific, uninterpreted."""

    ssrc: int
    ntp: int
    rtp_timestamp: int
    packets: int
    octets: int
    reports: tuple[ReportBlock, ...] = ()
    extension: bytes = b""


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    """RR; ``extension`` is profile specific, uninterpreted."""

    ssrc: int
    reports: tuple[ReportBlock, ...] = ()
    extension: bytes = b""


@dataclass(frozen=True, slots=True)
class SdesChunk:
    """One source's description: (item type, text) pairs, the text as received."""

    ssrc: int
    items: tuple[tuple[int, bytes], ...]

    @property
    def cname(self) -> bytes | None:
        """The canonical name, if the chunk has one."""
        return next((text for kind, text in self.items if kind == SDES_CNAME), None)


@dataclass(frozen=True, slots=True)
class SourceDescription:
    """SDES."""

    chunks: tuple[SdesChunk, ...]


@dataclass(frozen=True, slots=True)
class Bye:
    """BYE: the sources leave."""

    sources: tuple[int, ...]
    reason: bytes = b""


@dataclass(frozen=True, slots=True)
class App:
    """APP: application defined. ``name`` has 4 bytes, ``data`` a multiple of 4."""

    subtype: int
    ssrc: int
    name: bytes
    data: bytes = b""


RtcpPacket: TypeAlias = SenderReport | ReceiverReport | SourceDescription | Bye | App


def looks_like_rtcp(data: bytes | memoryview) -> bool:
    """Whether a datagram on a shared port is RTCP rather than RTP (RFC 5761 section 4)."""
    return len(data) >= 4 and data[0] >> 6 == VERSION and 192 <= data[1] <= 223


def parse(data: bytes) -> tuple[RtcpPacket, ...]:
    """Read one compound datagram; packets of unknown type are left out (RFC 3550 section 6.1).

    Raises ``RtpError`` ("rtcp-short", "rtcp-version", "rtcp-first", "rtcp-length",
    "rtcp-padding" or "rtcp-body") when it fails the checks of RFC 3550 appendix A.2 or when the
    body of a known packet is malformed.
    """
    if len(data) < 8:
        raise RtpError("rtcp-short")
    # A.2: "The payload type field of the first RTCP packet in a compound packet must be equal to
    # SR or RR. The padding bit should be zero for the first packet".
    if data[0] >> 6 == VERSION and (data[1] not in (SR, RR)):
        raise RtpError("rtcp-first")
    packets: list[RtcpPacket] = []
    offset = 0
    while offset < len(data):
        end = _packet_end(data, offset)
        body = data[offset + 4 : end]
        if data[offset] & 0x20:
            body = _without_padding(body, last=end == len(data))
        parser = _PARSERS.get(data[offset + 1])
        if parser is not None:
            packets.append(parser(data[offset] & 0x1F, body))
        offset = end
    return tuple(packets)


def _packet_end(data: bytes, offset: int) -> int:
    """A.2: "The length fields of the individual RTCP packets must add up to the overall length"."""
    if len(data) - offset < 4:
        raise RtpError("rtcp-length")
    if data[offset] >> 6 != VERSION:
        raise RtpError("rtcp-version")
    end = offset + 4 + 4 * int.from_bytes(data[offset + 2 : offset + 4], "big")
    if end > len(data):
        raise RtpError("rtcp-length")
    return end


def _without_padding(body: bytes, *, last: bool) -> bytes:
    """A.2: "padding should only be applied, if it is needed, to the last packet".

    A lone SR or RR is both first and last, and may be padded.
    """
    count = body[-1] if body else 0
    if not last or count == 0 or count % 4 or count > len(body):
        raise RtpError("rtcp-padding")
    return body[:-count]


def _parse_blocks(count: int, body: bytes, offset: int) -> tuple[tuple[ReportBlock, ...], bytes]:
    end = offset + count * _BLOCK.size
    if len(body) < end:
        raise RtpError("rtcp-body")
    blocks = []
    for ssrc, loss, highest, jitter, last_sr, delay in _BLOCK.iter_unpack(body[offset:end]):
        lost = loss & 0xFF_FFFF
        lost -= (lost & 0x80_0000) << 1  # sign of 24 bits
        blocks.append(ReportBlock(ssrc, loss >> 24, lost, highest, jitter, last_sr, delay))
    return tuple(blocks), body[end:]


def _parse_sender_report(count: int, body: bytes) -> SenderReport:
    if len(body) < _SENDER.size:
        raise RtpError("rtcp-body")
    ssrc, ntp, timestamp, packets, octets = _SENDER.unpack_from(body)
    blocks, extension = _parse_blocks(count, body, _SENDER.size)
    return SenderReport(ssrc, ntp, timestamp, packets, octets, blocks, extension)


def _parse_receiver_report(count: int, body: bytes) -> ReceiverReport:
    if len(body) < 4:
        raise RtpError("rtcp-body")
    blocks, extension = _parse_blocks(count, body, 4)
    return ReceiverReport(int.from_bytes(body[:4], "big"), blocks, extension)


def _parse_source_description(count: int, body: bytes) -> SourceDescription:
    chunks, offset = [], 0
    for _ in range(count):
        if len(body) - offset < 8:  # SSRC and at least the word that ends the item list
            raise RtpError("rtcp-body")
        ssrc = int.from_bytes(body[offset : offset + 4], "big")
        items, offset = _parse_items(body, offset + 4)
        chunks.append(SdesChunk(ssrc, items))
    return SourceDescription(tuple(chunks))


def _parse_items(body: bytes, offset: int) -> tuple[tuple[tuple[int, bytes], ...], int]:
    """Items from ``offset`` up to the null octet; returns them and where the next chunk starts."""
    items = []
    while offset < len(body) and body[offset] != 0:
        if len(body) - offset < 2 or len(body) - offset - 2 < body[offset + 1]:
            raise RtpError("rtcp-body")
        end = offset + 2 + body[offset + 1]
        items.append((body[offset], body[offset + 2 : end]))
        offset = end
    following = (offset & ~3) + 4  # section 6.5: null octets up to the next 32-bit boundary
    if following > len(body):
        raise RtpError("rtcp-body")
    return tuple(items), following


def _parse_bye(count: int, body: bytes) -> Bye:
    if len(body) < 4 * count:
        raise RtpError("rtcp-body")
    rest = body[4 * count :]
    if rest and len(rest) - 1 < rest[0]:
        raise RtpError("rtcp-body")
    reason = rest[1 : 1 + rest[0]] if rest else b""
    return Bye(struct.unpack_from(f"!{count}I", body), reason)


def _parse_app(count: int, body: bytes) -> App:
    if len(body) < 8:
        raise RtpError("rtcp-body")
    return App(count, int.from_bytes(body[:4], "big"), body[4:8], body[8:])


_PARSERS: Final[dict[int, Callable[[int, bytes], RtcpPacket]]] = {
    SR: _parse_sender_report,
    RR: _parse_receiver_report,
    SDES: _parse_source_description,
    BYE: _parse_bye,
    APP: _parse_app,
}


def serialize(packets: Iterable[RtcpPacket]) -> bytes:
    """One compound datagram. Raises ``LocalProtocolError`` for a field out of its range."""
    try:
        return b"".join(_serialize_one(packet) for packet in packets)
    except (struct.error, OverflowError) as error:
        raise LocalProtocolError("RTCP field out of range") from error


def _serialize_one(packet: RtcpPacket) -> bytes:
    match packet:
        case SenderReport():
            body = _SENDER.pack(
                packet.ssrc, packet.ntp, packet.rtp_timestamp, packet.packets, packet.octets
            )
            body += _blocks(packet.reports) + packet.extension
            return _framed(SR, len(packet.reports), body)
        case ReceiverReport():
            body = struct.pack("!I", packet.ssrc) + _blocks(packet.reports) + packet.extension
            return _framed(RR, len(packet.reports), body)
        case SourceDescription():
            return _framed(SDES, len(packet.chunks), b"".join(map(_chunk, packet.chunks)))
        case Bye():
            body = struct.pack(f"!{len(packet.sources)}I", *packet.sources)
            if packet.reason:
                body += _padded(_counted(packet.reason))
            return _framed(BYE, len(packet.sources), body)
        case App():
            if len(packet.name) != 4:
                raise LocalProtocolError("RTCP APP name must have 4 bytes")
            body = struct.pack("!I", packet.ssrc) + packet.name + packet.data
            return _framed(APP, packet.subtype, body)


def _framed(kind: int, count: int, body: bytes) -> bytes:
    if not 0 <= count <= MAX_COUNT:
        raise LocalProtocolError("too many entries for one RTCP packet")
    if len(body) % 4 or len(body) > MAX_BODY_BYTES:
        raise LocalProtocolError("RTCP body is not a multiple of 4 bytes")
    return struct.pack("!BBH", VERSION << 6 | count, kind, len(body) // 4) + body


def _blocks(reports: tuple[ReportBlock, ...]) -> bytes:
    return b"".join(
        _BLOCK.pack(
            block.ssrc,
            (block.fraction_lost << 24)
            | (min(max(block.cumulative_lost, _MIN_LOST), _MAX_LOST) & 0xFF_FFFF),
            block.highest_sequence,
            block.jitter,
            block.last_sr,
            block.delay_since_last_sr,
        )
        for block in reports
    )


def _counted(text: bytes) -> bytes:
    if len(text) > MAX_TEXT_BYTES:
        raise LocalProtocolError("RTCP text is longer than 255 bytes")
    return bytes((len(text),)) + text


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _chunk(chunk: SdesChunk) -> bytes:
    items = b"".join(struct.pack("!B", kind) + _counted(text) for kind, text in chunk.items)
    if any(kind == 0 for kind, _ in chunk.items):
        raise LocalProtocolError("SDES item type 0 ends the list")
    return struct.pack("!I", chunk.ssrc) + _padded(items + b"\0")


def cname_description(ssrc: int, cname: str) -> SourceDescription:
    """The SDES packet that every compound datagram must carry (RFC 3550 section 6.1)."""
    return SourceDescription((SdesChunk(ssrc, ((SDES_CNAME, cname.encode()),)),))


def ntp_from_wall(wall: float) -> int:
    """Seconds since 1970 (UTC) to a 64-bit NTP timestamp; wraps in 2036 as NTP does."""
    units = math.floor(wall * 2**32) + (NTP_UNIX_OFFSET << 32)
    return units & 0xFFFF_FFFF_FFFF_FFFF


def wall_from_ntp(ntp: int) -> float:
    """A 64-bit NTP timestamp to seconds since 1970.

    RFC 4330 section 3: with the top bit clear the time lies in the era that begins in 2036.
    """
    seconds = ntp >> 32
    if not seconds & 0x8000_0000:
        seconds += 1 << 32
    return seconds - NTP_UNIX_OFFSET + (ntp & 0xFFFF_FFFF) / 2**32


def middle32(ntp: int) -> int:
    """The middle 32 bits of an NTP timestamp, in 1/65536 s (RFC 3550 section 4)."""
    return ntp >> 16 & 0xFFFF_FFFF


DEFAULT_INTERVAL_S: Final = 5.0  # RFC 3550 section 6.2: "RECOMMENDED ... minimum ... 5 seconds"
_COMPENSATION: Final = 1.21828  # RFC 3550 section 6.3.1: e - 3/2


class RtcpSchedule:
    """When to send the next report (RFC 3550 section 6.3, for a conversation of two).

    With two members the bandwidth rule never asks for more than the minimum interval, so only
    that interval, its halving before the first report, and the randomisation remain.
    ``random01`` returns numbers in [0, 1).
    """

    def __init__(
        self, random01: Callable[[], float], interval_s: float = DEFAULT_INTERVAL_S
    ) -> None:
        if interval_s <= 0:
            raise LocalProtocolError("RTCP interval must be positive")
        self._random01, self._interval_s = random01, interval_s
        self._next: float | None = None

    def start(self, now: float) -> float:
        """Begin; returns when to send the first report. Section 6.2: half the interval."""
        return self._arm(now, self._interval_s / 2)

    def sent(self, now: float) -> float:
        """A report was sent; returns when to send the next one."""
        return self._arm(now, self._interval_s)

    def stop(self) -> None:
        """Send no more."""
        self._next = None

    def next_deadline(self) -> float | None:
        """When the next report is due; None before ``start`` and after ``stop``."""
        return self._next

    def _arm(self, now: float, interval_s: float) -> float:
        self._next = now + interval_s * (0.5 + self._random01()) / _COMPENSATION
        return self._next
