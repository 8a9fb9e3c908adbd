from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipbot.errors import LocalProtocolError, RtpError
from sipbot.rtp import rtcp
from sipbot.rtp.rtcp import (
    App,
    Bye,
    ReceiverReport,
    ReportBlock,
    RtcpPacket,
    RtcpSchedule,
    SdesChunk,
    SenderReport,
    SourceDescription,
)

RULES = {
    "rtcp-short",
    "rtcp-version",
    "rtcp-first",
    "rtcp-length",
    "rtcp-padding",
    "rtcp-body",
}
U32 = st.integers(0, 2**32 - 1)
WORDS = st.binary(max_size=16).map(lambda data: data[: len(data) // 4 * 4])
BLOCK = st.builds(
    ReportBlock, U32, st.integers(0, 255), st.integers(-(2**23), 2**23 - 1), U32, U32, U32, U32
)
BLOCKS = st.lists(BLOCK, max_size=31).map(tuple)
SENDER = st.builds(SenderReport, U32, st.integers(0, 2**64 - 1), U32, U32, U32, BLOCKS, WORDS)
RECEIVER = st.builds(ReceiverReport, U32, BLOCKS, WORDS)
ITEM = st.tuples(st.integers(1, 255), st.binary(max_size=255))
CHUNK = st.builds(SdesChunk, U32, st.lists(ITEM, max_size=4).map(tuple))
DESCRIPTION = st.builds(SourceDescription, st.lists(CHUNK, max_size=4).map(tuple))
BYE = st.builds(Bye, st.lists(U32, max_size=31).map(tuple), st.binary(max_size=255))
APP = st.builds(App, st.integers(0, 31), U32, st.binary(min_size=4, max_size=4), WORDS)


@st.composite
def compounds(draw: st.DrawFn) -> tuple[RtcpPacket, ...]:
    first = draw(st.one_of(SENDER, RECEIVER))
    others = st.one_of(SENDER, RECEIVER, DESCRIPTION, BYE, APP)
    return (first, *draw(st.lists(others, max_size=4)))


def rule_of(data: bytes) -> str:
    try:
        rtcp.parse(data)
    except RtpError as error:
        return error.reason
    return ""


EMPTY_RR = bytes.fromhex("80c90001 00000001")

# RFC 3550 section 6.4.1 figure 2: A 10 Nov 1995 11:33:25.125 UTC; LSR 0xb705:2000; DLSR 5.250 s.
SR_WIRE = bytes.fromhex(
    "81c8000c 00000001 b44db705 20000000 00003039 0000000a 00000640"
    "00000002 40fffffe 0001ffff 00000010 b7052000 00054000"
)


def test_reads_a_sender_report_as_on_the_wire() -> None:
    (report,) = rtcp.parse(SR_WIRE)
    block = ReportBlock(2, 64, -2, 0x1FFFF, 16, 0xB7052000, 0x54000)
    assert report == SenderReport(1, 0xB44DB70520000000, 12_345, 10, 1600, (block,))
    assert rtcp.serialize((report,)) == SR_WIRE


def test_reads_a_source_description_as_on_the_wire() -> None:
    data = EMPTY_RR + bytes.fromhex("81ca0004 00000001 0106") + b"a@b.in" + b"\0\0\0\0"
    _, description = rtcp.parse(data)
    assert isinstance(description, SourceDescription)
    assert description == SourceDescription((SdesChunk(1, ((1, b"a@b.in"),)),))
    assert description.chunks[0].cname == b"a@b.in"
    assert rtcp.serialize(rtcp.parse(data)) == data
    assert rtcp.cname_description(1, "a@b.in") == description


@given(compounds())
def test_serialise_then_parse_gives_the_same(packets: tuple[RtcpPacket, ...]) -> None:
    wire = rtcp.serialize(packets)
    assert rtcp.parse(wire) == packets
    assert rtcp.looks_like_rtcp(wire)


@given(
    st.one_of(
        st.binary(max_size=120),
        st.tuples(st.sampled_from([200, 201]), st.binary(max_size=120)).map(
            lambda part: bytes((0x81, part[0])) + part[1]
        ),
        st.tuples(compounds(), st.integers(0, 300)).map(lambda p: rtcp.serialize(p[0])[: p[1]]),
        st.tuples(st.integers(0x80, 0xBF), st.integers(200, 205), st.binary(max_size=60)).map(
            lambda p: EMPTY_RR + bytes((p[0], p[1], 0, len(p[2]) // 4)) + p[2][: len(p[2]) // 4 * 4]
        ),
    )
)
def test_any_bytes_parse_or_are_refused_by_a_named_rule(data: bytes) -> None:
    assert rule_of(data) in RULES | {""}


def test_every_truncation_is_refused_but_at_packet_borders() -> None:
    parts = (
        ReceiverReport(1, (ReportBlock(2, 0, 0, 0, 0),)),
        rtcp.cname_description(1, "someone@example.org"),
        Bye((1,), b"bye"),
    )
    whole = rtcp.serialize(parts)
    borders = {len(rtcp.serialize(parts[:count])) for count in (1, 2, 3)}
    for length in range(len(whole) + 1):
        assert (rule_of(whole[:length]) == "") == (length in borders)


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (EMPTY_RR[:7], "rtcp-short"),
        (b"\x00" + EMPTY_RR[1:], "rtcp-version"),
        (EMPTY_RR + b"\x40" + EMPTY_RR[1:], "rtcp-version"),
        (bytes.fromhex("81cb0001 00000001"), "rtcp-first"),  # a lone BYE
        (bytes.fromhex("80c90002 00000001"), "rtcp-length"),
        (EMPTY_RR + b"\x80", "rtcp-length"),
        (b"\x81" + EMPTY_RR[1:], "rtcp-body"),  # one report block announced, none there
        (bytes.fromhex("80c90000 80c90001 00000001"), "rtcp-body"),  # no SSRC
        (bytes.fromhex("80c80005 00000001") + bytes(16), "rtcp-body"),
        (b"\xa0" + EMPTY_RR[1:] + EMPTY_RR, "rtcp-padding"),  # not the last packet
        (EMPTY_RR + bytes.fromhex("a0c90002 00000001 00000005"), "rtcp-padding"),
        (EMPTY_RR + bytes.fromhex("a0c90002 00000001 00000000"), "rtcp-padding"),
        (EMPTY_RR + bytes.fromhex("a0c90001 0000000c"), "rtcp-padding"),
        (EMPTY_RR + bytes.fromhex("a0c90002 00000001 00000004"), ""),
        (EMPTY_RR + bytes.fromhex("81ca0001 00000001"), "rtcp-body"),  # item list never ends
        (EMPTY_RR + bytes.fromhex("81ca0002 00000001 01036162"), "rtcp-body"),
        (EMPTY_RR + bytes.fromhex("81ca0002 00000001 01026162"), "rtcp-body"),
        (EMPTY_RR + bytes.fromhex("81cb0000"), "rtcp-body"),
        (EMPTY_RR + bytes.fromhex("81cb0002 00000001 05616263"), "rtcp-body"),
        (EMPTY_RR + bytes.fromhex("80cc0001 00000001"), "rtcp-body"),
    ],
)
def test_malformed_compounds(data: bytes, rule: str) -> None:
    assert rule_of(data) == rule


def test_unknown_types_are_skipped() -> None:
    feedback = bytes.fromhex("81cd0003 00000001 00000002 00050000")  # RFC 4585 NACK
    extended = bytes.fromhex("80cf0001 00000001")  # RFC 3611
    assert rtcp.parse(EMPTY_RR + feedback + extended) == (ReceiverReport(1),)


def test_tells_rtcp_from_rtp_on_a_shared_port() -> None:
    assert rtcp.looks_like_rtcp(SR_WIRE)
    assert not rtcp.looks_like_rtcp(bytes.fromhex("80080001 00000000 00000000"))
    assert not rtcp.looks_like_rtcp(bytes.fromhex("80ff0001 00000000 00000000"))  # marker, PT 127
    assert not rtcp.looks_like_rtcp(bytes.fromhex("00c80001"))
    assert not rtcp.looks_like_rtcp(b"\x80\xc8")


@pytest.mark.parametrize(
    "packet",
    [
        ReceiverReport(2**32),
        ReceiverReport(1, (ReportBlock(1, 256, 0, 0, 0),)),
        ReceiverReport(1, (ReportBlock(1, 0, 0, 0, 0),) * 32),
        ReceiverReport(1, (), b"abc"),
        SenderReport(1, 2**64, 0, 0, 0),
        SenderReport(1, 0, 0, -1, 0),
        SourceDescription((SdesChunk(1, ((1, b"x" * 256),)),)),
        SourceDescription((SdesChunk(1, ((0, b"x"),)),)),
        SourceDescription((SdesChunk(1, ((256, b"x"),)),)),
        Bye((1,) * 32),
        Bye((1,), b"x" * 256),
        App(0, 1, b"abc"),
        App(32, 1, b"abcd"),
        App(0, 1, b"abcd", bytes(4 * 0xFFFF)),
    ],
)
def test_our_own_mistakes_are_not_sent(packet: RtcpPacket) -> None:
    with pytest.raises(LocalProtocolError):
        rtcp.serialize((packet,))


def test_cumulative_loss_saturates() -> None:
    """RFC 3550 A.3: "clamp at 0x7fffff for positive loss or 0x800000 for negative loss"."""
    for lost, told in ((2**30, 2**23 - 1), (-(2**30), -(2**23))):
        (report,) = rtcp.parse(
            rtcp.serialize((ReceiverReport(1, (ReportBlock(1, 0, lost, 0, 0),)),))
        )
        assert isinstance(report, ReceiverReport)
        assert report.reports[0].cumulative_lost == told


def test_ntp_of_the_rfc_example() -> None:
    """RFC 3550 figure 2: 10 Nov 1995 11:33:25.125 UTC is 0xb44d:b705 2000:0000."""
    wall = 816_003_205.125
    assert rtcp.ntp_from_wall(wall) == 0xB44DB70520000000
    assert rtcp.wall_from_ntp(0xB44DB70520000000) == wall
    assert rtcp.middle32(0xB44DB70520000000) == 0xB7052000


@given(st.floats(-60_000_000, 4_000_000_000))  # 1968 to 2096
def test_ntp_round_trip_over_the_era_change(wall: float) -> None:
    ntp = rtcp.ntp_from_wall(wall)
    assert 0 <= ntp < 2**64
    assert abs(rtcp.wall_from_ntp(ntp) - wall) < 1e-6


def test_era_changes_in_2036() -> None:
    last = 2_085_978_495.0  # 7 Feb 2036 06:28:15 UTC
    assert rtcp.ntp_from_wall(last) >> 32 == 0xFFFF_FFFF
    assert rtcp.ntp_from_wall(last + 1) >> 32 == 0


def test_schedule_halves_the_first_interval_and_randomises() -> None:
    draws = iter([0.0, 0.5, 0.999])
    schedule = RtcpSchedule(lambda: next(draws), 5.0)
    assert schedule.next_deadline() is None
    first = schedule.start(100.0)
    assert first == schedule.next_deadline() == pytest.approx(100 + 2.5 * 0.5 / 1.21828)
    assert schedule.sent(200.0) == pytest.approx(200 + 5.0 / 1.21828)
    assert schedule.sent(300.0) == pytest.approx(300 + 5.0 * 1.499 / 1.21828)
    schedule.stop()
    assert schedule.next_deadline() is None


def test_schedule_refuses_no_interval() -> None:
    with pytest.raises(LocalProtocolError):
        RtcpSchedule(lambda: 0.5, 0.0)
