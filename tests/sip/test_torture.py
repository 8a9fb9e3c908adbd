"""The torture cases of RFC 4475 and RFC 5118, by their names there.

A case that the parser must take and the user agent must refuse carries that status in
``UA_REFUSES``, for the tests of the user agent.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sipbot.errors import SipSyntaxError
from sipbot.sip.message import (
    BadRequest,
    Message,
    Request,
    Response,
    bodies,
    parse_message,
    sdp_body,
)
from tests.sip.samples import FIXTURES

# case -> status with which the user agent, not the parser, refuses it. REGISTER is refused with
# 405 by its method first; what the RFC says of its headers is for registrars.
UA_REFUSES = {
    "rfc4475/unkscm": 416,
    "rfc4475/novelsc": 416,
    "rfc4475/bext01": 420,
    "rfc4475/invut": 415,
    "rfc4475/sdp01": 406,
    "rfc4475/intmeth": 501,
    "rfc4475/esc02": 501,
    "rfc4475/unksm2": 405,
    "rfc4475/regaut01": 405,
    "rfc4475/cparam01": 405,
    "rfc4475/cparam02": 405,
    "rfc4475/regescrt": 405,
    "rfc4475/escnull": 405,
    "rfc4475/dblreq": 405,
    "rfc4475/mpart01": 405,
}

# case -> (reason, status, whether the refusal can be sent)
REFUSED = {
    "rfc4475/badinv01": ("Bad Via", 400, True),
    "rfc4475/clerr": ("Body Shorter Than Content-Length", 400, True),
    "rfc4475/ncl": ("Bad Content-Length", 400, True),
    "rfc4475/scalar02": ("CSeq Too Large", 400, True),
    "rfc4475/scalarlg": ("CSeq Too Large", 400, False),
    "rfc4475/quotbal": ("Bad Address", 400, True),
    "rfc4475/ltgtruri": ("Bad URI", 400, True),
    "rfc4475/lwsruri": ("Bad Request Line", 400, True),
    "rfc4475/lwsstart": ("Bad Request Line", 400, True),
    "rfc4475/trws": ("Bad Request Line", 400, True),
    "rfc4475/escruri": ("Headers In Request-URI", 400, True),
    "rfc4475/regbadct": ("Bad Header Parameter", 400, True),
    "rfc4475/badaspec": ("Bad URI", 400, True),
    "rfc4475/baddn": ("Bad URI", 400, True),
    "rfc4475/badvers": ("Version Not Supported", 505, True),
    "rfc4475/mismatch01": ("CSeq Method Mismatch", 400, True),
    "rfc4475/mismatch02": ("CSeq Method Mismatch", 400, True),
    "rfc4475/bigcode": ("Bad Status Line", 400, False),
    "rfc4475/insuf": ("Missing From", 400, True),
    "rfc4475/multi01": ("Repeated From", 400, True),
    "rfc4475/mcl01": ("Repeated Content-Length", 400, True),
    "rfc5118/ipv6-bad": ("Bad URI", 400, True),
}

Check = Callable[[Message], None]
CHECKS: dict[str, Check] = {}


def case(name: str) -> Callable[[Check], Check]:
    """Register what must hold of a case that parses."""

    def register(check: Check) -> Check:
        CHECKS[name] = check
        return check

    return register


@case("rfc4475/wsinv")
def _(message: Message) -> None:
    assert isinstance(message, Request)
    assert message.uri.parameter("unknownparam") == ""
    assert message.to.tag == "7718n"
    assert message.from_.display == 'R Tester \\"'
    assert message.from_.tag == "98kx"
    assert message.max_forwards == 68
    assert (message.cseq.number, message.cseq.method) == (9, "INVITE")
    assert [via.transport for via in message.vias] == ["UDP", "TCP", "UDP"]
    assert message.top_via.branch == "390zz"
    assert message.vias[2].host == "192.168.255.111"
    assert message.headers.get("Subject") == ""
    assert message.headers.get("newfangledheader") == "newfangled value continued newfangled value"
    assert message.headers.get("UnknownHeaderWithUnusualValue") == ";;,,;;,;"
    assert message.routes[0].uri.parameter("unknownwith") == "value"
    assert message.contacts[0].display == 'Quoted string ""'
    assert message.contacts[0].parameters == (
        ("newparam", "newvalue"),
        ("secondparam", None),
        ("q", "0.33"),
    )
    assert sdp_body(message)


@case("rfc4475/intmeth")
def _(message: Message) -> None:
    assert isinstance(message, Request)
    assert message.method == message.cseq.method == "!odd-Method0123456789_*+`.%indeed'~"
    assert message.uri.user == "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
    assert message.uri.password == "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"
    assert message.uri.host == "example.com"
    assert message.to.display == "BEL:\x07 NUL:\x00 DEL:\x7f"
    assert message.from_.display == "token1~` token2'+_ token3*%!.-"
    assert (
        message.from_.parameter("fromParam''~+*_!.-%") == '"\u0440\u0430\u0431\u043e\u0442\u0430"'
    )
    assert message.from_.tag == "_token~1'+`*%!-."
    assert message.call_id == "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"
    assert message.headers.get("extensionHeader-!.%*+_`'~") == "\ufeff\u5927\u505c\u96fb"


@case("rfc4475/esc01")
def _(message: Message) -> None:
    assert isinstance(message, Request)
    assert message.uri.scheme == "sip"
    assert message.uri.user_decoded == "sips:user@example.com"
    assert message.uri.host == "example.net"
    assert message.to.uri.user_decoded == "user"
    assert message.from_.uri.user_decoded == "I have spaces"
    assert message.contacts[0].uri.parameters == (("%6C%72", None), ("n%61me", "v%61lue%25%34%31"))


@case("rfc4475/escnull")
def _(message: Message) -> None:
    assert message.from_.uri.user_decoded == "null-\x00-null"
    assert [contact.uri.user_decoded for contact in message.contacts] == ["\x00", "\x00\x00"]


@case("rfc4475/esc02")
def _(message: Message) -> None:
    assert isinstance(message, Request)
    assert message.method == "RE%47IST%45R"  # escapes have no meaning in a method
    assert message.from_.display == "%Z%45"
    assert message.top_via.branch == "z9hG4bK20%A5%B3"
    assert [contact.uri.user for contact in message.contacts] == ["alias1", "alias3"]
    assert "C%6Fntact" in message.headers


@case("rfc4475/lwsdisp")
def _(message: Message) -> None:
    assert message.from_.display == "caller"
    assert message.from_.tag == "325"


@case("rfc4475/longreq")
def _(message: Message) -> None:
    assert len(message.vias) == 34
    assert message.vias[0].host == "sip33.example.com"
    assert len(message.call_id) > 150
    assert message.to.uri.port == 6000
    assert sdp_body(message)


@case("rfc4475/dblreq")
def _(message: Message) -> None:
    assert isinstance(message, Request)
    assert (message.method, message.body) == ("REGISTER", b"")


@case("rfc4475/semiuri")
def _(message: Message) -> None:
    assert isinstance(message, Request)
    assert message.uri.user_decoded == "user;par=u@example.net"
    assert message.uri.parameters == ()
    assert message.headers.values("Accept")[1:3] == ("application/pkcs7-mime", "multipart/mixed")


@case("rfc4475/transports")
def _(message: Message) -> None:
    assert [via.transport for via in message.vias] == ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]


@case("rfc4475/mpart01")
def _(message: Message) -> None:
    (text, binary) = bodies(message)
    assert text == ("text/plain", b"Hello")
    assert binary[0] == "application/octet-stream"
    assert binary[1].startswith(b"0\x82\x00\r\n\r\n\xff\xfe")
    assert sdp_body(message) is None


@case("rfc4475/unreason")
def _(message: Message) -> None:
    assert isinstance(message, Response)
    assert message.status == 200
    assert message.reason.startswith("= 2**3 * 5**2 \u043d\u043e")


@case("rfc4475/noreason")
def _(message: Message) -> None:
    assert isinstance(message, Response)
    assert (message.status, message.reason) == (100, "")


@case("rfc4475/baddate")
def _(message: Message) -> None:
    """Section 3.1.2.12 lets an element ignore the Date that it does not use."""
    assert message.headers.get("Date") == "Fri, 01 Jan 2010 16:00:00 EST"


@case("rfc4475/badbranch")
def _(message: Message) -> None:
    """Section 3.2.1: the magic cookie alone. Transactions must not match by it."""
    assert message.top_via.branch == "z9hG4bK"


@case("rfc4475/unkscm")
def _(message: Message) -> None:
    assert isinstance(message, Request)
    assert message.uri.scheme == "nobodyknowsthisscheme"


@case("rfc4475/novelsc")
def _(message: Message) -> None:
    assert isinstance(message, Request)
    assert message.uri.scheme == "soap.beep"


@case("rfc4475/unksm2")
def _(message: Message) -> None:
    assert message.to.uri.scheme == "isbn"
    assert message.from_.uri.scheme == "http"
    assert message.contacts[0].uri.scheme == "name"


@case("rfc4475/bext01")
def _(message: Message) -> None:
    assert message.require == ("nothingsupportsthis", "nothingsupportsthiseither")
    assert message.proxy_require == ("noproxiessupportthis", "nordoanyproxiessupportthis")


@case("rfc4475/invut")
def _(message: Message) -> None:
    assert message.content_type == "application/unknownformat"
    assert message.body


@case("rfc4475/regaut01")
def _(message: Message) -> None:
    assert message.headers.get("Authorization") == "NoOneKnowsThisScheme opaque-data=here"


@case("rfc4475/bcast")
def _(message: Message) -> None:
    """Section 3.3.10: the user agent drops it, as the top Via must be its only one."""
    assert [via.host for via in message.vias] == ["192.0.2.198", "255.255.255.255"]


@case("rfc4475/zeromf")
def _(message: Message) -> None:
    """Section 3.3.11: only proxies refuse it; a user agent answers."""
    assert message.max_forwards == 0


@case("rfc4475/cparam01")
def _(message: Message) -> None:
    assert message.contacts[0].parameter("unknownparam") == ""
    assert message.contacts[0].uri.parameters == ()


@case("rfc4475/cparam02")
def _(message: Message) -> None:
    assert message.contacts[0].parameters == ()
    assert message.contacts[0].uri.has_parameter("unknownparam")


@case("rfc4475/regescrt")
def _(message: Message) -> None:
    assert message.contacts[0].uri.headers == "Route=%3Csip:sip.example.com%3E"


@case("rfc4475/sdp01")
def _(message: Message) -> None:
    assert message.headers.values("Accept") == ("text/nobodyKnowsThis",)
    assert sdp_body(message)


@case("rfc4475/inv2543")
def _(message: Message) -> None:
    """Section 3.4.1: no branch, no From tag, no Contact, no Max-Forwards, no Content-Length."""
    assert message.top_via.branch == ""
    assert message.from_.tag is None
    assert message.contacts == ()
    assert message.max_forwards is None
    assert message.record_routes[0].uri.parameter("maddr") == "ss1.example.com"
    assert message.to.parameter("user") == "phone"
    assert sdp_body(message) == message.body != b""


@case("rfc5118/ipv6-good")
def _(message: Message) -> None:
    assert isinstance(message, Request)
    assert (message.uri.host, message.uri.port) == ("2001:db8::10", None)
    assert message.top_via.host == "2001:db8::9:1"
    assert message.contacts[0].uri.host == "2001:db8::1"


@case("rfc5118/port-ambiguous")
def _(message: Message) -> None:
    assert isinstance(message, Request)
    assert (message.uri.host, message.uri.port) == ("2001:db8::10:5070", None)


@case("rfc5118/port-unambiguous")
def _(message: Message) -> None:
    assert isinstance(message, Request)
    assert (message.uri.host, message.uri.port) == ("2001:db8::10", 5070)


@case("rfc5118/via-received-param-with-delim")
@case("rfc5118/via-received-param-no-delim")
def _(message: Message) -> None:
    assert message.top_via.received == "2001:db8::9:255"


@case("rfc5118/ipv6-in-sdp")
def _(message: Message) -> None:
    assert b"c=IN IP6 2001:db8::20" in (sdp_body(message) or b"")


@case("rfc5118/mult-ip-in-header")
def _(message: Message) -> None:
    hosts = [(via.host, via.port) for via in message.vias]
    assert hosts == [("2001:db8::9:1", 6050), ("192.0.2.1", None), ("2001:db8::9:255", None)]
    assert message.vias[2].received == "192.0.2.200"


@case("rfc5118/mult-ip-in-sdp")
def _(message: Message) -> None:
    assert b"c=IN IP4 192.0.2.1" in message.body
    assert b"c=IN IP6 2001:db8::1" in message.body


@case("rfc5118/ipv4-mapped-ipv6")
def _(message: Message) -> None:
    contact = message.contacts[0].uri
    assert (contact.host, contact.port) == ("::ffff:192.0.2.10", 19823)


@case("rfc5118/ipv6-bug-abnf-3-colons")
def _(message: Message) -> None:
    assert isinstance(message, Request)
    assert message.uri.host == "2001:db8::192.0.2.1"


def read(name: str) -> bytes:
    return (FIXTURES / f"{name}.dat").read_bytes()


@pytest.mark.parametrize("name", CHECKS)
def test_valid_case(name: str) -> None:
    message = parse_message(read(name))
    CHECKS[name](message)
    wire = message.serialize()
    again = parse_message(wire)
    CHECKS[name](again)
    assert again.serialize() == wire


@pytest.mark.parametrize("name", REFUSED)
def test_refused_case(name: str) -> None:
    reason, status, answerable = REFUSED[name]
    with pytest.raises(SipSyntaxError) as caught:
        parse_message(read(name))
    assert (caught.value.reason, caught.value.status) == (reason, status)
    assert isinstance(caught.value, BadRequest) is answerable


def test_badvers_is_answered_with_the_peers_own_via() -> None:
    with pytest.raises(BadRequest) as caught:
        parse_message(read("rfc4475/badvers"))
    via = caught.value.request.headers.get("Via")
    assert via == "SIP/7.0/UDP c.example.com;branch=z9hG4bKkdjuw"


def test_every_file_has_its_case() -> None:
    files = {f"{path.parent.name}/{path.stem}" for path in FIXTURES.glob("rfc*/*.dat")}
    assert files == CHECKS.keys() | REFUSED.keys()
    assert not CHECKS.keys() & REFUSED.keys()
    assert UA_REFUSES.keys() <= CHECKS.keys()
