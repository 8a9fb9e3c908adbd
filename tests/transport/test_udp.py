from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from sipbot.sip.effects import Flow, Hop
from sipbot.transport import udp
from sipbot.transport.udp import UdpListener
from tests.transport.conftest import BoxMaker
from tests.transport.support import message, soon


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.bind(("127.0.0.1", 0))
        opened.setblocking(False)
        yield opened


async def test_a_burst_arrives_whole_and_in_order(box: BoxMaker, peer: socket.socket) -> None:
    one = box()
    address = await one.listen("udp")
    total = 3 * udp.MAX_BURST
    for number in range(total):
        peer.sendto(message(number), address)
    heard = [(await one.hear())[0] for _ in range(total)]
    assert heard == [message(number) for number in range(total)]


async def test_others_get_their_turn_within_a_burst(peer: socket.socket) -> None:
    heard: list[bytes] = []
    turns: list[int] = []
    done = asyncio.Event()

    def receive(data: bytes, flow: Flow) -> None:
        heard.append(data)
        if len(heard) == 1:
            asyncio.get_running_loop().call_soon(lambda: turns.append(len(heard)))
        if len(heard) == 2 * udp.MAX_BURST:
            done.set()

    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.bind(("127.0.0.1", 0))
    bound.setblocking(False)
    for number in range(2 * udp.MAX_BURST):
        peer.sendto(message(number), bound.getsockname())
    listener = UdpListener(
        bound,
        receive=receive,
        admit=lambda ip: True,
        on_drop=lambda rule, ip: None,
        receive_buffer=1 << 20,
    )
    await soon(done.wait())
    listener.close()
    assert turns == [udp.MAX_BURST]


async def test_a_listener_closed_by_what_it_received_stops_reading(peer: socket.socket) -> None:
    heard: list[bytes] = []
    first = asyncio.Event()

    def receive(data: bytes, flow: Flow) -> None:
        heard.append(data)
        listener.close()
        first.set()

    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.bind(("127.0.0.1", 0))
    bound.setblocking(False)
    for number in range(2):
        peer.sendto(message(number), bound.getsockname())
    listener = UdpListener(
        bound,
        receive=receive,
        admit=lambda ip: True,
        on_drop=lambda rule, ip: None,
        receive_buffer=1 << 20,
    )
    await soon(first.wait())
    listener.close()  # twice does no harm
    assert heard == [message(0)]


@pytest.mark.parametrize("keep_alive", [b"", b"\r\n", b"\r\n\r\n", b"\0", b"\0\0\0\0"])
async def test_keep_alives_are_no_messages(
    box: BoxMaker, peer: socket.socket, keep_alive: bytes
) -> None:
    one = box()
    address = await one.listen("udp")
    peer.sendto(keep_alive, address)
    peer.sendto(message(), address)
    assert (await one.hear())[0] == message()
    assert one.drops.empty()


async def test_an_unwelcome_source_is_dropped_with_its_rule(
    box: BoxMaker, peer: socket.socket
) -> None:
    one = box(refuse=("127.0.0.1",))
    peer.sendto(message(), await one.listen("udp"))
    assert await soon(one.drops.get()) == ("source-refused", "127.0.0.1")
    assert one.heard.empty()


async def test_icmp_errors_do_not_end_the_listener(box: BoxMaker, peer: socket.socket) -> None:
    one = box()
    address = await one.listen("udp")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        nobody = gone.getsockname()
    for _ in range(5):
        one.send_to(Hop(nobody[0], nobody[1], "udp"))
    peer.sendto(message(), address)
    assert (await one.hear())[0] == message()


async def test_a_flow_leaves_by_the_socket_it_came_by(box: BoxMaker, peer: socket.socket) -> None:
    one = box()
    for _ in range(3):
        await one.listen("udp")
    address = await one.listen("udp")
    peer.sendto(message(), address)
    _, flow = await one.hear()
    one.reply(flow)
    assert peer.recvfrom(1_000) == (message(2), address)  # sent at once, and loopback is quick


async def test_many_sources_keep_the_memory_of_locals_bounded(
    box: BoxMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udp, "_MAX_KNOWN_LOCALS", 2)
    one = box()
    address = await one.listen("udp", "0.0.0.0")
    for last in range(1, 6):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as source:
            source.bind((f"127.0.0.{last}", 0))
            source.sendto(message(last), ("127.0.0.1", address[1]))
            data, flow = await one.hear()
            assert data == message(last)
            assert flow.remote[0] == f"127.0.0.{last}"
