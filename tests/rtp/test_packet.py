from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sipbot.errors import LocalProtocolError, RtpError
from sipbot.rtp.packet import (
    HEADER_BYTES,
    RULES,
    HeaderBatch,
    RtpPacket,
    parse_headers,
    write_headers,
)

SERIAL16 = st.integers(0, 0xFFFF)
SERIAL32 = st.integers(0, 0xFFFF_FFFF)
WIDTH = 300  # bytes of an arena row


def word_aligned(data: bytes) -> bytes:
    return data[: len(data) // 4 * 4]


@st.composite
def packets(draw: st.DrawFn) -> RtpPacket:
    extended = draw(st.booleans())
    return RtpPacket(
        payload_type=draw(st.integers(0, 127)),
        sequence=draw(SERIAL16),
        timestamp=draw(SERIAL32),
        ssrc=draw(SERIAL32),
        payload=draw(st.binary(max_size=40)),
        marker=draw(st.booleans()),
        csrc=tuple(draw(st.lists(SERIAL32, max_size=15))),
        extension_profile=draw(SERIAL16) if extended else None,
        extension=draw(st.binary(max_size=32).map(word_aligned)) if extended else b"",
        padding=draw(st.integers(0, 20)),
    )


# Mostly valid first octets, so that random bytes reach past the version check.
DATAGRAMS = st.one_of(
    st.binary(max_size=80),
    packets().map(RtpPacket.serialize),
    st.tuples(st.integers(0x80, 0xBF), st.binary(max_size=80)).map(lambda p: bytes((p[0],)) + p[1]),
    st.tuples(packets(), st.integers(0, 200)).map(lambda p: p[0].serialize()[: p[1]]),
)


def batch_of(datagrams: list[bytes], width: int = WIDTH) -> tuple[HeaderBatch, NDArray[np.uint8]]:
    arena = np.full((len(datagrams), width), 0xEE, dtype=np.uint8)
    for row, data in enumerate(datagrams):
        arena[row, : len(data)] = np.frombuffer(data, dtype=np.uint8)
    return parse_headers(arena, np.array([len(data) for data in datagrams], dtype=np.intp)), arena


def rule_of(data: bytes) -> str:
    try:
        RtpPacket.parse(data)
    except RtpError as error:
        return error.reason
    return ""


def test_reads_a_packet_as_it_is_on_the_wire() -> None:
    data = bytes.fromhex("80882d59 d7a1f0c4 9be19d4d") + bytes([0xD5] * 160)
    packet = RtpPacket.parse(data)
    assert packet == RtpPacket(8, 0x2D59, 0xD7A1F0C4, 0x9BE19D4D, bytes([0xD5] * 160), marker=True)
    assert packet.serialize() == data


def test_reads_csrc_extension_and_padding() -> None:
    data = bytes.fromhex(
        "b2 00 0001 00000002 00000003"  # V=2 P X CC=2
        "0000000a 0000000b"
        "bede 0001 10ff0000"
        "d5d5 00000004"
    )
    packet = RtpPacket.parse(data)
    assert packet.csrc == (10, 11)
    assert (packet.extension_profile, packet.extension) == (0xBEDE, bytes.fromhex("10ff0000"))
    assert (packet.payload, packet.padding) == (b"\xd5\xd5", 4)
    assert packet.serialize() == data


@given(packets())
def test_serialise_then_parse_gives_the_same(packet: RtpPacket) -> None:
    assert RtpPacket.parse(packet.serialize()) == packet


@given(DATAGRAMS)
def test_any_bytes_parse_or_are_refused_by_a_named_rule(data: bytes) -> None:
    assert rule_of(data) in RULES


def test_each_truncation_has_its_rule() -> None:
    whole = replace(
        RtpPacket(0, 1, 2, 3, b"ab"), csrc=(4, 5), extension_profile=6, extension=bytes(8)
    ).serialize()
    rules = [rule_of(whole[:length]) for length in range(len(whole))]
    # header 12, CSRC to 20, extension to 32, payload to 34 (an empty or short payload is legal)
    assert rules == ["rtp-short"] * 12 + ["rtp-csrc"] * 8 + ["rtp-extension"] * 12 + [""] * 2


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"", "rtp-short"),
        (bytes(12), "rtp-version"),  # version 0, as STUN has
        (b"\x40" + bytes(11), "rtp-version"),
        (b"\xc0" + bytes(11), "rtp-version"),
        (b"\xa0" + bytes(11), "rtp-padding"),  # padding bit without any octet to count
        (b"\xa0" + bytes(12), "rtp-padding"),  # count 0
        (b"\xa0" + bytes(11) + b"\x02", "rtp-padding"),  # more than there is
        (b"\xa0" + bytes(11) + b"\x01", ""),  # all of it is padding
        (b"\x90" + bytes(11) + b"\0\0\xff\xff", "rtp-extension"),
        (b"\x8f" + bytes(11), "rtp-csrc"),
    ],
)
def test_malformed_headers(data: bytes, rule: str) -> None:
    assert rule_of(data) == rule
    batch, _ = batch_of([data])
    assert RULES[batch.rule[0]] == rule


@given(st.lists(DATAGRAMS, min_size=1, max_size=20))
@example([b"", b"\x80" * 12, b"\xa0" + bytes(11)])
def test_batch_agrees_with_single_packets(datagrams: list[bytes]) -> None:
    batch, arena = batch_of(datagrams)
    for row, data in enumerate(datagrams):
        assert RULES[batch.rule[row]] == rule_of(data)
        assert batch.valid[row] == (rule_of(data) == "")
        if not batch.valid[row]:
            continue
        packet, start = RtpPacket.parse(data), batch.payload_offset[row]
        assert batch.payload_type[row] == packet.payload_type
        assert batch.marker[row] == packet.marker
        assert batch.sequence[row] == packet.sequence
        assert batch.timestamp[row] == packet.timestamp
        assert batch.ssrc[row] == packet.ssrc
        assert arena[row, start : start + batch.payload_length[row]].tobytes() == packet.payload


@given(st.lists(DATAGRAMS.map(lambda data: data[:60]), min_size=1, max_size=9))
def test_batch_reads_nothing_beyond_the_length(datagrams: list[bytes]) -> None:
    """Rows exactly as wide as the longest datagram: whatever lies behind must not matter."""
    wide, _ = batch_of(datagrams)
    narrow, _ = batch_of(datagrams, max(HEADER_BYTES, *(len(data) for data in datagrams), 12))
    assert narrow.rule.tolist() == wide.rule.tolist()
    assert narrow.payload_length[narrow.valid].tolist() == wide.payload_length[wide.valid].tolist()


def test_batch_refuses_a_length_beyond_its_row() -> None:
    arena = np.full((1, 20), 0x80, dtype=np.uint8)
    batch = parse_headers(arena, np.array([21], dtype=np.intp))
    assert RULES[batch.rule[0]] == "rtp-long"


def test_batch_of_nothing_and_of_narrow_rows() -> None:
    empty = parse_headers(np.zeros((0, WIDTH), dtype=np.uint8), np.zeros(0, dtype=np.intp))
    assert empty.valid.shape == (0,)
    with pytest.raises(LocalProtocolError):
        parse_headers(np.zeros((1, 11), dtype=np.uint8), np.zeros(1, dtype=np.intp))


def test_batch_leaves_the_lengths_alone() -> None:
    data = RtpPacket(0, 1, 2, 3, b"abcd", padding=4).serialize()
    arena = np.frombuffer(data, dtype=np.uint8).reshape(1, -1)
    lengths = np.array([len(data)], dtype=np.intp)
    batch = parse_headers(arena, lengths)
    assert (lengths[0], batch.payload_length[0]) == (20, 4)


@given(st.lists(packets(), min_size=1, max_size=20))
def test_written_headers_read_back(wanted: list[RtpPacket]) -> None:
    out = np.zeros((len(wanted), 20), dtype=np.uint8)
    write_headers(
        out,
        np.array([packet.payload_type for packet in wanted]),
        np.array([packet.marker for packet in wanted]),
        np.array([packet.sequence for packet in wanted]) + (5 << 16),  # counters past a wrap
        np.array([packet.timestamp for packet in wanted]) + (5 << 32),
        np.array([packet.ssrc for packet in wanted], dtype=np.uint32),
    )
    for row, packet in zip(out, wanted, strict=True):
        plain = replace(packet, payload=b"", csrc=(), extension_profile=None, extension=b"")
        assert row[:HEADER_BYTES].tobytes() == replace(plain, padding=0).serialize()
        assert not row[HEADER_BYTES:].any()


def test_headers_may_be_written_from_scalars() -> None:
    out = np.zeros((2, 12), dtype=np.uint8)
    write_headers(out, 8, True, 65_536, 2**32 + 1, 7)
    assert out[1].tobytes() == RtpPacket(8, 0, 1, 7, b"", marker=True).serialize()


@pytest.mark.parametrize(
    "packet",
    [
        RtpPacket(128, 0, 0, 0, b""),
        RtpPacket(-1, 0, 0, 0, b""),
        RtpPacket(0, 65_536, 0, 0, b""),
        RtpPacket(0, 0, 2**32, 0, b""),
        RtpPacket(0, 0, 0, -1, b""),
        RtpPacket(0, 0, 0, 0, b"", csrc=(0,) * 16),
        RtpPacket(0, 0, 0, 0, b"", csrc=(2**32,)),
        RtpPacket(0, 0, 0, 0, b"", extension_profile=0, extension=b"abc"),
        RtpPacket(0, 0, 0, 0, b"", padding=256),
    ],
)
def test_our_own_mistakes_are_not_sent(packet: RtpPacket) -> None:
    with pytest.raises(LocalProtocolError):
        packet.serialize()
