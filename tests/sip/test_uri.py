from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipbot.errors import SipSyntaxError
from sipbot.sip.grammar import MAX_PARAMETERS
from sipbot.sip.uri import Uri, format_host, parse_host
from tests.sip.samples import assert_linear, uris

SAME_TEXT = [
    "sip:example.com",
    "sip:alice@example.com",
    "sip:alice:secretword@example.com;transport=tcp",
    "sips:alice@example.com?subject=project%20x&priority=urgent",
    "sip:+1-212-555-1212:1234@gateway.com;user=phone",
    "sip:atlanta.com;method=REGISTER?to=alice%40atlanta.com",
    "sip:alice;day=tuesday@atlanta.com",
    "sip:user;par=u%40example.net@example.com",
    "sip:*69#@pbx",
    "sip:a@my_container:5060",
    "sip:[2001:db8::1]",
    "sip:a@[::ffff:192.0.2.1]:5061;lr",
    "sip:a:@h",
    "sip:1_unusual~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d.(no)@example.com",
    "tel:+91-98(123)45678;phone-context=example.com;ext=1",
    "tel:+919812345678",
    "http://www.example.com",
    "urn:service:sos",
    "soap.beep://192.0.2.103:3002",
]


@pytest.mark.parametrize("text", SAME_TEXT)
def test_same_text_comes_back(text: str) -> None:
    assert str(Uri.parse(text)) == text


def test_fields() -> None:
    uri = Uri.parse("SIP:al%69ce:pw@[2001:DB8::1]:05061;Transport=TCP;lr?x=y")
    assert uri == Uri(
        "sip", "al%69ce", "pw", "2001:DB8::1", 5061, (("Transport", "TCP"), ("lr", None)), "x=y"
    )
    assert uri.user_decoded == "alice"
    assert uri.transport == "tcp"
    assert uri.parameter("LR") == ""
    assert uri.has_parameter("lr")
    assert not uri.has_parameter("maddr")
    assert str(uri.with_parameter("lr", "on")).endswith(";Transport=TCP;lr=on?x=y")


def test_transport() -> None:
    assert Uri.parse("sips:a@b;transport=tcp").transport == "tls"
    assert Uri.parse("sip:a@b;transport=SCTP").transport == "sctp"
    assert Uri.parse("sip:a@b").transport is None
    assert Uri.parse("sip:b").user_decoded == ""


def test_opaque_and_tel_fields() -> None:
    tel = Uri.parse("tel:112;phone-context=+91")
    assert (tel.user, tel.host, tel.parameter("phone-context")) == ("112", "", "+91")
    other = Uri.parse("nobodyKnowsThisScheme:totallyopaque;x@y")
    assert (other.scheme, other.user) == ("nobodyknowsthisscheme", None)
    assert other.host == "totallyopaque;x@y"


def test_three_colons_before_ipv4_are_read_as_two() -> None:
    """RFC 5118 section 4.10."""
    assert Uri.parse("sip:user@[2001:db8:::192.0.2.1]").host == "2001:db8::192.0.2.1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sip",
        "sip:",
        ":a@b",
        "sip:@b",
        "sip:a@",
        "sip:a@b@c",
        "sip:a b@c",
        "sip: a@b",
        "sip:a@b ",
        "sip:a@b:",
        "sip:a@b:x",
        "sip:a@b:0",
        "sip:a@b:65536",
        "sip:a@b;",
        "sip:a@b;=x",
        "sip:a@b;x=",
        "sip:a@b;x y",
        "sip:a%4@b",
        "sip:a%zz@b",
        "sip:é@b",
        "sip:a@é",
        "sip:a@-b",
        "sip:2001:db8::10",
        "sip:[2001:db8::10",
        "sip:[]",
        "sip:[::g]",
        "sip:[1:2]",
        "sip:a@b\r\nX: y",
        "sip:a@b;x=\x00",
        "sip:<a@b>",
        "tel:",
        "tel: 12",
        "1x:y",
        "http:a b",
    ],
)
def test_bad_uris(text: str) -> None:
    with pytest.raises(SipSyntaxError) as caught:
        Uri.parse(text)
    assert caught.value.status == 400


def test_too_many_parameters() -> None:
    assert Uri.parse("sip:a@b" + ";p" * MAX_PARAMETERS)
    with pytest.raises(SipSyntaxError) as caught:
        Uri.parse("sip:a@b" + ";p" * (MAX_PARAMETERS + 1))
    assert caught.value.status == 513


@pytest.mark.parametrize(
    ("one", "other"),
    [  # RFC 3261 section 19.1.4, and what follows from its rules
        ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
        ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;newparam=5"),
        (
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
        ),
        (
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
        ),
        ("sip:a%2fb@h", "sip:a%2Fb@h"),
        ("tel:+1", "TEL:+1"),
    ],
)
def test_matches(one: str, other: str) -> None:
    assert Uri.parse(one).matches(Uri.parse(other))
    assert Uri.parse(other).matches(Uri.parse(one))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
        ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
        ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
        ("sip:a@h", "sips:a@h"),
        ("sip:a@h", "sip:a:@h"),
        ("sip:a%2fb@h", "sip:a/b@h"),
        ("sip:a@h;user=phone", "sip:a@h"),
        ("tel:+1", "tel:+2"),
        ("tel:+1", "sip:+1@h"),
    ],
)
def test_does_not_match(one: str, other: str) -> None:
    assert not Uri.parse(one).matches(Uri.parse(other))
    assert not Uri.parse(other).matches(Uri.parse(one))


@given(uris())
def test_round_trip(uri: Uri) -> None:
    again = Uri.parse(str(uri))
    assert again == uri
    assert again.matches(uri)


@given(st.text(max_size=60))
def test_any_text_parses_or_raises_the_one_error(text: str) -> None:
    for candidate in (text, f"sip:{text}", f"tel:{text}"):
        try:
            uri = Uri.parse(candidate)
        except SipSyntaxError:
            continue
        assert Uri.parse(str(uri)) == uri


def test_hosts() -> None:
    assert format_host("::1", 5060) == "[::1]:5060"
    assert format_host("h") == "h"
    assert parse_host("[::1]") == "::1"


@pytest.mark.parametrize("unit", [":", ";", "?", "%", "@", "a", "%41", "[", ";a=b", "&"])
def test_parse_is_linear(unit: str) -> None:
    def run(size: int) -> None:
        with pytest.raises(SipSyntaxError):
            Uri.parse("sip:" + unit * (size // len(unit)) + "\x00")

    assert_linear(run)
