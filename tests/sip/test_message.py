from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipbot.errors import LocalProtocolError, SipSyntaxError
from sipbot.sip import grammar
from sipbot.sip.headers import CSeq, Headers, NameAddr
from sipbot.sip.message import (
    BadRequest,
    Message,
    Request,
    Response,
    content_length,
    parse_message,
    sdp_body,
)
from sipbot.sip.uri import Uri
from tests.fuzz.corpus import mutate
from tests.sip import samples
from tests.sip.samples import BYE, INVITE, RINGING, SDP, assert_linear

GOOD = [INVITE, BYE, RINGING]


def request(data: bytes) -> Request:
    message = parse_message(data)
    assert isinstance(message, Request)
    return message


def refused(data: bytes) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        parse_message(data)
    return caught.value


def changed(old: bytes, new: bytes, base: bytes = INVITE) -> bytes:
    assert old in base
    return base.replace(old, new, 1)


def touch_typed(message: Message) -> None:
    """Read every typed property: on a parsed message none may raise."""
    assert message.vias
    assert message.top_via is message.vias[0]
    assert message.from_ is message.from_
    assert message.cseq.method
    assert message.call_id
    touched = (message.to, message.contacts, message.routes, message.record_routes)
    assert all(value is not None for value in touched)
    assert message.max_forwards is None or message.max_forwards <= 255
    for options in (message.require, message.supported, message.proxy_require):
        assert all(option == option.lower() for option in options)
    assert message.content_type == message.content_type.lower()


def test_request_fields() -> None:
    message = request(INVITE)
    assert message.method == "INVITE"
    assert message.uri == Uri.parse("sip:echo@198.51.100.7:5070;transport=tcp")
    assert [via.branch for via in message.vias] == ["z9hG4bKabcdef.1", "z9hG4bK0a1b2c"]
    assert message.top_via.rport == 0
    assert message.from_.display == 'A "B" C'
    assert message.from_.tag == "as1d9e6f0b"
    assert message.to.tag is None
    assert message.call_id == "5e0c2a0f-aa@example.com"
    assert message.cseq == CSeq(102, "INVITE")
    assert message.contacts[0].uri.port == 443
    assert message.record_routes[0].uri.has_parameter("lr")
    assert message.routes == ()
    assert message.max_forwards == 67
    assert message.content_type == "application/sdp"
    assert message.supported == ("replaces", "timer")
    assert message.require == message.proxy_require == ()
    assert message.headers.get("x-exotel-callsid") == "abc"
    assert sdp_body(message) == message.body == SDP


def test_response_fields() -> None:
    message = parse_message(RINGING)
    assert isinstance(message, Response)
    assert (message.status, message.reason) == (180, "Ringing")
    assert message.to.tag == "b"
    assert message.max_forwards is None
    assert message.content_type == ""


@pytest.mark.parametrize("data", GOOD)
def test_serialise_is_a_fixed_point(data: bytes) -> None:
    message = parse_message(data)
    assert message.serialize() == data
    assert parse_message(message.serialize()) == message


def test_content_length_is_computed() -> None:
    headers = Headers([("l", "999"), ("Via", "SIP/2.0/UDP h")])
    wire = Request("BYE", Uri.parse("sip:h"), headers, b"abc").serialize()
    assert wire == b"BYE sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nContent-Length: 3\r\n\r\nabc"
    assert Response.of(486, Headers()).serialize().startswith(b"SIP/2.0 486 Busy Here\r\n")


@pytest.mark.parametrize("bad", ["a\r\nX: y", "a\nb", "a\rb", "\r\n", "a\n", "\ud800"])
def test_header_injection_is_refused(bad: str) -> None:
    uri = Uri.parse("sip:h")
    attempts: list[Message] = [
        Request("BYE", uri, Headers([("Subject", bad)])),
        Request(bad, uri, Headers()),
        Request("BYE", Uri("sip", bad, None, "h", None), Headers()),
        Request("BYE", uri, Headers([("To", str(NameAddr(bad, uri)))])),
        Response(200, bad, Headers()),
    ]
    for message in attempts:
        with pytest.raises(LocalProtocolError):
            message.serialize()


@given(samples.headers, st.binary(max_size=40))
def test_any_headers_survive_the_wire(headers: Headers, body: bytes) -> None:
    base = request(BYE).headers
    extra = [item for item in headers.items() if item[0] not in base and item[0] != "Via"]
    message = Request("BYE", Uri.parse("sip:h"), Headers((*base.items(), *extra)), body)
    again = parse_message(message.serialize())
    assert again.body == body
    assert again.headers.without("Content-Length") == message.headers.without("Content-Length")
    assert parse_message(again.serialize()) == again


def test_equal_messages_are_equal_whatever_was_read_of_them() -> None:
    one, other = request(INVITE), request(INVITE)
    touch_typed(one)
    assert one == other
    assert hash(one) == hash(other)


@pytest.mark.parametrize("data", GOOD)
def test_cut_at_each_length(data: bytes) -> None:
    statuses: set[int] = set()
    for length in range(len(data)):
        try:
            message = parse_message(data[:length])
        except SipSyntaxError as error:
            statuses.add(error.status)
        else:
            touch_typed(message)
    assert statuses == {400}


def test_extra_bytes_are_cut_off_by_content_length() -> None:
    """RFC 3261 section 18.3."""
    assert request(BYE + b"junk").body == b""
    assert request(INVITE + INVITE).body == SDP


def test_body_without_content_length_ends_with_the_datagram() -> None:
    assert request(changed(b"Content-Length: 63\r\n", b"")).body == SDP


def test_short_body() -> None:
    error = refused(INVITE[:-1])
    assert (error.status, error.reason) == (400, "Body Shorter Than Content-Length")


@pytest.mark.parametrize(
    ("values", "length"),
    [((), None), (("0",), 0), (("007",), 7), (("5", "05"), 5), (("0" * 9000,), 0)],
)
def test_content_length(values: tuple[str, ...], length: int | None) -> None:
    assert content_length(values) == length


@pytest.mark.parametrize(
    ("values", "status"),
    [
        (("",), 400),
        (("-1",), 400),
        (("+1",), 400),
        (("1 2",), 400),
        (("٣",), 400),
        (("5", "6"), 400),
        (("1, 1",), 400),
        ((str(grammar.MAX_BODY + 1),), 513),
        (("9" * 6000,), 513),
    ],
)
def test_bad_content_length(values: tuple[str, ...], status: int) -> None:
    with pytest.raises(SipSyntaxError) as caught:
        content_length(values)
    assert caught.value.status == status


def test_leading_line_ends_are_skipped() -> None:
    assert parse_message(b"\r\n\r\n" + BYE) == parse_message(BYE)


def test_bare_line_feeds() -> None:
    assert request(INVITE.replace(b"\r\n", b"\n").replace(b"63", b"58")).contacts
    mixed = BYE.replace(b"\r\n", b"\n", 3)
    assert parse_message(mixed) == parse_message(BYE)


def test_latin_1_headers() -> None:
    name = changed(b'"A \\"B\\" C"', '"Jörg"'.encode("latin-1"))
    assert request(name).from_.display == "Jörg"
    assert parse_message(request(name).serialize()) == request(name)


def test_compact_form_equals_long_form() -> None:
    short = INVITE
    for name, compact in (
        (b"Via:", b"v:"),
        (b"From:", b"F :"),
        (b"To:", b"t\t:"),
        (b"Call-ID:", b"i:"),
        (b"Contact:", b"m:"),
        (b"Content-Type:", b"c:"),
        (b"Content-Length:", b"l:"),
        (b"Supported:", b"k:"),
    ):
        short = short.replace(name, compact)
    assert parse_message(short) == parse_message(INVITE)


def test_many_values_in_one_line_equal_many_lines() -> None:
    one_line = changed(b"\r\nVia: SIP/2.0/UDP 10.0.0.3", b",\r\n\t SIP/2.0/UDP 10.0.0.3")
    assert request(one_line).vias == request(INVITE).vias
    routes = b"Route: <sip:a;lr>, <sip:b;lr>\r\nRoute: <sip:c;lr>\r\nTo:"
    hosts = [route.uri.host for route in request(changed(b"To:", routes)).routes]
    assert hosts == ["a", "b", "c"]


def test_contact_star() -> None:
    star = changed(b"Contact: <sip:alice@203.0.113.5:443;transport=tcp>", b"m: *")
    assert request(star).contacts == ()
    assert request(star).headers.get("Contact") == "*"


def test_missing_max_forwards_is_none() -> None:
    """RFC 2543 peers leave it out."""
    assert request(changed(b"Max-Forwards: 67\r\n", b"")).max_forwards is None


def test_unknown_method_is_left_to_the_user_agent() -> None:
    assert request(BYE.replace(b"BYE", b"NOVEL!")).method == "NOVEL!"


BAD_REQUESTS = [
    (b"INVITE sip", b"INVITE  sip", "Bad Request Line", 400),
    (b"transport=tcp SIP", b"transport=tcp  SIP", "Bad Request Line", 400),
    (b"SIP/2.0\r\nVia", b"SIP/2.0 \r\nVia", "Bad Request Line", 400),
    (b"SIP/2.0\r\nVia", b"\r\nVia", "Bad Request Line", 400),
    (b"SIP/2.0\r\nVia", b"SIP/2.1\r\nVia", "Version Not Supported", 505),
    (b"SIP/2.0\r\nVia", b"SIP/3.0\r\nVia", "Version Not Supported", 505),
    (b"sip:echo@198.51.100.7:5070;transport=tcp", b"echo", "Bad URI", 400),
    (b"sip:echo@198.51.100.7:5070", b"sip:ec<ho@198.51.100.7", "Bad URI", 400),
    (b";transport=tcp SIP", b"?Route=x SIP", "Headers In Request-URI", 400),
    (b"Via: SIP/2.0/UDP 10.0.0.3", b"Via: junk", "Bad Via", 400),
    (b"From: ", b"X-From: ", "Missing From", 400),
    (b"To: ", b"X-To: ", "Missing To", 400),
    (b"Call-ID: ", b"X-Call-ID: ", "Missing Call-ID", 400),
    (b"CSeq: ", b"X-CSeq: ", "Missing CSeq", 400),
    (b"Allow: ", b"Call-ID: x\r\nAllow: ", "Repeated Call-ID", 400),
    (b"Allow: ", b"t: <sip:x>\r\nAllow: ", "Repeated To", 400),
    (b"Allow: ", b"Max-Forwards: 67\r\nAllow: ", "Repeated Max-Forwards", 400),
    (b"Call-ID: 5e", b"Call-ID: 5 e", "Bad Call-ID", 400),
    (b"Call-ID: 5e", "Call-ID: 5é".encode(), "Bad Call-ID", 400),
    (b"102 INVITE", b"102 BYE", "CSeq Method Mismatch", 400),
    (b"102 INVITE", b"102 invite", "CSeq Method Mismatch", 400),
    (b"102 INVITE", b"2147483648 INVITE", "CSeq Too Large", 400),
    (b"forwards: 67".title(), b"Forwards: 256", "Bad Max-Forwards", 400),
    (b"forwards: 67".title(), b"Forwards: -1", "Bad Max-Forwards", 400),
    (b"forwards: 67".title(), b"Forwards: " + b"9" * 5000, "Bad Max-Forwards", 400),
    (b"Contact: <", b"Contact: ,<", "Bad Contact", 400),
    (b"Contact: <", b"Contact: <<", "Bad Address", 400),
    (b"Record-Route: ", b"Record-Route: ;", "Bad Address", 400),
    (b"Allow: ", b"Route: <sip:a\r\nAllow: ", "Bad Address", 400),
    (b"application/sdp", b"application", "Bad Content-Type", 400),
    (b"Content-Length: 63", b"Content-Length: x", "Bad Content-Length", 400),
    (b"Content-Length: 63", b"Content-Length: 60000", "Body Too Large", 513),
    (b"Allow: ", b"no colon\r\nAllow: ", "Bad Header Line", 400),
    (b"Allow: ", b"X: " + b"a" * 9000 + b"\r\nAllow: ", "Header Field Too Long", 513),
    (b"Allow: ", b"X: a\r\n" * 300 + b"Allow: ", "Too Many Header Fields", 513),
    (b"Allow: ", b"X: aaaaaaa\r\n" * 4000 + b"Allow: ", "Header Section Too Large", 513),
    (b"Contact: <", b"Contact: " + b"<sip:a>," * 200 + b"<", "Too Many Contact Values", 513),
    (b"Record-Route: <sip", b"Record-Route: <sip:a" + b";p" * 99 + b">,<sip", "URI Param", 513),
]


@pytest.mark.parametrize(("old", "new", "reason", "status"), BAD_REQUESTS)
def test_bad_requests_can_be_answered(old: bytes, new: bytes, reason: str, status: int) -> None:
    error = refused(changed(old, new))
    assert reason in error.reason
    assert error.status == status
    answer = error.request
    assert answer.method == "INVITE"
    assert answer.top_via.branch == "z9hG4bKabcdef.1"
    assert answer.vias
    assert answer.cseq.number < 2**31
    assert answer.call_id
    assert answer.from_.uri.scheme == "sip"
    assert answer.to.with_tag("x").tag == "x"
    assert len(answer.headers.all("To")) == len(answer.headers.all("From")) == 1
    touch_answer = Response.of(status, answer.headers).serialize()
    assert touch_answer.startswith(f"SIP/2.0 {status}".encode())


def test_unreadable_addresses_keep_their_tag_for_the_answer() -> None:
    error = refused(changed(b'"A \\"B\\" C" <', b'"A <'))
    assert str(error.request.from_) == "<sip:unreadable.invalid>;tag=as1d9e6f0b"
    assert str(error.request.to) == "<sip:echo@198.51.100.7>"
    error = refused(changed(b"To: <", b"To: <<"))
    assert error.request.to.tag is None


def test_unreadable_parts_of_an_answer() -> None:
    error = refused(changed(b"102 INVITE", b"x INVITE"))
    assert error.request.cseq == CSeq(0, "INVITE")
    error = refused(changed(b"Call-ID: 5e0c2a0f-aa@example.com", b"Call-ID:"))
    assert error.request.call_id == "unreadable"
    error = refused(changed(b"sip:echo@198.51.100.7:5070", b"<sip:echo>"))
    assert error.request.uri.scheme == ""


def test_top_via_with_bad_parameters_is_repaired() -> None:
    error = refused(changed(b"abcdef.1;rport", b"abcdef.1;;rport"))
    assert str(error.request.top_via) == "SIP/2.0/TCP 203.0.113.5:443;branch=z9hG4bKabcdef.1"
    assert len(error.request.vias) == 2


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"\x00\x01\x02\x03",
        b"jaK\x00",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"INVITE\r\n\r\n",
        b":\r\n\r\n",
        BYE.replace(b"Via:", b"X:"),
        BYE.replace(b"SIP/2.0/UDP", b"junk"),
        BYE.replace(b"Via: SIP/2.0/UDP", b"Via: ,junk,SIP/2.0/UDP"),
        BYE.replace(b"\r\nTo", b"\rTo"),
        BYE.replace(b"To:", b"\x00To:"),
    ],
)
def test_junk_cannot_be_answered(data: bytes) -> None:
    with pytest.raises(SipSyntaxError) as caught:
        parse_message(data)
    assert not isinstance(caught.value, BadRequest)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"180", b"4294967301", 400),
        (b"180", b"099", 400),
        (b"180", b"700", 400),
        (b" 180", b"  180", 400),
        (b"SIP/2.0 180", b"SIP/2.1 180", 505),
        (b"103 INVITE", b"2147483648 INVITE", 400),
        (b"Via: SIP", b"Via: SIT", 400),
        (b"To:", b"bad line\r\nTo:", 400),
        (b"Content-Length: 0", b"Content-Length: 1", 400),
    ],
)
def test_bad_responses(old: bytes, new: bytes, status: int) -> None:
    with pytest.raises(SipSyntaxError) as caught:
        parse_message(changed(old, new, RINGING))
    assert not isinstance(caught.value, BadRequest)
    assert caught.value.status == status


@pytest.mark.parametrize(("line", "reason"), [(b"180", ""), (b"180 ", ""), (b"180  a b", " a b")])
def test_reason_phrases(line: bytes, reason: str) -> None:
    message = parse_message(changed(b"180 Ringing", line, RINGING))
    assert isinstance(message, Response)
    assert message.reason == reason


def test_whole_message_limit() -> None:
    head = BYE.replace(b"Content-Length: 0\r\n", b"")
    body = b"x" * grammar.MAX_BODY
    assert request(head + body).body == body
    assert refused(head + body + b"x").reason == "Body Too Large"
    error = refused(head + b"x" * grammar.MAX_MESSAGE)
    assert (error.status, error.reason) == (513, "Message Too Large")


def test_typed_properties_of_local_messages_raise_the_one_error() -> None:
    message = Request("BYE", Uri.parse("sip:h"), Headers([("Max-Forwards", "x")]))
    for read in (
        lambda: message.vias,
        lambda: message.top_via,
        lambda: message.from_,
        lambda: message.to,
        lambda: message.call_id,
        lambda: message.cseq,
        lambda: message.max_forwards,
    ):
        with pytest.raises(SipSyntaxError):
            read()


@given(st.binary(max_size=400))
def test_random_bytes_raise_only_the_one_error(data: bytes) -> None:
    for prefix in (b"", b"SIP/2.0 200 OK\r\n", b"BYE sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h\r\n"):
        with contextlib.suppress(SipSyntaxError):
            touch_typed(parse_message(prefix + data))


@given(st.sampled_from(GOOD), st.integers(0, 2**32))
def test_mutated_messages_raise_only_the_one_error(data: bytes, seed: int) -> None:
    mutated = mutate(data, random.Random(seed))
    try:
        message = parse_message(mutated)
    except BadRequest as error:
        answer = error.request
        touched = (answer.vias, answer.from_, answer.to, answer.call_id, answer.cseq)
        assert all(touched)
        Response.of(error.status, answer.headers).serialize()
    except SipSyntaxError:
        pass
    else:
        touch_typed(message)
        assert parse_message(message.serialize()).serialize() == message.serialize()


@pytest.mark.parametrize(
    "unit",
    [
        b",",
        b'"',
        b"<",
        b"\\",
        b"\r\n ",
        b"\r\n\t,",
        b";",
        b" ",
        b"a:b\r\n",
        b"\xff",
        b"v:\r\n",
        b"\n",
    ],
)
@pytest.mark.parametrize("name", [b"Via", b"Contact", b"To", b"X-Any", b"Content-Type", b"l"])
def test_hostile_headers_take_linear_time(name: bytes, unit: bytes) -> None:
    def run(size: int) -> None:
        value = unit * (size // len(unit))
        with contextlib.suppress(SipSyntaxError):
            parse_message(BYE.replace(b"To:", name + b": " + value + b"\r\nTo:", 1))

    assert_linear(run, small=8_000)
