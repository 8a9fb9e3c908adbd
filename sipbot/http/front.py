"""The first protocol of every connection: reads one head, then hands the connection on.

Requests for streams go to picows, all others to uvicorn, on one port. Until a head is complete a
connection costs its bytes, a timer and one of the places of its address.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Final, cast

import uvicorn
from picows import WSAutoPingStrategy
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # not in its stubs
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from sipbot.clock import Clock
from sipbot.exotel.wire import MAX_MESSAGE_BYTES
from sipbot.http.head import END, MAX_HEAD, plain_upgrade, read_head, refusal_answer
from sipbot.http.head import websocket_key as checked_key
from sipbot.http.socket import ServerSocket
from sipbot.http.streams import StreamDoor, StreamRefused, stream_kind, stream_request
from sipbot.ops.logs import Logger
from sipbot.ops.values import IpNetwork

HEAD_S: Final = 10.0  # seconds until a head must be complete
MAX_UNREAD: Final = 1_024  # connections whose heads are not complete
MAX_UNREAD_PER_ADDRESS: Final = 256  # the same of one address
READ_BUFFER: Final = 8_192  # bytes of a stream's read buffer at its beginning

_QUIET: Final = logging.getLogger("sipbot.http.websocket")  # we log what matters ourselves
_QUIET.setLevel(logging.CRITICAL + 1)


@dataclass(slots=True)
class Hall:
    """What all connections share. ``dropped(rule, ip)`` hears of those that got no answer."""

    config: uvicorn.Config
    state: ServerState
    clock: Clock
    log: Logger
    dropped: Callable[[str, str], None]
    door: StreamDoor | None = None
    trusted: Sequence[IpNetwork] = ()
    unread: Counter[str] = field(default_factory=Counter)  # connections without a head, by address


class Front(asyncio.Protocol):
    """One connection, until its first head is complete."""

    def __init__(self, hall: Hall) -> None:
        self._hall = hall
        self._data = bytearray()
        self._transport: asyncio.Transport | None = None
        self._client = ("", 0)
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        hall, self._transport = self._hall, cast("asyncio.Transport", transport)
        name = transport.get_extra_info("peername") or ("", 0)
        self._client = (str(name[0]), int(name[1]))
        hall.state.connections.add(self)  # type: ignore[arg-type]  # it can be shut down like them
        hall.unread[self._client[0]] += 1
        self._timer = asyncio.get_running_loop().call_later(HEAD_S, self._drop, "slow-head")
        many = hall.unread.total() > MAX_UNREAD
        if many or hall.unread[self._client[0]] > MAX_UNREAD_PER_ADDRESS:
            self._drop("too-many-connections")

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        seen = len(self._data)
        self._data += data
        end = self._data.find(END, max(seen - len(END), 0))
        if end > MAX_HEAD or (end < 0 and len(self._data) > MAX_HEAD):
            self._refuse(StreamRefused("head-too-long", 431))
        elif not 0x41 <= self._data[0] <= 0x5A:  # a method begins with a letter from A to Z
            self._drop("not-http")
        elif end >= 0:
            self._hand_on(end)

    def connection_lost(self, exc: Exception | None) -> None:
        self._let_go()

    def shutdown(self) -> None:
        """The server closes."""
        if self._transport is not None:
            self._transport.close()

    # --- inside ---------------------------------------------------------------------------------

    def _hand_on(self, end: int) -> None:
        target = self._data[:end].partition(b"\r\n")[0].split(b" ")[1:2]
        kind = stream_kind(target[0].decode("latin-1")) if target else None
        if kind is None or self._hall.door is None:
            self._to_uvicorn()
            return
        try:
            head = read_head(bytes(self._data[:end]))
            key = checked_key(head)
            request = stream_request(
                head.target, kind, head.headers, self._client, self._hall.trusted
            )
            ticket = self._hall.door.admit(request)
        except StreamRefused as refusal:
            self._refuse(refusal)
        else:
            self._to_picows(key, ticket, bytes(self._data[end + len(END) :]))

    def _to_uvicorn(self) -> None:
        hall, transport = self._hall, self._let_go()
        if transport is None:
            return
        if hall.config.date_header:
            date = formatdate(hall.clock.wall(), usegmt=True).encode()
            hall.state.default_headers = [(b"date", date)]
        protocol = H11Protocol(hall.config, hall.state, {}, asyncio.get_running_loop())
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(bytes(self._data))

    def _to_picows(self, key: str, ticket: object, rest: bytes) -> None:
        hall, transport = self._hall, self._let_go()
        assert transport is not None
        assert hall.door is not None
        socket = ServerSocket(MAX_MESSAGE_BYTES, hall.log)
        protocol = _websocket(socket)
        hall.door.enter(ticket, socket)
        transport.pause_reading()  # the loop may read in another way from here on
        transport.set_protocol(protocol)
        try:
            protocol.connection_made(transport)
            _feed(protocol, plain_upgrade(key) + rest)
        except OSError:  # it is gone already
            transport.abort()
        if not transport.is_closing():
            transport.resume_reading()

    def _refuse(self, refusal: StreamRefused) -> None:
        transport, door = self._let_go(), self._hall.door
        if transport is None:
            return
        if door is None:
            self._hall.dropped(refusal.rule, self._client[0])
        else:
            door.refused(refusal, self._client[0])
        transport.write(refusal_answer(refusal))
        transport.close()

    def _drop(self, rule: str) -> None:
        transport = self._let_go()
        if transport is not None:
            self._hall.dropped(rule, self._client[0])
            transport.abort()

    def _let_go(self) -> asyncio.Transport | None:
        """From here on the connection is somebody else's; None when it was before."""
        transport, self._transport = self._transport, None
        if self._timer is not None:
            self._timer.cancel()
        if transport is not None:
            hall, ip = self._hall, self._client[0]
            hall.state.connections.discard(self)
            hall.unread[ip] -= 1
            if not hall.unread[ip]:
                del hall.unread[ip]
        return transport


def _websocket(socket: ServerSocket) -> WSProtocol:
    """A protocol of picows for the server's side of ``socket``. It sends no pings: peers may not
    answer them, and whoever uses the socket notices when nothing comes."""
    return WSProtocol(
        None,  # host and port: of clients
        None,  # path: the same
        False,  # it is the server
        lambda request: socket,
        _QUIET,
        True,  # disconnect when the listener fails
        None,  # no time limit for the handshake: it is complete
        False,  # pings of its own
        HEAD_S,
        HEAD_S,
        WSAutoPingStrategy.PING_WHEN_IDLE,
        False,  # pongs: the socket sends them, within bounds
        MAX_MESSAGE_BYTES,
        None,  # headers: of clients
        READ_BUFFER,
    )


def _feed(protocol: WSProtocol, data: bytes) -> None:
    """Give it bytes that were read before it was there."""
    at = 0
    while at < len(data):
        room = protocol.get_buffer(-1)
        part = data[at : at + len(room)]
        room[: len(part)] = part
        protocol.buffer_updated(len(part))
        at += len(part)
