from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipbot.errors import SipSyntaxError
from sipbot.sip.body import MAX_DEPTH, MAX_PARTS, bodies, parse_media_type, sdp_body
from sipbot.sip.headers import Headers
from sipbot.sip.message import Request
from sipbot.sip.uri import Uri
from tests.sip.samples import assert_linear


def message(content_type: str | None, body: bytes) -> Request:
    headers = Headers([] if content_type is None else [("Content-Type", content_type)])
    return Request("INVITE", Uri.parse("sip:a@b"), headers, body)


def multipart(*parts: bytes, boundary: bytes = b"b1", line_end: bytes = b"\r\n") -> bytes:
    delimiter = b"--" + boundary
    joined = b"".join(delimiter + line_end + part + line_end for part in parts)
    return joined + delimiter + b"--" + line_end


SDP_PART = b"Content-Type: application/sdp\r\n\r\nv=0\r\n"


def test_media_type() -> None:
    assert parse_media_type(" Application / SDP ; x=Y") == ("application/sdp", (("x", "Y"),))
    for text in ("", "application", "a/b/c", "a/b;", "/b", "a b"):
        with pytest.raises(SipSyntaxError):
            parse_media_type(text)


def test_single_bodies() -> None:
    assert bodies(message("application/sdp", b"")) == ()
    assert bodies(message("Application/SDP;x=1", b"v=0")) == (("application/sdp", b"v=0"),)
    assert bodies(message(None, b"x")) == (("", b"x"),)
    assert sdp_body(message("application/sdp", b"v=0")) == b"v=0"
    assert sdp_body(message("text/plain", b"v=0")) is None
    assert sdp_body(message("application/sdp", b"")) is None


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
def test_multipart(line_end: bytes) -> None:
    part = SDP_PART.replace(b"\r\n", line_end)
    body = multipart(b"c: text/html\r\n\r\nhi", part, line_end=line_end)
    request = message('multipart/mixed; boundary="b1"', body)
    content = b"v=0" + line_end
    assert bodies(request) == (("text/html", b"hi"), ("application/sdp", content))
    assert sdp_body(request) == content


def test_multipart_preamble_epilogue_and_odd_parts() -> None:
    body = (
        b"preamble --b1\r\n"
        + multipart(b"\r\nplain", b"Content-ID: <x>\r\n\r\nsecond --b1 inside", b"X: only headers")
        + b"--b1\r\nepilogue"
    )
    assert bodies(message("multipart/mixed;boundary=b1", body)) == (
        ("text/plain", b"plain"),
        ("text/plain", b"second --b1 inside"),
        ("text/plain", b""),
    )


def test_empty_parts_and_transport_padding() -> None:
    body = b"--b1  \r\n\r\n--b1\t\r\n--b1--"
    parts = bodies(message("multipart/mixed;boundary=b1", body))
    assert parts == (("text/plain", b""), ("text/plain", b""))


def test_boundary_is_no_pattern() -> None:
    body = multipart(b"\r\nx", boundary=b"a.b+c")
    assert bodies(message('multipart/mixed;boundary="a.b+c"', body)) == (("text/plain", b"x"),)
    with pytest.raises(SipSyntaxError):
        bodies(message('multipart/mixed;boundary="aXb+c"', body))


def nested(levels: int) -> tuple[str, bytes]:
    header, body = "application/sdp", b"v=0"
    for level in range(levels):
        boundary = f"b{level}".encode()
        body = multipart(f"Content-Type: {header}\r\n\r\n".encode() + body, boundary=boundary)
        header = f"multipart/mixed;boundary=b{level}"
    return header, body


def test_nesting_has_a_limit() -> None:
    assert sdp_body(message(*nested(MAX_DEPTH))) == b"v=0"
    with pytest.raises(SipSyntaxError, match="Too Deep"):
        bodies(message(*nested(MAX_DEPTH + 1)))


def test_parts_have_a_limit() -> None:
    body = multipart(*[b"\r\nx"] * MAX_PARTS)
    assert len(bodies(message("multipart/mixed;boundary=b1", body))) == MAX_PARTS
    for count in (MAX_PARTS + 1, MAX_PARTS + 2, 5 * MAX_PARTS):
        body = multipart(*[b"\r\nx"] * count)
        with pytest.raises(SipSyntaxError):
            bodies(message("multipart/mixed;boundary=b1", body))


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/mixed", multipart(b"\r\nx")),
        ('multipart/mixed;boundary=""', multipart(b"\r\nx")),
        ('multipart/mixed;boundary="é"', multipart(b"\r\nx")),
        ("multipart/mixed;boundary=" + "b" * 71, multipart(b"\r\nx", boundary=b"b" * 71)),
        ("multipart/mixed;boundary=b1", b"no delimiter"),
        ("multipart/mixed;boundary=b1", b"--b1\r\n\r\nnot closed"),
        ("multipart/mixed;boundary=b1", multipart(b"bad header\r\n\r\nx")),
        ("multipart/mixed;boundary=b1", multipart(b"Content-Type: junk\r\n\r\nx")),
        ("multipart/mixed;boundary=b1", multipart(b"X: a\rb\r\n\r\nx")),
        ("junk", b"x"),
    ],
)
def test_bad_bodies(content_type: str, body: bytes) -> None:
    with pytest.raises(SipSyntaxError) as caught:
        bodies(message(content_type, body))
    assert caught.value.status == 400


@given(st.lists(st.binary(max_size=20).filter(lambda part: b"--b1" not in part), max_size=5))
def test_multipart_round_trip(contents: list[bytes]) -> None:
    body = multipart(*[b"Content-Type: a/b\r\n\r\n" + content for content in contents])
    found = bodies(message("multipart/mixed;boundary=b1", body))
    assert [content for _, content in found] == contents


@given(st.lists(st.sampled_from([b"--b1", b"--", b"\r\n", b"\n", b"x", b":", b"c:a/b"])))
def test_any_body_parses_or_raises_the_one_error(pieces: list[bytes]) -> None:
    try:
        found = bodies(message("multipart/mixed;boundary=b1", b"".join(pieces)))
    except SipSyntaxError:
        return
    assert len(found) <= MAX_PARTS


@pytest.mark.parametrize("unit", [b"\r\n", b"\n--b1", b"\r", b"--b1", b"\r\n--b1 ", b"\n--b1\t"])
def test_multipart_is_linear(unit: bytes) -> None:
    def run(size: int) -> None:
        with pytest.raises(SipSyntaxError):
            bodies(message("multipart/mixed;boundary=b1", unit * (size // len(unit)) + b"x"))

    assert_linear(run)
