from __future__ import annotations

import pytest

from sipbot.errors import LocalProtocolError
from sipbot.sip.effects import Attempt, Send
from sipbot.sip.message import Request, Response, parse_message
from sipbot.sip.outbox import Outbox
from sipbot.sip.responses import respond_to
from sipbot.sip.timing import Timers
from sipbot.sip.transactions.keys import client_key, merge_key, server_key
from sipbot.sip.transactions.layer import Arrival, TransactionLayer
from tests.sip.kit import SDP, UDP, Peer, answer_to


class World:
    def __init__(self, limit: int = 100) -> None:
        self.out = Outbox()
        self.layer: TransactionLayer[str] = TransactionLayer(Timers(), limit, self.out)

    def receive(self, data: bytes, now: float = 0.0) -> tuple[Arrival, str]:
        message = parse_message(data)
        assert isinstance(message, Request)
        return self.layer.receive_request(message, UDP, now)

    def respond(self, key: str, status: int) -> Send:
        record = self.layer.server(key)
        assert record is not None
        response = respond_to(record.request, status, tag="t")
        send = Send(key, (Attempt(response.serialize(), flow=UDP),))
        self.layer.respond(key, response, send, 0.0)
        return send

    def start(self, method: str = "INVITE") -> tuple[str, Request]:
        data = Peer().request(method, branch="z9hG4bKours")
        request = parse_message(data)
        assert isinstance(request, Request)
        key = client_key("z9hG4bKours", method)
        send = Send(key, (Attempt(data, flow=UDP),))
        self.layer.start(key, send, "context", reliable=False, now=0.0)
        assert self.out.drain() == (send,)
        return key, request

    def answer(self, request: Request, status: int) -> Response:
        response = parse_message(answer_to(request, status, tag="x"))
        assert isinstance(response, Response)
        return response


def parsed(data: bytes) -> Request:
    message = parse_message(data)
    assert isinstance(message, Request)
    return message


def test_keys_of_rfc_3261() -> None:
    peer = Peer()
    invite = parsed(peer.request("INVITE", branch="z9hG4bKa"))
    ack = parsed(peer.request("ACK", branch="z9hG4bKa"))
    cancel = parsed(peer.request("CANCEL", branch="z9hG4bKa"))
    assert server_key(invite) == server_key(ack) == server_key(cancel, "INVITE")
    assert server_key(cancel) != server_key(invite)


@pytest.mark.parametrize(
    "via",
    [
        "SIP/2.0/UDP 192.0.2.21:5060;branch=z9hG4bKa",
        "SIP/2.0/UDP 192.0.2.20:5061;branch=z9hG4bKa",
        "SIP/2.0/UDP 192.0.2.20;branch=z9hG4bKa",
        "SIP/2.0/UDP 192.0.2.20:5060;branch=z9hG4bKb",
    ],
)
def test_sent_by_and_branch_tell_transactions_apart(via: str) -> None:
    peer = Peer()
    base = parsed(
        peer.request("OPTIONS", cseq=1, via="SIP/2.0/UDP 192.0.2.20:5060;branch=z9hG4bKa")
    )
    assert server_key(parsed(peer.request("OPTIONS", cseq=1, via=via))) != server_key(base)


@pytest.mark.parametrize("branch", ["", ";branch=z9hG4bK", ";branch=1"])
def test_keys_of_rfc_2543(branch: str) -> None:
    peer, via = Peer(), f"SIP/2.0/UDP 192.0.2.20{branch}"
    invite = parsed(peer.request("INVITE", via=via))
    peer.to_tag = "given-by-us"
    assert server_key(parsed(peer.request("ACK", via=via))) == server_key(invite)
    other = parsed(peer.request("INVITE", via=via))  # the next CSeq
    assert server_key(other) != server_key(invite)


def test_merge_key_ignores_the_way() -> None:
    peer = Peer()
    one = parsed(peer.request("INVITE", cseq=1))
    assert merge_key(one) == merge_key(parsed(peer.request("INVITE", cseq=1)))
    assert merge_key(one) != merge_key(parsed(peer.request("INVITE", cseq=2)))


def test_repeated_request_gets_the_response_again() -> None:
    world, data = World(), Peer().request("OPTIONS")
    arrival, key = world.receive(data)
    assert arrival is Arrival.NEW
    assert world.receive(data) == (Arrival.REPEATED, key)
    assert world.out.drain() == ()
    send = world.respond(key, 200)
    assert world.receive(data) == (Arrival.REPEATED, key)
    assert world.out.drain() == (send, send)


def test_second_final_response_is_not_sent() -> None:
    world, data = World(), Peer().request("OPTIONS")
    _, key = world.receive(data)
    first = world.respond(key, 200)
    world.respond(key, 500)
    world.receive(data)
    assert world.out.drain() == (first, first)


def test_forbidden_response_leaves_the_last_one() -> None:
    world, data = World(), Peer().request("INVITE", body=SDP)
    _, key = world.receive(data)
    first = world.respond(key, 486)
    with pytest.raises(LocalProtocolError):
        world.respond(key, 200)
    world.receive(data)
    assert world.out.drain() == (first, first)


def test_response_after_the_end() -> None:
    world = World()
    _, key = world.receive(Peer().request("OPTIONS"))
    send = world.respond(key, 200)
    world.layer.handle_timer(key, 32.0)
    assert world.layer.server_count == 0
    response = world.answer(parsed(Peer().request("OPTIONS")), 200)
    with pytest.raises(LocalProtocolError):
        world.layer.respond(key, response, send, 33.0)


def test_limit() -> None:
    world = World(limit=1)
    world.receive(Peer(call_id="a").request("OPTIONS"))
    assert world.receive(Peer(call_id="b").request("OPTIONS"))[0] is Arrival.FULL


def test_merge_is_forgotten_with_the_transaction() -> None:
    world, peer = World(), Peer()
    _, key = world.receive(peer.request("OPTIONS", cseq=1))
    assert world.receive(peer.request("OPTIONS", cseq=1))[0] is Arrival.MERGED
    world.respond(key, 200)
    world.layer.handle_timer(key, 32.0)
    assert world.receive(peer.request("OPTIONS", cseq=1))[0] is Arrival.NEW


def test_ack_of_another_kind_of_transaction() -> None:
    world, peer = World(), Peer()
    assert world.receive(peer.request("ACK", branch="z9hG4bKa"))[0] is Arrival.NO_MATCH


def test_client_transaction_from_start_to_end() -> None:
    world = World()
    key, request = world.start("OPTIONS")
    match = world.layer.receive_response(world.answer(request, 200), 0.1)
    assert match is not None
    assert (match.tell, match.acknowledge, match.record.context) == (True, False, "context")
    again = world.layer.receive_response(world.answer(request, 200), 0.2)
    assert again is not None
    assert not again.tell
    world.layer.handle_timer(key, 5.1)
    assert world.layer.receive_response(world.answer(request, 200), 5.2) is None
    assert world.layer.client_count == 0
    assert len(world.out.alarms) == 0


def test_failure_of_an_invite_wants_an_ack_each_time() -> None:
    world = World()
    _, request = world.start()
    first = world.layer.receive_response(world.answer(request, 486), 0.1)
    second = world.layer.receive_response(world.answer(request, 486), 0.2)
    assert first is not None
    assert second is not None
    assert (first.tell, first.acknowledge) == (True, True)
    assert (second.tell, second.acknowledge) == (False, True)


def test_lost_transactions() -> None:
    world = World()
    key, _ = world.start()
    lost = world.layer.transport_failed(key, 0.1)
    assert lost is not None
    assert not lost.timed_out
    assert world.layer.transport_failed(key, 0.1) is None
    key, _ = world.start("BYE")
    world.layer.handle_timer(key, 0.5)
    lost = world.layer.handle_timer(key, 32.0)
    while lost is None:
        lost = world.layer.handle_timer(key, 32.0)
    assert lost.timed_out
    assert world.layer.handle_timer(key, 33.0) is None


def test_abandoned_transaction() -> None:
    world = World()
    key, _ = world.start()
    world.layer.abandon(key)
    world.layer.abandon(key)
    assert world.layer.client(key) is None
    assert len(world.out.alarms) == 0
