from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import get_args

import pytest
import uvloop

from sipbot.errors import TransportError
from sipbot.sip.effects import Attempt, Flow, Hop, Transport
from sipbot.transport import endpoint
from sipbot.transport.endpoint import Listen, TransportLimits
from sipbot.transport.resolve import Candidate
from sipbot.transport.tls import TlsContexts
from sipbot.transport.udp import UdpListener
from tests.transport.conftest import BoxMaker
from tests.transport.support import Box, FixedResolver, HangingResolver, message, soon

TRANSPORTS: tuple[Transport, ...] = get_args(Transport)
HOSTS = ("127.0.0.1", "::1")


class _Full(socket.socket):
    """A datagram socket whose send queue is full."""

    def sendto(self, *_: object) -> int:
        raise BlockingIOError


def _closed_port() -> int:
    """A TCP port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("host", HOSTS)
async def test_a_request_by_hop_and_its_answer_by_flow(
    box: BoxMaker, transport: Transport, host: str
) -> None:
    near, far = box(), box()
    await near.listen("udp", host)
    address = await far.listen(transport, host)
    near.send_to(Hop(host, address[1], transport))
    data, flow = await far.hear()
    assert data == message()
    assert (flow.transport, flow.local) == (transport, address)
    assert flow.remote[0] == host
    assert (flow.connection is None) is (transport == "udp")
    far.reply(flow)
    data, back = await near.hear()
    assert data == message(2)
    assert (back.local, back.remote) == (flow.remote, flow.local)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_behind_a_wildcard_the_flow_has_the_real_local_address(
    box: BoxMaker, transport: Transport
) -> None:
    near, far = box(), box()
    await near.listen("udp")
    bound = await far.listen(transport, "0.0.0.0")
    assert bound[0] == "0.0.0.0"
    near.send_to(Hop("127.0.0.1", bound[1], transport))
    _, flow = await far.hear()
    assert flow.local == ("127.0.0.1", bound[1])
    far.reply(flow)
    _, back = await near.hear()
    assert back.remote == ("127.0.0.1", bound[1])


async def test_both_families_share_a_port(box: BoxMaker) -> None:
    one = box()
    for transport in TRANSPORTS:
        _, port = await one.listen(transport, "::")
        assert await one.endpoint.listen(Listen(transport, "0.0.0.0", port)) == ("0.0.0.0", port)


@pytest.mark.parametrize("transport", ["tcp", "tls"])
async def test_sends_at_the_same_time_share_one_connection_in_order(
    box: BoxMaker, transport: Transport
) -> None:
    near, far = box(), box()
    _, port = await far.listen(transport)
    for number in range(20):
        near.send_to(Hop("127.0.0.1", port, transport), message(number))
    heard = [await far.hear() for _ in range(20)]
    assert [data for data, _ in heard] == [message(number) for number in range(20)]
    assert {flow.connection for _, flow in heard} == {1}
    near.send_to(Hop("127.0.0.1", port, transport), message(99))
    assert (await far.hear())[1].connection == 1
    assert near.endpoint.connections == 1


async def test_a_new_connection_on_demand(box: BoxMaker) -> None:
    near, far = box(), box()
    _, port = await far.listen("tcp")
    hop = Hop("127.0.0.1", port, "tcp")
    near.send_to(hop)
    _, first = await far.hear()
    near.endpoint.connect_anew()
    near.send_to(hop)
    _, second = await far.hear()
    assert first.connection != second.connection
    assert near.endpoint.connections == 2
    far.reply(first)  # the old one still serves what belongs to it
    assert (await near.hear())[0] == message(2)


async def test_an_accepted_tcp_connection_serves_requests_to_its_peer(box: BoxMaker) -> None:
    near, far = box(), box()
    _, port = await far.listen("tcp")
    near.send_to(Hop("127.0.0.1", port, "tcp"))
    _, flow = await far.hear()
    far.send_to(Hop(*flow.remote, "tcp"))
    _, back = await near.hear()
    assert back.remote == ("127.0.0.1", port)
    assert far.endpoint.connections == 1


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_closed_flow_falls_through_to_the_hop(box: BoxMaker, transport: Transport) -> None:
    near, far = box(), box()
    await near.listen("udp")
    address = await far.listen(transport)
    gone = Flow(transport, ("127.0.0.1", 9), ("127.0.0.1", 9), 4711)
    near.send(
        Attempt(message(1), flow=gone),
        Attempt(message(2), flow=gone, hop=Hop("127.0.0.1", address[1], transport)),
    )
    assert (await far.hear())[0] == message(2)
    assert near.failures.empty()


async def test_later_attempts_follow_one_that_had_to_wait(box: BoxMaker) -> None:
    near, far = box(), box()
    await near.listen("udp")
    address = await far.listen("udp")
    near.send(
        Attempt(message(1), hop=Hop("nowhere.example")),
        Attempt(message(2), hop=Hop("127.0.0.1", _closed_port(), "tcp")),
        Attempt(message(3), hop=Hop(*address, "udp")),
    )
    assert (await far.hear())[0] == message(3)
    assert [cause for _, cause in near.unreachable] == [
        "the name cannot be resolved",
        "Connection refused",
    ]


async def test_candidates_are_tried_in_turn(box: BoxMaker) -> None:
    far = box()
    _, port = await far.listen("tcp")
    dead = Candidate("tcp", "127.0.0.1", _closed_port())
    other_family = Candidate("udp", "::1", 5060)  # we have no such listener
    alive = Candidate("tcp", "127.0.0.1", port)
    near = box(resolver=FixedResolver(trunk=(dead, other_family, alive)))
    near.send_to(Hop("trunk"))
    assert (await far.hear())[0] == message()


async def test_failure_is_told_later_and_once(box: BoxMaker) -> None:
    one = box()
    one.send(Attempt(message()), key="nothing to try")
    assert one.failures.empty()  # never from within send
    assert await soon(one.failures.get()) == "nothing to try"
    one.send(Attempt(message(), hop=Hop("::1", 5060, "udp")), key="no listener")
    assert await soon(one.failures.get()) == "no listener"
    one.send(Attempt(message(), hop=Hop("127.0.0.1", _closed_port(), "tcp")), key="refused")
    assert await soon(one.failures.get()) == "refused"
    assert one.endpoint.connections == 0


async def test_a_datagram_that_is_too_large_fails(box: BoxMaker) -> None:
    one = box()
    address = await one.listen("udp")
    one.send_to(Hop(*address, "udp"), bytes(70_000))
    assert await soon(one.failures.get()) == "key"


async def test_waiting_sends_are_bounded_and_end_with_the_endpoint(box: BoxMaker) -> None:
    one = box(resolver=HangingResolver(), limits=TransportLimits(max_pending_sends=2))
    for number in range(3):
        one.send(Attempt(message(), hop=Hop("slow.example")), key=f"send {number}")
    assert await soon(one.failures.get()) == "send 2"
    assert await one.drop() == "send-queue-full"
    assert one.endpoint.pending_sends == 2
    await one.endpoint.close()
    one.send(Attempt(message(), hop=Hop("slow.example")), key="closed")
    assert await soon(one.failures.get()) == "closed"


async def test_a_message_does_not_wait_for_ever(
    box: BoxMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "SEND_TIMEOUT_S", 0.01)
    one = box(resolver=HangingResolver())
    one.send(Attempt(message(), hop=Hop("slow.example")))
    assert await soon(one.failures.get()) == "key"
    assert await one.drop() == "send-timed-out"


async def test_nothing_is_heard_once_it_closes(box: BoxMaker) -> None:
    near, far = box(), box(limits=TransportLimits(close_s=0.2))
    await near.listen("udp")
    hops = [Hop(*await far.listen(transport), transport) for transport in TRANSPORTS]
    for hop in hops:
        near.send_to(hop)
        await far.hear()
    for hop in hops:
        near.send_to(hop)  # on its way when the other side closes
    await far.endpoint.close()
    assert far.heard.empty()


async def test_a_full_interface_queue_is_like_loss() -> None:
    drops: list[str] = []
    bound = _Full(socket.AF_INET, socket.SOCK_DGRAM)
    bound.bind(("127.0.0.1", 0))
    listener = UdpListener(
        bound,
        receive=lambda data, flow: None,
        admit=lambda ip: True,
        on_drop=lambda rule, ip: drops.append(rule),
        receive_buffer=1 << 16,
    )
    assert listener.send(message(), ("127.0.0.1", 9))
    assert not listener.send(message(), ("::1", 9))
    assert drops == ["udp-send-queue-full"]
    listener.close()


async def test_a_taken_port_and_a_foreign_address_are_named(box: BoxMaker) -> None:
    one = box()
    _, port = await one.listen("tcp")
    with pytest.raises(TransportError, match="cannot listen"):
        await one.endpoint.listen(Listen("tcp", "127.0.0.1", port))
    with pytest.raises(TransportError, match=r"udp://192\.0\.2\.1:0: .*address"):
        await one.endpoint.listen(Listen("udp", "192.0.2.1", 0))
    with pytest.raises(TransportError, match=r"no\.such\.host\.invalid"):
        await one.endpoint.listen(Listen("udp", "no.such.host.invalid", 0))


async def test_tls_needs_contexts_and_a_certificate(
    box: BoxMaker, certificate: tuple[Path, Path]
) -> None:
    bare = box(contexts=None)
    with pytest.raises(TransportError, match="TLS is not configured"):
        await bare.listen("tls")
    bare.send_to(Hop("127.0.0.1", 5061, "tls"))
    assert await soon(bare.failures.get()) == "key"
    client = box(contexts=TlsContexts(ca=certificate[0]))
    with pytest.raises(TransportError, match="needs a certificate"):
        await client.listen("tls")


async def _talk(tls: TlsContexts) -> list[str]:
    near, far = Box(tls=tls), Box(tls=tls)
    await near.listen("udp")
    heard: list[str] = []
    try:
        for transport in TRANSPORTS:
            address = await far.listen(transport)
            near.send_to(Hop(*address, transport))
            _, flow = await far.hear()
            far.reply(flow)
            heard.append((await near.hear())[1].transport)
    finally:
        await near.endpoint.close()
        await far.endpoint.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return heard


def test_all_transports_on_uvloop(tls: TlsContexts) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(_talk(tls)) == list(TRANSPORTS)
