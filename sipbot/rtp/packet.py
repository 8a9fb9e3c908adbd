"""RTP packets (RFC 3550 section 5), one at a time and as arrays over many packets."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sipbot.errors import LocalProtocolError, RtpError

VERSION: Final = 2
HEADER_BYTES: Final = 12  # fixed header, without CSRC list and extension
MAX_CSRC: Final = 15
MAX_EXTENSION_BYTES: Final = 4 * 0xFFFF
_FIXED: Final = struct.Struct("!BBHII")
_EXTENSION: Final = struct.Struct("!HH")

RULES: Final = (
    "",
    "rtp-short",
    "rtp-version",
    "rtp-csrc",
    "rtp-extension",
    "rtp-padding",
    "rtp-long",
)
"""Rule names by code: ``HeaderBatch.rule`` holds indexes into this, 0 for a valid packet."""
_SHORT, _VERSION, _CSRC, _EXT, _PADDING, _LONG = range(1, 7)

_HEADER: Final = np.dtype(
    [("first", "u1"), ("second", "u1"), ("sequence", ">u2"), ("timestamp", ">u4"), ("ssrc", ">u4")]
)


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """One RTP packet.

    ``extension`` is the body of the header extension, a multiple of 4 bytes, present when
    ``extension_profile`` is not None. ``padding`` counts the padding octets behind the payload,
    the count octet included; their filling is not kept.
    """

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    marker: bool = False
    csrc: tuple[int, ...] = ()
    extension_profile: int | None = None
    extension: bytes = b""
    padding: int = 0

    @classmethod
    def parse(cls, data: bytes) -> RtpPacket:
        """Read one datagram. Raises ``RtpError`` whose reason is one of ``RULES``."""
        if len(data) < HEADER_BYTES:
            raise RtpError("rtp-short")
        first, second, sequence, timestamp, ssrc = _FIXED.unpack_from(data)
        if first >> 6 != VERSION:
            raise RtpError("rtp-version")
        offset = HEADER_BYTES + 4 * (first & 0x0F)
        if len(data) < offset:
            raise RtpError("rtp-csrc")
        csrc = struct.unpack_from(f"!{first & 0x0F}I", data, HEADER_BYTES)
        profile, extension = _read_extension(data, offset) if first & 0x10 else (None, b"")
        if profile is not None:
            offset += _EXTENSION.size + len(extension)
        padding = _read_padding(data, offset) if first & 0x20 else 0
        return cls(
            payload_type=second & 0x7F,
            sequence=sequence,
            timestamp=timestamp,
            ssrc=ssrc,
            payload=data[offset : len(data) - padding],
            marker=bool(second & 0x80),
            csrc=csrc,
            extension_profile=profile,
            extension=extension,
            padding=padding,
        )

    def serialize(self) -> bytes:
        """The datagram. Raises ``LocalProtocolError`` for a field out of its range."""
        extended = self.extension_profile is not None
        if len(self.csrc) > MAX_CSRC or not 0 <= self.padding <= 255:
            raise LocalProtocolError("RTP header field out of range")
        if len(self.extension) % 4 or len(self.extension) > MAX_EXTENSION_BYTES:
            raise LocalProtocolError("RTP header extension is not a multiple of 4 bytes")
        if not 0 <= self.payload_type <= 127:
            raise LocalProtocolError("RTP payload type out of range")
        first = VERSION << 6 | bool(self.padding) << 5 | extended << 4 | len(self.csrc)
        second = self.marker << 7 | self.payload_type
        try:
            parts = [_FIXED.pack(first, second, self.sequence, self.timestamp, self.ssrc)]
            parts.append(struct.pack(f"!{len(self.csrc)}I", *self.csrc))
            if self.extension_profile is not None:
                parts.append(_EXTENSION.pack(self.extension_profile, len(self.extension) // 4))
                parts.append(self.extension)
        except struct.error as error:
            raise LocalProtocolError("RTP header field out of range") from error
        parts.append(self.payload)
        if self.padding:
            parts.append(bytes(self.padding - 1) + bytes((self.padding,)))
        return b"".join(parts)


def _read_extension(data: bytes, offset: int) -> tuple[int, bytes]:
    """Profile and body of the header extension at ``offset`` (RFC 3550 section 5.3.1)."""
    start = offset + _EXTENSION.size
    if len(data) < start:
        raise RtpError("rtp-extension")
    profile, words = _EXTENSION.unpack_from(data, offset)
    if len(data) < start + 4 * words:
        raise RtpError("rtp-extension")
    return profile, data[start : start + 4 * words]


def _read_padding(data: bytes, offset: int) -> int:
    """Padding octets at the end of a datagram whose payload starts at ``offset``.

    RFC 3550 section 5.1: "The last octet of the padding contains a count of how many padding
    octets should be ignored, including itself."
    """
    padding = data[-1] if len(data) > offset else 0
    if not 0 < padding <= len(data) - offset:
        raise RtpError("rtp-padding")
    return padding


@dataclass(frozen=True, slots=True)
class HeaderBatch:
    """Header fields of n packets, each an array of shape (n,).

    Where ``valid`` is False only ``rule`` means anything (an index into ``RULES``). The payload
    of packet i is ``arena[i, payload_offset[i] : payload_offset[i] + payload_length[i]]``.
    """

    valid: NDArray[np.bool_]
    rule: NDArray[np.uint8]
    payload_type: NDArray[np.uint8]
    marker: NDArray[np.bool_]
    sequence: NDArray[np.uint16]
    timestamp: NDArray[np.uint32]
    ssrc: NDArray[np.uint32]
    payload_offset: NDArray[np.intp]
    payload_length: NDArray[np.intp]


def parse_headers(arena: NDArray[np.uint8], lengths: NDArray[np.intp]) -> HeaderBatch:
    """Check and read the headers of n datagrams; never raises for what the peer sent.

    ``arena`` has shape (n, width), one datagram a row, and ``lengths`` shape (n,), the bytes used
    of each row. The rules are those of ``RtpPacket.parse``, and "rtp-long" for a length beyond
    the row. Raises ``LocalProtocolError`` when rows are shorter than an RTP header.
    """
    if arena.ndim != 2 or arena.shape[1] < HEADER_BYTES:
        raise LocalProtocolError("arena rows must hold an RTP header")
    header = arena[:, :HEADER_BYTES].view(_HEADER)[:, 0]
    first, second = header["first"], header["second"]
    offset = np.full(len(arena), HEADER_BYTES, dtype=np.intp)
    end = lengths.astype(np.intp, copy=True)
    rule = np.zeros(len(arena), dtype=np.uint8)
    rule[first >> 6 != VERSION] = _VERSION
    rule[lengths < HEADER_BYTES] = _SHORT
    rule[lengths > arena.shape[1]] = _LONG
    odd = np.flatnonzero((first != VERSION << 6) & (rule == 0))
    if len(odd):  # padding, extension or CSRC list
        offset[odd], end[odd], rule[odd] = _odd_layouts(arena, odd, end[odd], first[odd])
    return HeaderBatch(
        valid=rule == 0,
        rule=rule,
        payload_type=second & np.uint8(0x7F),
        marker=second >= 0x80,
        sequence=header["sequence"].astype(np.uint16),
        timestamp=header["timestamp"].astype(np.uint32),
        ssrc=header["ssrc"].astype(np.uint32),
        payload_offset=offset,
        payload_length=end - offset,
    )


def _odd_layouts(
    arena: NDArray[np.uint8],
    rows: NDArray[np.intp],
    end: NDArray[np.intp],
    first: NDArray[np.uint8],
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.uint8]]:
    """Payload start, payload end and rule of those ``rows`` with more than the fixed header."""
    last = arena.shape[1] - 1
    rule = np.zeros(len(rows), dtype=np.uint8)
    start = HEADER_BYTES + 4 * (first & 0x0F).astype(np.intp)
    rule[start > end] = _CSRC
    extended = (first & 0x10 != 0) & (rule == 0)
    words = 256 * arena[rows, np.minimum(start + 2, last)].astype(np.intp)
    words += arena[rows, np.minimum(start + 3, last)]
    truncated = extended & (start + 4 > end)
    start = np.where(extended & ~truncated, start + 4 + 4 * words, start)
    rule[truncated | (extended & (start > end))] = _EXT
    padded = (first & 0x20 != 0) & (rule == 0)
    count = arena[rows, np.clip(end - 1, 0, last)].astype(np.intp)
    rule[padded & ((count == 0) | (count > end - start))] = _PADDING
    end = np.where(padded & (rule == 0), end - count, end)
    return start, end, rule


def write_headers(
    out: NDArray[np.uint8],
    payload_type: ArrayLike,
    marker: ArrayLike,
    sequence: ArrayLike,
    timestamp: ArrayLike,
    ssrc: ArrayLike,
) -> None:
    """Write n fixed headers (no padding, extension or CSRC) into ``out`` of shape (n, >= 12).

    The fields have shape (n,) or are scalars; they are reduced to their width (7, 1, 16, 32 and
    32 bits), so counters may run on past a wrap. Rows of ``out`` must be contiguous.
    """
    header = out[:, :HEADER_BYTES].view(_HEADER)[:, 0]
    kind = np.asarray(payload_type).astype(np.uint8) & np.uint8(0x7F)
    header["first"] = VERSION << 6
    header["second"] = kind | (np.asarray(marker).astype(np.uint8) << np.uint8(7))
    header["sequence"] = np.asarray(sequence).astype(np.uint16)
    header["timestamp"] = np.asarray(timestamp).astype(np.uint32)
    header["ssrc"] = np.asarray(ssrc).astype(np.uint32)
