from __future__ import annotations

from sipbot.sip.dialog import Dialog
from sipbot.sip.effects import Hop
from sipbot.sip.message import Request, Response, parse_message
from tests.sip.kit import OUR_SDP, SDP, TCP, UDP, Caller, Peer, answer_to, flow


def incoming(*headers: tuple[str, str], peer: Peer | None = None, by: object = UDP) -> Dialog:
    request = parse_message((peer or Peer()).invite(*headers))
    assert isinstance(request, Request)
    return Dialog.of_request(request, "ours", 7, UDP if by is UDP else TCP)


def test_uas_side_takes_the_route_set_in_order() -> None:
    dialog = incoming(("Record-Route", "<sip:p2;lr>, <sip:p1;lr>"), ("Record-Route", "<sip:p0;lr>"))
    assert dialog.id == ("call-1", "ours", "peer-tag")
    assert [str(route.uri) for route in dialog.routes] == ["sip:p2;lr", "sip:p1;lr", "sip:p0;lr"]
    assert dialog.remote_cseq == 102
    assert dialog.next_cseq() == 8


def test_loose_router() -> None:
    dialog = incoming(("Record-Route", "<sip:192.0.2.30:443;transport=tls;lr>"))
    request = dialog.request("BYE", 8)
    assert str(request.uri) == "sip:caller@192.0.2.20:5060"
    assert [str(route) for route in request.routes] == ["<sip:192.0.2.30:443;transport=tls;lr>"]
    assert dialog.paths()[0].hop == Hop("192.0.2.30", 443, "tls")


def test_strict_router() -> None:
    dialog = incoming(("Record-Route", "<sip:p1.example;method=INVITE?x=y>, <sip:p2.example;lr>"))
    request = dialog.request("BYE", 8)
    assert str(request.uri) == "sip:p1.example"
    assert [str(route) for route in request.routes] == [
        "<sip:p2.example;lr>",
        "<sip:caller@192.0.2.20:5060>",
    ]
    assert dialog.paths()[0].hop == Hop("p1.example", None, "udp")


def test_exotel_record_route_of_another_transport_still_uses_the_connection() -> None:
    peer = Peer(transport="TCP", contact="<sip:caller@10.9.8.7:5060;transport=tls>")
    dialog = incoming(("Record-Route", "sip:192.0.2.20:443;transport=tls;lr"), peer=peer, by=TCP)
    paths = dialog.paths()
    assert paths[0].flow == TCP
    assert paths[1].hop == Hop("192.0.2.20", 443, "tls")
    assert paths[2].hop == Hop("192.0.2.20", 443, "tcp")


def test_nat_is_seen_by_the_source_that_the_via_does_not_state() -> None:
    peer = Peer(contact="<sip:caller@10.0.0.5:5060>")
    data = peer.request("INVITE", body=SDP, via="SIP/2.0/UDP 10.0.0.5:5060;branch=z9hG4bK1")
    request = parse_message(data)
    assert isinstance(request, Request)
    seen = flow(remote=("203.0.113.5", 61_000))
    assert Dialog.of_request(request, "ours", 7, seen).paths()[0].flow == seen
    routed = Request(
        request.method,
        request.uri,
        request.headers.with_("Record-Route", "<sip:192.0.2.30;lr>"),
    )
    assert Dialog.of_request(routed, "ours", 7, seen).paths()[0].hop is not None


def test_uac_side_reverses_the_route_set() -> None:
    invite = Caller().call()
    route = ("Record-Route", "<sip:p1;lr>, <sip:p2;lr>")
    contact = ("Contact", "<sip:bob@192.0.2.20:5062>")
    response = parse_message(answer_to(invite, 200, route, contact, tag="bob", body=OUR_SDP))
    assert isinstance(response, Response)
    dialog = Dialog.of_response(invite, response, UDP)
    assert [str(route.uri) for route in dialog.routes] == ["sip:p2;lr", "sip:p1;lr"]
    assert dialog.remote_cseq is None
    assert str(dialog.target) == "sip:bob@192.0.2.20:5062"
    assert dialog.id == (invite.call_id, invite.from_.tag, "bob")


def test_sequence_numbers_stay_below_2_to_the_31() -> None:
    dialog = incoming()
    dialog.local_cseq = 2**31 - 1
    assert dialog.next_cseq() < 2**31


def test_contact_of_another_scheme_does_not_move_the_target() -> None:
    dialog = incoming()
    request = parse_message(Peer(contact="<tel:+911234>").invite())
    dialog.refresh_target(request)
    assert str(dialog.target) == "sip:caller@192.0.2.20:5060"
