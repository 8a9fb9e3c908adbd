from __future__ import annotations

import itertools
import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipbot.sip.framing import (
    Frame,
    KeepAlivePing,
    KeepAlivePong,
    MessageBytes,
    StreamError,
    StreamFramer,
)
from sipbot.sip.grammar import MAX_BODY, MAX_HEAD
from sipbot.sip.message import BadRequest, parse_message
from tests.fuzz.corpus import mutate
from tests.sip.samples import BYE, FIXTURES, INVITE, RINGING, assert_linear

GOOD = [INVITE, BYE, RINGING]
PING = b"\r\n\r\n"
BREAK_A_STREAM = {
    "rfc4475/ncl.dat": "Bad Content-Length",
    "rfc4475/mcl01.dat": "Repeated Content-Length",
    "rfc4475/inv2543.dat": "Missing Content-Length",  # legal in a datagram
}
TORTURE = sorted(FIXTURES.glob("rfc*/*.dat"))


def feed_in_pieces(data: bytes, cuts: list[int]) -> list[Frame]:
    """Everything that comes out when the stream is cut at ``cuts``, errors included."""
    framer = StreamFramer()
    frames: list[Frame] = []
    edges = [0, *sorted(cuts), len(data)]
    for start, end in itertools.pairwise(edges):
        frames += framer.feed(data[start:end])
    return frames


def broken(data: bytes) -> StreamError:
    framer = StreamFramer()
    with pytest.raises(StreamError) as caught:
        framer.feed(data)
    assert framer.buffered == 0
    return caught.value


@pytest.mark.parametrize("data", GOOD)
def test_whole_and_byte_by_byte_and_with_trailing_bytes(data: bytes) -> None:
    assert feed_in_pieces(data, []) == [MessageBytes(data)]
    assert feed_in_pieces(data, list(range(len(data)))) == [MessageBytes(data)]
    framer = StreamFramer()
    assert framer.feed(data + b"INV") == [MessageBytes(data)]
    assert framer.buffered == 3
    assert framer.feed(INVITE[3:]) == [MessageBytes(INVITE)]


@pytest.mark.parametrize("data", GOOD)
def test_cut_at_each_place(data: bytes) -> None:
    for place in range(len(data)):
        assert feed_in_pieces(data + BYE, [place]) == [MessageBytes(data), MessageBytes(BYE)]


def messages(frames: Iterable[Frame]) -> list[bytes]:
    return [frame.data for frame in frames if isinstance(frame, MessageBytes)]


@pytest.mark.parametrize("name", [str(path.relative_to(FIXTURES)) for path in TORTURE])
def test_torture_messages_keep_their_bytes(name: str) -> None:
    data = (FIXTURES / name).read_bytes()
    if name in BREAK_A_STREAM:
        error = broken(data)
        assert error.reason == BREAK_A_STREAM[name]
        for frame in messages(error.frames):
            with pytest.raises(BadRequest):
                parse_message(frame)
        return
    whole = feed_in_pieces(data, [])
    assert feed_in_pieces(data, list(range(len(data)))) == whole
    assert data.startswith(b"".join(messages(whole)))
    assert messages(whole) or name == "rfc4475/clerr.dat"  # which waits for more


def test_keep_alive_between_messages() -> None:
    frames = feed_in_pieces(PING + BYE + PING + PING + INVITE, [])
    assert frames == [
        KeepAlivePing(),
        MessageBytes(BYE),
        KeepAlivePing(),
        KeepAlivePing(),
        MessageBytes(INVITE),
    ]


def test_ping_byte_by_byte() -> None:
    framer = StreamFramer()
    assert [framer.feed(PING[index : index + 1]) for index in range(4)] == [
        [],
        [],
        [],
        [KeepAlivePing()],
    ]


def test_lone_line_end_before_a_message_is_a_pong() -> None:
    """RFC 3261 section 7.5: CRLF before a start line is ignored."""
    framer = StreamFramer()
    assert framer.feed(b"\r\n") == []
    assert framer.feed(BYE) == [KeepAlivePong(), MessageBytes(BYE)]


def test_pong_comes_at_once_when_expected() -> None:
    framer = StreamFramer()
    framer.expect_pong()
    assert framer.feed(b"\r\n") == [KeepAlivePong()]
    assert framer.feed(b"\r\n") == []
    assert framer.feed(b"\r\n") == [KeepAlivePing()]


def test_lone_line_feeds_are_skipped() -> None:
    assert feed_in_pieces(b"\n\n" + BYE + b"\n" + BYE + b"\n\n", []) == [MessageBytes(BYE)] * 2


def test_bare_line_feeds_end_a_head() -> None:
    data = BYE.replace(b"\r\n", b"\n")
    assert feed_in_pieces(data + data, []) == [MessageBytes(data)] * 2


@pytest.mark.parametrize(
    "header",
    [
        b"Content-Length: 3",
        b"l:3",
        b"CONTENT-LENGTH \t: \t003  ",
        b"L : 3",
        b"Content-Length:\r\n 3",
        b"Content-Length:\r\n\t3\r\n ",
        b"Subject: a\r\n b\r\nContent-Length: 3",
        b"X: a\r\n Content-Length: 9\r\nContent-Length: 3",
        b"Content-Length: 3\r\nl: 3",
    ],
)
def test_content_length_spellings(header: bytes) -> None:
    data = BYE.replace(b"Content-Length: 0", header) + b"abc"
    assert feed_in_pieces(data + BYE, []) == [MessageBytes(data), MessageBytes(BYE)]
    assert parse_message(data).body == b"abc"


def test_message_without_content_length_and_type_has_no_body() -> None:
    data = BYE.replace(b"Content-Length: 0\r\n", b"")
    assert feed_in_pieces(data + BYE, []) == [MessageBytes(data), MessageBytes(BYE)]


@pytest.mark.parametrize(
    ("header", "reason", "status"),
    [
        (b"Content-Length: x", "Bad Content-Length", 400),
        (b"Content-Length: -1", "Bad Content-Length", 400),
        (b"Content-Length:", "Bad Content-Length", 400),
        (b"Content-Length: 1\r\nl: 2", "Repeated Content-Length", 400),
        (b"Content-Length: %d" % (MAX_BODY + 1), "Body Too Large", 513),
        (b"Content-Length: " + b"9" * 5000, "Body Too Large", 513),
        (b"X: a\r\n b\r\nl: 99999999", "Body Too Large", 513),
    ],
)
def test_broken_streams_still_answer(header: bytes, reason: str, status: int) -> None:
    error = broken(BYE + PING + BYE.replace(b"Content-Length: 0", header) + b"rest")
    assert (error.reason, error.status) == (reason, status)
    assert error.frames[:2] == (MessageBytes(BYE), KeepAlivePing())
    last = error.frames[2]
    assert isinstance(last, MessageBytes)
    with pytest.raises(BadRequest) as caught:
        parse_message(last.data)
    assert (caught.value.reason, caught.value.status) == (reason, status)


def test_body_without_content_length_breaks_the_stream() -> None:
    """RFC 3261 section 18.3."""
    for fold in (b"", b"X: a\r\n b\r\n"):
        data = BYE.replace(b"Content-Length: 0\r\n", b"c: text/plain\r\n" + fold)
        error = broken(INVITE + data)
        assert error.reason == "Missing Content-Length"
        assert error.frames == (MessageBytes(INVITE),)


def test_head_without_end() -> None:
    framer = StreamFramer()
    start = BYE[: BYE.index(b"Content-Length")]
    line = b"X: aaaaaaaaaaaaaaaa\r\n"
    assert framer.feed(start + line * ((MAX_HEAD - len(start)) // len(line))) == []
    with pytest.raises(StreamError) as caught:
        framer.feed(line)
    assert caught.value.status == 513
    (frame,) = caught.value.frames
    assert isinstance(frame, MessageBytes)
    with pytest.raises(BadRequest) as refused:
        parse_message(frame.data)
    assert refused.value.status == 513


def test_broken_stays_broken() -> None:
    framer = StreamFramer()
    for _ in range(2):
        with pytest.raises(StreamError) as caught:
            framer.feed(b"\r" + BYE)
        assert (caught.value.status, caught.value.frames) == (400, ())


def test_junk_without_line_end_is_bounded() -> None:
    framer = StreamFramer()
    assert framer.feed(b"\x00" * MAX_HEAD) == []
    with pytest.raises(StreamError):
        framer.feed(b"\x00")


@given(
    st.lists(st.sampled_from([INVITE, BYE, RINGING, PING, b"\r\n", b"\n"]), max_size=6),
    st.data(),
)
def test_chunking_changes_nothing(pieces: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(pieces) + BYE
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8))
    assert feed_in_pieces(stream, cuts) == feed_in_pieces(stream, [])


@given(st.sampled_from(GOOD), st.integers(0, 2**32), st.integers(1, 200))
def test_mutated_streams_raise_only_the_one_error(data: bytes, seed: int, step: int) -> None:
    stream = mutate(data + data, random.Random(seed))
    framer = StreamFramer()
    cut_out: list[bytes] = []
    try:
        for start in range(0, len(stream), step):
            frames = framer.feed(stream[start : start + step])
            cut_out += messages(frames)
    except StreamError as error:
        cut_out += messages(error.frames)
    assert sum(map(len, cut_out)) <= len(stream)
    assert framer.buffered <= MAX_HEAD + MAX_BODY + 4


def test_feeding_byte_by_byte_is_linear() -> None:
    def run(size: int) -> None:
        framer = StreamFramer()
        framer.feed(b"BYE sip:h SIP/2.0\r\nX: ")
        for _ in range(size):
            framer.feed(b"a")

    assert_linear(run, small=7_000)


@pytest.mark.parametrize("unit", [PING, b"\n", b"\r\n", BYE, b"a\n\n"])
def test_many_small_frames_are_linear(unit: bytes) -> None:
    assert_linear(lambda size: StreamFramer().feed(unit * (size // len(unit))))
