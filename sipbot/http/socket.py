"""One accepted WebSocket, over picows: whole text messages in, text messages out, all bounded."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Protocol, cast

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from sipbot.ops.logs import Logger

MAX_KEPT: Final = 256  # messages kept while nobody listens; one more closes the socket
FLUSH_S: Final = 2.0  # seconds that a closed socket may take to send what waits
MAX_REASON: Final = 120  # bytes of a close reason; RFC 6455 section 5.5 allows 123

NO_CODE: Final = 1005  # RFC 6455 section 7.4.1: the peer gave none
LOST: Final = 1006
POLICY: Final = 1008
TOO_BIG: Final = 1009
FAILED: Final = 1011


class SocketUser(Protocol):
    """Hears of one WebSocket."""

    def on_message(self, message: str | bytes) -> None: ...

    def on_writable(self) -> None: ...

    def on_closed(self, code: int) -> None: ...


class ServerSocket(WSListener):
    """What a leg calls its ``StreamSocket``; for picows it is the listener.

    ``max_bytes`` bounds a message that comes in pieces; whole ones are bounded by the protocol.
    """

    def __init__(self, max_bytes: int, log: Logger) -> None:
        self._max_bytes, self._log = max_bytes, log
        self._user: SocketUser | None = None
        self._kept: deque[bytes] = deque()
        self._parts: bytearray | None = None  # of a message that comes in pieces
        self._transport: WSTransport | None = None
        self._loop = asyncio.get_running_loop()
        self._gone: asyncio.Future[int] = self._loop.create_future()
        self._sent_code: int | None = None
        self.congested = False

    # --- for the leg ----------------------------------------------------------------------------

    def attach(self, user: SocketUser) -> None:
        """Tell ``user`` from now on, first of what came before."""
        self._user = user
        while self._kept and self._user is user:
            user.on_message(self._kept.popleft())
        if self._gone.done() and self._user is user:
            user.on_closed(self._gone.result())

    def detach(self) -> None:
        """Keep what comes until somebody else is attached."""
        self._user = None

    def send(self, text: str) -> None:
        """Send one message; nothing happens on a closed socket."""
        if self._transport is not None:
            self._transport.send(WSMsgType.TEXT, text)

    async def close(self, code: int, reason: str) -> None:
        """Close, and wait for the peer to agree: for ever, so limit it."""
        if not self._gone.done():
            self._say_close(code, reason)
            await asyncio.shield(self._gone)

    def abort(self) -> None:
        """Drop the connection at once."""
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    # --- for picows -----------------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        try:
            self._take(transport, frame)
        except Exception as error:  # the boundary behind which no stream harms another
            self._log.error("stream failed", error=repr(error))
            self._fail(FAILED, "")

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._transport = None
        self._gone.set_result(self._code(transport))
        if self._user is not None:
            self._user.on_closed(self._gone.result())

    def pause_writing(self) -> None:
        self.congested = True

    def resume_writing(self) -> None:
        self.congested = False
        if self._user is not None:
            self._user.on_writable()

    # --- inside ---------------------------------------------------------------------------------

    def _take(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind == WSMsgType.TEXT or kind == WSMsgType.BINARY:
            if frame.fin and self._parts is None:
                self._deliver(frame.get_payload_as_bytes())
            else:
                self._begin(frame)
        elif kind == WSMsgType.CONTINUATION:
            self._go_on(frame)
        elif kind == WSMsgType.PING:
            if not self.congested:
                transport.send_pong(frame.get_payload_as_bytes())
        elif kind == WSMsgType.CLOSE:
            self._agree(transport, frame)

    def _deliver(self, message: bytes) -> None:
        if self._user is not None:
            self._user.on_message(message)
        elif len(self._kept) < MAX_KEPT:
            self._kept.append(message)
        else:
            self._fail(POLICY, "too-many-messages")

    def _begin(self, frame: WSFrame) -> None:
        if self._parts is not None:
            self._fail(WSCloseCode.PROTOCOL_ERROR.value, "unfinished-message")
            return
        self._parts = bytearray(frame.get_payload_as_bytes())

    def _go_on(self, frame: WSFrame) -> None:
        if self._parts is None:
            self._fail(WSCloseCode.PROTOCOL_ERROR.value, "no-message")
            return
        self._parts += frame.get_payload_as_bytes()
        if len(self._parts) > self._max_bytes:
            self._fail(TOO_BIG, "message-too-big")
        elif frame.fin:
            whole, self._parts = bytes(self._parts), None
            self._deliver(whole)

    def _agree(self, transport: WSTransport, frame: WSFrame) -> None:
        """The peer closes, or agrees to our close."""
        code = frame.get_close_code()
        transport.send_close(code if code != WSCloseCode.NO_INFO else WSCloseCode.OK)
        self._leave(transport)

    def _fail(self, code: int, reason: str) -> None:
        """Close without waiting for the peer."""
        if self._transport is not None:
            self._say_close(code, reason)
            self._leave(self._transport)

    def _say_close(self, code: int, reason: str) -> None:
        if self._transport is not None:
            self._sent_code = code
            text = reason.encode()[:MAX_REASON]
            # Codes from 3000 on are ours to choose; picows knows the others by name.
            self._transport.send_close(cast("WSCloseCode", code), text)

    def _leave(self, transport: WSTransport) -> None:
        """Close the connection; a peer that takes nothing cannot hold it open."""
        transport.disconnect()
        if not self._gone.done():
            self._loop.call_later(FLUSH_S, self._give_up)

    def _give_up(self) -> None:
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    def _code(self, transport: WSTransport) -> int:
        """The peer's close code, else ours, else that of a lost connection."""
        handshake = transport.close_handshake
        if handshake is not None and handshake.recv is not None:
            return int(cast("int", handshake.recv.code)) or NO_CODE
        if handshake is not None and handshake.sent is not None:
            return int(cast("int", handshake.sent.code))
        return LOST
