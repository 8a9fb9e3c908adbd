from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipbot.errors import SdpError
from sipbot.sdp import session
from sipbot.sdp.session import (
    Attribute,
    Connection,
    Line,
    MediaDescription,
    Origin,
    SessionDescription,
    parse,
)

FULL = (
    b"v=0\r\n"
    b"o=alice 2890844526 2890842807 IN IP4 192.0.2.10\r\n"
    b"s=Call\r\n"
    b"i=A talk\r\n"
    b"u=http://example.com/\r\n"
    b"e=a@example.com\r\n"
    b"p=+1 617 555-6011\r\n"
    b"c=IN IP4 192.0.2.10\r\n"
    b"b=AS:64\r\n"
    b"t=3034423619 3042462419\r\n"
    b"r=7d 1h 0 25h\r\n"
    b"t=0 0\r\n"
    b"z=2882844526 -1h\r\n"
    b"k=prompt\r\n"
    b"a=sendrecv\r\n"
    b"a=tool:phone 1.0\r\n"
    b"X=whatever\r\n"
    b"m=audio 49170/2 RTP/AVP 8 0 96\r\n"
    b"i=first\r\n"
    b"c=IN IP4 233.252.0.1/127/3\r\n"
    b"c=IN IP4 233.252.0.9/127\r\n"
    b"b=TIAS:64000\r\n"
    b"a=rtpmap:96 telephone-event/8000\r\n"
    b"a=fmtp:96 0-15\r\n"
    b"y=odd\r\n"
    b"m=video 0 RTP/AVP 31\r\n"
)


def test_a_full_description_keeps_its_bytes() -> None:
    assert parse(FULL).serialize() == FULL


def test_fields_of_a_full_description() -> None:
    found = parse(FULL)
    assert found.origin == Origin("alice", "2890844526", "2890842807", "IP4", "192.0.2.10")
    assert found.name == "Call"
    assert found.connection == Connection("IP4", "192.0.2.10")
    assert [line.kind for line in found.timing] == ["t", "r", "t", "z"]
    assert found.value("tool") == "phone 1.0"
    assert found.has("sendrecv")
    audio, video = found.media
    assert (audio.port, audio.port_count, audio.formats) == (49170, 2, ("8", "0", "96"))
    assert audio.connection == Connection("IP4", "233.252.0.1", suffix="/127/3")
    assert audio.value("rtpmap") == "96 telephone-event/8000"
    assert Line("y", "odd") in audio.extra
    assert (video.media, video.port, video.connection) == ("video", 0, None)


@pytest.mark.parametrize(
    "data",
    [
        FULL.replace(b"\r\n", b"\n"),
        FULL.replace(b"\r\n", b"\r\n\r\n"),
        FULL + b"\r\n\r\n",
        FULL.removesuffix(b"\r\n"),
        FULL.replace(b"s=Call", b"s= Call "),
        FULL.replace(b"a=fmtp:96 0-15", b"a=fmtp: 96 0-15 "),
    ],
    ids=["bare-lf", "blank-lines", "blank-end", "no-last-end", "spaces", "spaces-in-attribute"],
)
def test_sloppy_writers_are_understood(data: bytes) -> None:
    assert parse(data) == parse(FULL)


def test_missing_name_and_time_get_their_neutral_values() -> None:
    found = parse(b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\n")
    assert found.serialize() == b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n"
    assert parse(b"v=0\no=- 1 1 IN IP4 192.0.2.1\ns= \n").name == "-"


def test_ipv6_and_bytes_that_are_no_utf8_survive() -> None:
    data = b"v=0\r\no=- 1 1 IN IP6 2001:db8::1\r\ns=caf\xe9\r\nc=IN IP6 2001:db8::1\r\nt=0 0\r\n"
    found = parse(data)
    assert found.connection == Connection("IP6", "2001:db8::1")
    assert found.serialize() == data


HEAD = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\n"


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"", "sdp-no-version-or-origin"),
        (b"o=- 1 1 IN IP4 192.0.2.1\r\nv=0\r\n", "sdp-no-version-or-origin"),
        (b"v=1\r\no=- 1 1 IN IP4 192.0.2.1\r\n", "sdp-no-version-or-origin"),
        (b"v=0\r\ns=-\r\n", "sdp-no-version-or-origin"),
        (b"v=0\r\no=- 1 1 IN IP4\r\n", "sdp-origin"),
        (HEAD + b"v=0\r\n", "sdp-repeated-line"),
        (HEAD + b"hello\r\n", "sdp-line-form"),
        (HEAD + b"aa=b\r\n", "sdp-line-form"),
        (HEAD + b"i=a\0b\r\n", "sdp-control-character"),
        (HEAD + b"i=a\rb\r\n", "sdp-control-character"),
        (HEAD + b"c=IN IP4\r\n", "sdp-connection"),
        (HEAD + b"c=IN IP4 /3\r\n", "sdp-connection"),
        (HEAD + b"a=\r\n", "sdp-attribute-name"),
        (HEAD + b"a=b c:d\r\n", "sdp-attribute-name"),
        (HEAD + b"m=audio 4000 RTP/AVP\r\n", "sdp-media"),
        (HEAD + b"m=audio 65536 RTP/AVP 0\r\n", "sdp-media-port"),
        (HEAD + b"m=audio -1 RTP/AVP 0\r\n", "sdp-media-port"),
        (HEAD + b"m=audio 4000/x RTP/AVP 0\r\n", "sdp-media-port"),
        (HEAD + b"i=" + b"x" * session.MAX_LINE_BYTES + b"\r\n", "sdp-line-too-long"),
        (HEAD + b"a=x\r\n" * session.MAX_LINES, "sdp-too-many-lines"),
        (HEAD + b"m=audio 0 RTP/AVP 0\r\n" * (session.MAX_MEDIA + 1), "sdp-too-many-media"),
        (
            HEAD + b"m=audio 4000 RTP/AVP" + b" 0" * (session.MAX_FORMATS + 1) + b"\r\n",
            "sdp-too-many-formats",
        ),
        (HEAD + (b"i=" + b"x" * 2000 + b"\r\n") * 9, "sdp-too-large"),
    ],
)
def test_unreadable_descriptions_are_400_with_their_rule(data: bytes, rule: str) -> None:
    with pytest.raises(SdpError) as caught:
        parse(data)
    assert (caught.value.status, caught.value.reason) == (400, rule)


def _parse_or_400(data: bytes) -> SessionDescription | None:
    """The description, or None; any other exception, or another status, fails the test."""
    try:
        return parse(data)
    except SdpError as error:
        status = error.status
    assert status == 400
    return None


def test_cut_at_every_length() -> None:
    readable = sum(_parse_or_400(FULL[:length]) is not None for length in range(len(FULL)))
    assert readable > 100  # every whole line, and many a line cut inside its text


@given(st.binary(max_size=300))
def test_random_bytes_raise_nothing_else(data: bytes) -> None:
    _parse_or_400(data)


@given(st.integers(0, len(FULL) - 1), st.binary(max_size=4), st.integers(0, 6))
def test_mutated_bytes_parse_and_settle(position: int, inserted: bytes, removed: int) -> None:
    found = _parse_or_400(FULL[:position] + inserted + FULL[position + removed :])
    if found is not None:
        assert parse(found.serialize()) == found


TOKENS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9.\-]{0,11}", fullmatch=True)
TEXTS = st.text(
    st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=20
).map(lambda text: text.strip())
ATTRIBUTES = st.builds(Attribute, TOKENS, st.none() | TEXTS)
CONNECTIONS = st.sampled_from(
    [
        Connection("IP4", "198.51.100.7"),
        Connection("IP6", "2001:db8::7"),
        Connection("IP4", "233.252.0.3", suffix="/127"),
        Connection("IP4", "host.example.com"),
    ]
)
MEDIA = st.builds(
    MediaDescription,
    media=TOKENS,
    port=st.integers(0, session.MAX_PORT),
    profile=st.sampled_from(["RTP/AVP", "RTP/SAVP", "UDP/TLS/RTP/SAVPF"]),
    formats=st.lists(TOKENS, min_size=1, max_size=5).map(tuple),
    port_count=st.integers(1, 9),
    connection=st.none() | CONNECTIONS,
    attributes=st.lists(ATTRIBUTES, max_size=4).map(tuple),
    extra=st.tuples(st.builds(Line, st.just("i"), TEXTS), st.builds(Line, st.just("b"), TEXTS)),
)
DESCRIPTIONS = st.builds(
    SessionDescription,
    origin=st.builds(
        Origin, TOKENS, TOKENS, TOKENS, st.sampled_from(["IP4", "IP6"]), st.just("192.0.2.1")
    ),
    name=TEXTS.filter(bool),
    connection=st.none() | CONNECTIONS,
    attributes=st.lists(ATTRIBUTES, max_size=4).map(tuple),
    media=st.lists(MEDIA, max_size=4).map(tuple),
)


@given(DESCRIPTIONS)
def test_round_trip_of_values(description: SessionDescription) -> None:
    assert parse(description.serialize()) == description
