"""Messages and hypothesis strategies that several SIP tests share."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from hypothesis import strategies as st

from sipbot.sip.headers import Headers, NameAddr, Via
from sipbot.sip.uri import Uri

FIXTURES = Path(__file__).parent.parent / "fixtures"

SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.5\r\ns=-\r\nc=IN IP4 192.0.2.5\r\nt=0 0\r\n"

INVITE = (
    b"INVITE sip:echo@198.51.100.7:5070;transport=tcp SIP/2.0\r\n"
    b"Via: SIP/2.0/TCP 203.0.113.5:443;branch=z9hG4bKabcdef.1;rport\r\n"
    b"Via: SIP/2.0/UDP 10.0.0.3;branch=z9hG4bK0a1b2c;received=203.0.113.9\r\n"
    b"Record-Route: <sip:203.0.113.5:443;transport=tls;lr>\r\n"
    b"Max-Forwards: 67\r\n"
    b'From: "A \\"B\\" C" <sip:alice@example.com>;tag=as1d9e6f0b\r\n'
    b"To: <sip:echo@198.51.100.7>\r\n"
    b"Contact: <sip:alice@203.0.113.5:443;transport=tcp>\r\n"
    b"Call-ID: 5e0c2a0f-aa@example.com\r\n"
    b"CSeq: 102 INVITE\r\n"
    b"Allow: INVITE, ACK, CANCEL, BYE\r\n"
    b"Supported: replaces, Timer\r\n"
    b"X-Exotel-CallSid: abc\r\n"
    b"Content-Type: application/sdp\r\n"
    b"Content-Length: 63\r\n"
    b"\r\n" + SDP
)
BYE = (
    b"BYE sip:echo@198.51.100.7 SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 203.0.113.5;branch=z9hG4bK7\r\n"
    b"From: <sip:alice@example.com>;tag=a\r\n"
    b"To: <sip:echo@198.51.100.7>;tag=b\r\n"
    b"Call-ID: 5e0c2a0f\r\n"
    b"CSeq: 103 BYE\r\n"
    b"Content-Length: 0\r\n\r\n"
)
RINGING = (
    b"SIP/2.0 180 Ringing\r\n"
    b"Via: SIP/2.0/UDP 203.0.113.5;branch=z9hG4bK7\r\n"
    b"From: <sip:alice@example.com>;tag=a\r\n"
    b"To: <sip:echo@198.51.100.7>;tag=b\r\n"
    b"Call-ID: 5e0c2a0f\r\n"
    b"CSeq: 103 INVITE\r\n"
    b"Content-Length: 0\r\n\r\n"
)

_TOKEN_CHARACTERS = "abcXYZ0189-.!%*_+`'~"
tokens = st.text(_TOKEN_CHARACTERS, min_size=1, max_size=12)
hosts = st.one_of(
    st.from_regex(r"[a-z0-9]([a-z0-9\-]{0,8})(\.[a-z][a-z0-9]{0,5}){0,2}", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str).filter(lambda text: "%" not in text),
)
ports = st.none() | st.integers(1, 65535)
_users = st.lists(
    st.one_of(st.sampled_from("aZ09-_.!~*'()&=+$,;?/#"), st.sampled_from(["%00", "%40", "%7e"])),
    min_size=1,
    max_size=10,
).map("".join)
_passwords = st.text("aZ09-_.!~*'()&=+$,", max_size=6)
_uri_values = st.text("aZ09-_.!~*'()[]/:&+$%", min_size=1, max_size=8)
_uri_parameters = st.lists(
    st.tuples(st.text("abcXYZ019-_.", min_size=1, max_size=6), st.none() | _uri_values), max_size=4
).map(tuple)


@st.composite
def uris(draw: st.DrawFn) -> Uri:
    """Any ``sip`` or ``sips`` URI in its canonical form."""
    user = draw(st.none() | _users)
    return Uri(
        draw(st.sampled_from(["sip", "sips"])),
        user,
        draw(st.none() | _passwords) if user else None,
        draw(hosts),
        draw(ports),
        draw(_uri_parameters),
        draw(st.sampled_from(["", "subject=x", "a=b&c=%20d"])),
    )


_quoted = st.text(max_size=6).map(
    lambda text: '"' + "".join(f"\\{c}" if c in '"\\' else c for c in text if c not in "\r\n") + '"'
)
header_parameters = st.lists(
    st.tuples(tokens, st.none() | tokens | _quoted | st.sampled_from(["[2001:db8::1]", "a=b=="])),
    max_size=4,
).map(tuple)
displays = st.text(max_size=12).map(
    lambda text: "".join(c for c in text if c not in "\r\n").strip(" \t")
)


@st.composite
def name_addrs(draw: st.DrawFn) -> NameAddr:
    """Any name-addr value."""
    return NameAddr(draw(displays), draw(uris()), draw(header_parameters))


@st.composite
def vias(draw: st.DrawFn) -> Via:
    """Any Via value."""
    parameters = draw(header_parameters)
    named = tuple(item for item in parameters if item[0].lower() != "rport")
    if draw(st.booleans()):
        named = (*named, ("rport", draw(st.none() | st.integers(1, 65535).map(str))))
    return Via(draw(tokens).upper(), draw(hosts), draw(ports), named)


header_values = st.text(max_size=30).map(
    lambda text: "".join(c for c in text if ord(c) >= 32 and ord(c) != 127).strip(" \t")
)
header_names = st.sampled_from(
    ["Via", "v", "VIA", "To", "X-Thing", "x-thing", "Subject", "call-id"]
)
headers = st.lists(st.tuples(header_names, header_values), max_size=12).map(Headers)


def assert_linear(run: Callable[[int], object], small: int = 16_384) -> None:
    """Four times the input may take at most ten times as long: quadratic work takes sixteen."""

    def best(size: int) -> float:
        spent: list[float] = []
        for _ in range(4):
            begin = time.perf_counter()
            run(size)
            spent.append(time.perf_counter() - begin)
        return min(spent)

    for _ in range(3):  # a busy machine may spoil one measurement, not three
        ratio = best(4 * small) / max(best(small), 1e-5)
        if ratio < 10:
            return
    raise AssertionError(f"four times the input took {ratio:.0f} times as long")
