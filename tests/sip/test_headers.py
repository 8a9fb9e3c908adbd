from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipbot.errors import LocalProtocolError, SipSyntaxError
from sipbot.sip.grammar import MAX_LIST_VALUES
from sipbot.sip.headers import (
    CSeq,
    Headers,
    NameAddr,
    Via,
    canonical_name,
    list_elements,
    parse_header_lines,
)
from sipbot.sip.uri import Uri
from tests.sip import samples
from tests.sip.samples import assert_linear


def test_names_are_case_insensitive_and_compact_names_expand() -> None:
    headers = Headers([("v", "1"), ("VIA", "2"), ("x-Exotel-callsid", "s"), ("X-New", "n")])
    assert headers.items() == (
        ("Via", "1"),
        ("Via", "2"),
        ("X-Exotel-CallSid", "s"),
        ("X-New", "n"),
    )
    assert headers.all("via") == ("1", "2")
    assert headers.get("V") == "1"
    assert headers.get("x-new") == "n"
    assert "X-NEW" in headers
    assert "i" not in headers
    assert 5 not in headers
    assert headers.get("Call-ID") is None
    assert headers.all("Call-ID") == ()
    assert len(headers) == len(list(headers)) == 4


@pytest.mark.parametrize(
    ("compact", "name"),
    [("i", "Call-ID"), ("L", "Content-Length"), ("x", "Session-Expires"), ("r", "Refer-To")],
)
def test_canonical_name(compact: str, name: str) -> None:
    assert canonical_name(compact) == name
    assert canonical_name(name.upper()) == name


def test_values_split_over_lines() -> None:
    headers = Headers([("Allow", "INVITE, ACK"), ("Allow", "BYE,"), ("Supported", "")])
    assert headers.values("allow") == ("INVITE", "ACK", "BYE")
    assert headers.values("Supported") == ()
    assert headers.values("Require") == ()


def test_changes_make_new_headers() -> None:
    headers = Headers([("To", "t"), ("Via", "1"), ("From", "f"), ("Via", "2")])
    assert headers.with_("v", "0", prepend=True).all("Via") == ("0", "1", "2")
    assert headers.with_("Via", "3").items()[-1] == ("Via", "3")
    replaced = headers.replace("via", "x", "y")
    assert replaced.items() == (("To", "t"), ("Via", "x"), ("Via", "y"), ("From", "f"))
    assert headers.replace("Via").all("Via") == ()
    assert headers.replace("Contact", "c").items()[-1] == ("Contact", "c")
    assert headers.without("VIA").items() == (("To", "t"), ("From", "f"))
    assert headers.all("Via") == ("1", "2")


def test_equality_hash_and_repr() -> None:
    one, other = Headers([("v", "1")]), Headers([("Via", "1")])
    assert one == other
    assert hash(one) == hash(other)
    assert one != Headers([("Via", "2")])
    assert one != "Via"
    assert repr(Headers([("Authorization", "secret")])) == "Headers(Authorization)"


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\nb", "é"])
def test_local_names_must_be_tokens(name: str) -> None:
    with pytest.raises(LocalProtocolError):
        Headers([(name, "x")])
    with pytest.raises(LocalProtocolError):
        Headers().with_(name, "x")
    with pytest.raises(LocalProtocolError):
        Headers().replace(name, "x")


@given(samples.headers)
def test_lines_round_trip(headers: Headers) -> None:
    again, fault = parse_header_lines(f"{name}: {value}" for name, value in headers.items())
    assert fault is None
    assert again == headers


def test_header_lines_with_odd_blanks() -> None:
    headers, fault = parse_header_lines(["TO :a", "s:", "X-Odd \t:  b c ", "Via\t: d"])
    assert fault is None
    assert headers.items() == (("To", "a"), ("Subject", ""), ("X-Odd", "b c"), ("Via", "d"))


@pytest.mark.parametrize("line", ["", "no colon", "Via", ": x", "a b: c", " To: x", "é: x"])
def test_faulty_lines_are_left_out(line: str) -> None:
    headers, fault = parse_header_lines(["To: a", line, "From: b"])
    assert headers.items() == (("To", "a"), ("From", "b"))
    assert fault is not None
    assert fault.status == 400


SAME_VIA = [
    "SIP/2.0/UDP 192.0.2.1",
    "SIP/2.0/TCP host.example.com:5061;branch=z9hG4bK87asdks7",
    "SIP/2.0/TLS [2001:db8::9:1]:6050;received=[2001:db8::9:255];branch=z9hG4bKas3",
    'SIP/2.0/UDP 192.0.2.1:5060;rport;unknown="a;b";flag;branch=z9hG4bK-.!%66*_+`\'~',
    "SIP/2.0/UNKNOWN t4.example.com;ttl=16;maddr=224.2.0.1",
]


@pytest.mark.parametrize("text", SAME_VIA)
def test_same_via_comes_back(text: str) -> None:
    assert str(Via.parse(text)) == text


def test_via_fields() -> None:
    via = Via.parse(" sip / 2.0  /  udp   [2001:DB8::1] : 05060 ; Branch = z9hG4bK1 ;RPORT")
    assert via == Via("UDP", "2001:DB8::1", 5060, (("Branch", "z9hG4bK1"), ("RPORT", None)))
    assert via.branch == "z9hG4bK1"
    assert via.rport == 0
    assert via.received is None
    answered = via.with_parameter("rport", "4444").with_parameter("received", "192.0.2.9")
    assert answered.rport == 4444
    assert answered.received == "192.0.2.9"
    assert answered.parameter("branch") == "z9hG4bK1"
    assert Via.parse("SIP/2.0/UDP h").rport is None
    assert Via.parse("SIP/2.0/UDP h").branch == ""


@pytest.mark.parametrize("received", ["[2001:db8::9:255]", "2001:db8::9:255"])
def test_via_received_with_and_without_brackets(received: str) -> None:
    """RFC 5118 section 4.5."""
    assert Via.parse(f"SIP/2.0/UDP h;received={received}").received == "2001:db8::9:255"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SIP/2.0/UDP",
        "SIP/2.0/UDP ",
        "SIP/2.0 h",
        "HTTP/2.0/UDP h",
        "SIP/2.0/UDPh",
        "SIP/2.0/UDP h;",
        "SIP/2.0/UDP h;;,;,,",
        "SIP/2.0/UDP h:0",
        "SIP/2.0/UDP h:99999",
        "SIP/2.0/UDP h x",
        "SIP/2.0/UDP [::g]",
        "SIP/2.0/UDP h;rport=x",
        "SIP/2.0/UDP h;rport=70000",
        "SIP/2.0/UDP h;branch=",
    ],
)
def test_bad_vias(text: str) -> None:
    with pytest.raises(SipSyntaxError):
        Via.parse(text)


def test_via_repair() -> None:
    assert Via.repair("SIP/2.0/UDP h:5062;;branch=b,;") == Via("UDP", "h", 5062, (("branch", "b"),))
    assert Via.repair("SIP/2.0/UDP h;;") == Via("UDP", "h", None)
    assert Via.repair("SIP/2.0/UDP h:0") is None
    assert Via.repair("SIP/2.0/UDP [::g]") is None
    assert Via.repair("junk") is None


@given(samples.vias())
def test_via_round_trip(via: Via) -> None:
    assert Via.parse(str(via)) == via


SAME_ADDRESS = [
    "<sip:alice@example.com>",
    '"Alice \\"A\\" B\\\\C" <sip:alice@example.com;transport=tcp>;tag=88sja8x',
    '"+919812345678" <sip:+919812345678@exotelt.pstn.exotel.com>;tag=as1',
    "<sips:bob@h?Route=%3Csip:x%3E>;q=0.7;expires=3600",
    '<tel:+91-98123>;x="a,b;c"',
    '"größe" <sip:g@h>;+sip.instance="<urn:uuid:0>"',
]


@pytest.mark.parametrize("text", SAME_ADDRESS)
def test_same_address_comes_back(text: str) -> None:
    assert str(NameAddr.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "display", "uri", "tag"),
    [
        ("sip:a@b", "", "sip:a@b", None),
        ("sip:a@b;tag=x", "", "sip:a@b", "x"),
        (" sip:a@b ; tag = x ", "", "sip:a@b", "x"),
        ("<sip:a@b;x=y>;TAG=x", "", "sip:a@b;x=y", "x"),
        ("caller<sip:a@b>", "caller", "sip:a@b", None),
        ("Two  Words <sip:a@b>;tag=1", "Two  Words", "sip:a@b", "1"),
        ("Desk (2nd floor) a@b <sip:a@b>", "Desk (2nd floor) a@b", "sip:a@b", None),
        ('""<sip:a@b>', "", "sip:a@b", None),
        ('"a<b>,;" <sip:a@b>', "a<b>,;", "sip:a@b", None),
        ("isbn:2983792873", "", "isbn:2983792873", None),
    ],
)
def test_address_forms(text: str, display: str, uri: str, tag: str | None) -> None:
    address = NameAddr.parse(text)
    assert (address.display, str(address.uri), address.tag) == (display, uri, tag)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<>",
        "<sip:a@b",
        "sip:a@b>",
        "a, b <sip:a@b>",
        '"a <sip:a@b>',
        '"a" "b" <sip:a@b>',
        "< sip:a@b >",
        "<sip:a@b> x",
        "<sip:a@b>;",
        "sip:a@b?x=y",
        "sip:a@b,sip:c@d",
        "<sip:a@b>,<sip:c@d>",
        "user@host",
    ],
)
def test_bad_addresses(text: str) -> None:
    with pytest.raises(SipSyntaxError):
        NameAddr.parse(text)


def test_with_tag() -> None:
    address = NameAddr.parse("A <sip:a@b>;x")
    assert str(address.with_tag("t1")) == '"A" <sip:a@b>;x;tag=t1'
    assert address.with_tag("t1").with_tag("t2").tag == "t2"
    assert address.tag is None
    assert address.parameter("x") == ""


def test_contact_without_brackets() -> None:
    """RFC 4475 cparam01, and Exotel's documents for ``transport``."""
    contact = NameAddr.parse_contact("sip:+1972@gw1;unknownparam;transport=tls;expires=5")
    assert str(contact) == "<sip:+1972@gw1;transport=tls>;unknownparam;expires=5"
    bracketed = NameAddr.parse_contact("<sip:a@b;x>;transport=tls")
    assert str(bracketed) == "<sip:a@b;x>;transport=tls"
    assert str(NameAddr.parse_contact("sip:a@b")) == "<sip:a@b>"


def test_record_route_without_brackets() -> None:
    """As Exotel's documents print it."""
    route = NameAddr.parse_route("sip:203.0.113.5:443;transport=tls;lr")
    assert str(route) == "<sip:203.0.113.5:443;transport=tls;lr>"
    assert route.uri.has_parameter("lr")
    assert str(NameAddr.parse_route("<sip:h;lr>;x")) == "<sip:h;lr>;x"
    assert str(NameAddr.parse_route("sip:h")) == "<sip:h>"


@given(samples.name_addrs())
def test_address_round_trip(address: NameAddr) -> None:
    assert NameAddr.parse(str(address)) == address


@given(st.text(max_size=60))
def test_any_text_parses_or_raises_the_one_error(text: str) -> None:
    for parse in (NameAddr.parse, NameAddr.parse_contact, NameAddr.parse_route, CSeq.parse):
        try:
            value = parse(text)
        except SipSyntaxError:
            continue
        assert parse(str(value)) == value
    try:
        via = Via.parse(f"SIP/2.0/UDP {text}")
    except SipSyntaxError:
        Via.repair(f"SIP/2.0/UDP {text}")
    else:
        assert Via.parse(str(via)) == via


def test_cseq() -> None:
    assert CSeq.parse(" 0009   INVITE") == CSeq(9, "INVITE")
    assert str(CSeq.parse("2147483647 x")) == "2147483647 x"


@pytest.mark.parametrize("text", ["", "1", "INVITE", "1INVITE", "-1 A", "1 A B", "1 é", "٣ A"])
def test_bad_cseq(text: str) -> None:
    with pytest.raises(SipSyntaxError):
        CSeq.parse(text)


@pytest.mark.parametrize("number", ["2147483648", "36893488147419103232", "9" * 6000])
def test_cseq_too_large(number: str) -> None:
    with pytest.raises(SipSyntaxError, match="CSeq Too Large"):
        CSeq.parse(f"{number} INVITE")


def test_list_elements() -> None:
    assert list_elements(("a, b", "c"), "Via") == ["a", "b", "c"]
    assert list_elements((), "Via") == []
    for lines in (("",), ("a,",), (",a",), ("a,,b",)):
        with pytest.raises(SipSyntaxError, match="Bad Via"):
            list_elements(lines, "Via")
    with pytest.raises(SipSyntaxError) as caught:
        list_elements((",".join("a" * (MAX_LIST_VALUES + 1)),), "Via")
    assert caught.value.status == 513


def test_uri_of_address_is_a_value() -> None:
    assert NameAddr.parse("<sip:a@b>").uri == Uri("sip", "a", None, "b", None)


@pytest.mark.parametrize("unit", ['"', "<", " ", "\\", ";", "a ", '""', ">", ",", "\t;"])
def test_addresses_are_read_in_linear_time(unit: str) -> None:
    def run(size: int) -> None:
        for prefix in ("", '"', "<sip:a@b>", "sip:a@b;tag="):
            with pytest.raises(SipSyntaxError):
                NameAddr.parse(prefix + unit * (size // len(unit)) + "\x00")

    assert_linear(run)


@pytest.mark.parametrize("unit", [" ", "/", ":", ";", '"', ";branch", ";branch=", "\t;branch= "])
def test_vias_are_read_in_linear_time(unit: str) -> None:
    def run(size: int) -> None:
        for prefix in ("SIP", "SIP/2.0/UDP h", "SIP/2.0/UDP h;a="):
            text = prefix + unit * (size // len(unit)) + "\x00"
            with pytest.raises(SipSyntaxError):
                Via.parse(text)
            Via.repair(text)

    assert_linear(run)
