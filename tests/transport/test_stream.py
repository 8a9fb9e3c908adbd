"""Connections as a peer sees them, over raw sockets."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from contextlib import suppress

import pytest

from sipbot.sip.effects import Address, Hop
from sipbot.transport import accept
from sipbot.transport.accept import Acceptor
from sipbot.transport.endpoint import TransportLimits
from tests.transport.conftest import BoxMaker
from tests.transport.support import Box, message, soon


class Peer:
    """A stream client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def to(cls, address: Address) -> Peer:
        return cls(*await soon(asyncio.open_connection(*address)))

    async def read(self, count: int) -> bytes:
        return await soon(self.reader.readexactly(count))

    async def ended(self) -> bytes:
        """What still came before the end."""
        with suppress(ConnectionError):
            return await soon(self.reader.read())
        return b""

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await soon(self.writer.wait_closed())


async def _pair(box: BoxMaker, limits: TransportLimits | None = None) -> tuple[Box, Peer]:
    one = box(limits=limits)
    return one, await Peer.to(await one.listen("tcp"))


async def test_messages_in_any_pieces(box: BoxMaker) -> None:
    one, peer = await _pair(box)
    stream = message(1, b"body") + message(2) + message(3, b"x" * 5_000)
    peer.writer.write(stream[:7])
    peer.writer.write(stream[7:])
    heard = [(await one.hear())[0] for _ in range(3)]
    assert b"".join(heard) == stream
    for index in range(len(message())):
        peer.writer.write(message()[index : index + 1])
    assert (await one.hear())[0] == message()
    await peer.close()


async def test_ping_is_answered_with_pong(box: BoxMaker) -> None:
    one, peer = await _pair(box)
    peer.writer.write(b"\r\n\r\n")
    assert await peer.read(2) == b"\r\n"
    peer.writer.write(b"\r\n\r\n" + message())
    assert await peer.read(2) == b"\r\n"
    assert (await one.hear())[0] == message()
    await peer.close()


async def test_a_broken_stream_is_closed_after_the_core_s_answer(box: BoxMaker) -> None:
    one, peer = await _pair(box)
    one.echo = True
    broken = (
        b"OPTIONS sip:a@b SIP/2.0\r\n"
        b"Via: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK1\r\n"
        b"From: <sip:c@d>;tag=1\r\n"
        b"To: <sip:a@b>\r\n"
        b"Call-ID: 1\r\n"
        b"CSeq: 1 OPTIONS\r\n"
        b"Content-Length: many\r\n\r\n"
    )
    peer.writer.write(message(1) + broken)
    answered = await peer.ended()
    assert answered.startswith(message(1))
    assert b"Content-Length: many" in answered  # the core saw the faulty head and answered it
    assert await one.drop() == "stream-syntax"
    await peer.close()


async def test_a_peer_that_does_not_read_is_cut_off(box: BoxMaker) -> None:
    one, peer = await _pair(box, TransportLimits(max_queued_bytes=100_000))
    peer.writer.write(message())
    _, flow = await one.hear()
    for _ in range(400):  # more than the kernel's buffers hold
        one.reply(flow, message(3, b"x" * 60_000))
        if one.endpoint.connections == 0 or not one.drops.empty():
            break
    assert await one.drop() == "stream-slow-reader"
    assert await soon(one.failures.get()) == "key"
    await peer.close()


async def test_a_silent_connection_is_closed(box: BoxMaker) -> None:
    one, peer = await _pair(box, TransportLimits(first_message_s=0.02))
    assert await peer.ended() == b""
    assert await one.drop() == "stream-silent"
    await peer.close()


async def test_half_a_message_does_not_keep_a_connection_open(box: BoxMaker) -> None:
    one, peer = await _pair(box, TransportLimits(first_message_s=0.02))
    peer.writer.write(message()[:-1])
    assert await peer.ended() == b""
    assert await one.drop() == "stream-silent"
    await peer.close()


async def test_an_idle_connection_is_closed_and_traffic_counts(box: BoxMaker) -> None:
    one, peer = await _pair(box, TransportLimits(first_message_s=0.01, idle_s=0.1))
    peer.writer.write(message())
    await one.hear()
    began = asyncio.get_running_loop().time()
    assert await peer.ended() == b""
    assert asyncio.get_running_loop().time() - began > 0.05
    assert await one.drop() == "stream-idle"
    await peer.close()


async def test_the_limit_for_one_address(box: BoxMaker) -> None:
    one = box(limits=TransportLimits(max_connections_per_address=2))
    address = await one.listen("tcp")
    peers = [await Peer.to(address) for _ in range(3)]
    assert await one.drop() == "too-many-connections-from-address"
    await peers[0].close()
    assert await peers[2].ended() == b""
    peers[1].writer.write(message())
    await one.hear()
    peers.append(await Peer.to(address))
    peers[3].writer.write(message(3))
    assert (await one.hear())[0] == message(3)
    for peer in peers[1:]:
        await peer.close()


async def test_the_limit_for_all_counts_our_own_connections_too(box: BoxMaker) -> None:
    one, far = box(limits=TransportLimits(max_connections=1)), box()
    address = await one.listen("tcp")
    there = await far.listen("tcp")
    one.send_to(Hop(*there, "tcp"))
    await far.hear()
    peer = await Peer.to(address)
    assert await peer.ended() == b""
    assert await one.drop() == "too-many-connections"
    one.send_to(Hop("127.0.0.2", there[1], "tcp"))
    assert await soon(one.failures.get()) == "key"
    assert one.unreachable[0][1] == "too-many-connections"
    await peer.close()


async def test_an_unwelcome_address_gets_no_connection(box: BoxMaker) -> None:
    one = box(refuse=("127.0.0.1",))
    for transport in ("tcp", "tls"):
        peer = await Peer.to(await one.listen("tls" if transport == "tls" else "tcp"))
        assert await peer.ended() == b""
        assert await soon(one.drops.get()) == ("source-refused", "127.0.0.1")
        await peer.close()
    assert one.endpoint.connections == 0


async def test_reset_and_half_close_are_quiet(box: BoxMaker) -> None:
    one = box()
    one.echo = True
    address = await one.listen("tcp")
    half = await Peer.to(address)
    half.writer.write(message(5))
    half.writer.write_eof()
    assert await half.ended() == message(5)  # answered, then closed
    rude = await Peer.to(address)
    rude.writer.write(message(6))
    _, flow = await one.hear()
    _, flow = await one.hear()
    raw = rude.writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await rude.close()
    await one.all_gone()
    one.reply(flow)
    assert await soon(one.failures.get()) == "key"
    assert one.drops.empty()
    await half.close()


async def test_a_lost_connection_is_made_anew(box: BoxMaker) -> None:
    near, far = box(), box()
    _, port = await far.listen("tcp")
    hop = Hop("127.0.0.1", port, "tcp")
    near.send_to(hop)
    _, flow = await far.hear()
    broken = b"nonsense\r\n\r\n"
    far.reply(flow, b"\r" + broken)  # near closes on what is no SIP
    assert await near.drop() == "stream-syntax"
    await near.all_gone()
    near.send_to(hop, message(7))
    data, again = await far.hear()
    assert data == message(7)
    assert again.connection != flow.connection


async def test_connecting_takes_no_longer_than_allowed(
    box: BoxMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = box(limits=TransportLimits(connect_s=0.02))

    async def never(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", never)
    one.send_to(Hop("127.0.0.1", 5060, "tcp"))
    assert await soon(one.failures.get()) == "key"
    assert [cause for _, cause in one.unreachable] == ["timed out"]
    assert one.endpoint.connections == 0


async def test_what_was_written_is_flushed_at_close(box: BoxMaker) -> None:
    one, peer = await _pair(box)
    peer.writer.write(message())
    _, flow = await one.hear()
    one.reply(flow, message(2, b"x" * 500_000))
    closing = asyncio.ensure_future(one.endpoint.close())
    assert await peer.ended() == message(2, b"x" * 500_000)
    await soon(closing)
    await peer.close()


async def test_close_does_not_wait_for_a_peer_that_hangs(box: BoxMaker) -> None:
    one, peer = await _pair(box, TransportLimits(close_s=0.02, max_queued_bytes=1 << 27))
    peer.writer.write(message())
    _, flow = await one.hear()
    one.reply(flow, message(2, b"x" * 60_000_000))
    await soon(one.endpoint.close())
    assert one.endpoint.connections == 0
    await peer.close()


class _Exhausted(socket.socket):
    """A listening socket for which the process has no file descriptor left, once."""

    refusals = 1

    def accept(self) -> tuple[socket.socket, Address]:
        if self.refusals:
            self.refusals -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


async def test_without_file_descriptors_accepting_pauses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accept, "PAUSE_S", 0.01)
    drops: list[str] = []
    came: asyncio.Queue[socket.socket] = asyncio.Queue()
    bound = _Exhausted()
    bound.bind(("127.0.0.1", 0))
    bound.setblocking(False)
    acceptor = Acceptor(
        bound,
        accepted=lambda opened, ip: came.put_nowait(opened),
        on_drop=lambda rule, ip: drops.append(rule),
    )
    peer = await Peer.to(bound.getsockname())
    (await soon(came.get())).close()
    assert drops == ["accept-failed"]
    await peer.close()
    acceptor.close()
    acceptor.close()  # twice does no harm


async def test_closing_while_connections_come_leaks_nothing(box: BoxMaker) -> None:
    one = box()
    address = await one.listen("tcp")
    secure = await one.listen("tls")
    peers = [await Peer.to(where) for where in (address, secure) for _ in range(5)]
    await soon(one.endpoint.close())
    for peer in peers:
        assert await peer.ended() == b""
        await peer.close()
