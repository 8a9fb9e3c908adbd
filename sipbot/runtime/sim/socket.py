"""The client end of a WebSocket, as events for one listener."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

from picows import (
    WSCloseCode,
    WSError,
    WSFrame,
    WSInvalidStatusError,
    WSListener,
    WSMsgType,
    WSTransport,
    ws_connect,
)

from sipbot.errors import TransportError

MAX_FRAME_BYTES: Final = 1_048_576  # of the bot; bigger ones end the connection
CLOSE_S: Final = 2.0  # seconds for the closing handshake
LOST: Final = 1006  # in place of a close code: the connection was lost
NO_CODE: Final = 1005  # the same: closed without a code


class ClientSocket(WSListener):
    """One connection. ``on_text`` hears messages, ``on_closed`` the close code, once.

    ``on_closed`` also hears whether the bot closed it, and not we.
    """

    def __init__(self, on_text: Callable[[bytes], None], on_closed: Callable[[int, bool], None]):
        self._on_text, self._on_closed = on_text, on_closed
        self._transport: WSTransport | None = None
        self._parts: list[bytes] = []
        self._code = LOST
        self._theirs = True
        self._told = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        match frame.msg_type:
            case WSMsgType.TEXT | WSMsgType.BINARY | WSMsgType.CONTINUATION:
                self._parts.append(frame.get_payload_as_bytes())
                if frame.fin:
                    whole, self._parts = b"".join(self._parts), []
                    self._on_text(whole)
            case WSMsgType.CLOSE:
                code = frame.get_payload_as_bytes()[:2]
                self._code = int.from_bytes(code, "big") if code else NO_CODE
                if not transport.is_close_frame_sent:
                    transport.send_close(WSCloseCode.OK)
                transport.disconnect()
                self._tell()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._tell()

    def send(self, text: str) -> None:
        """Send one message; nothing happens once it is closed."""
        if self._transport is not None and not self._told:
            self._transport.send(WSMsgType.TEXT, text.encode())

    async def close(self) -> None:
        """Close it with 1000 and wait for the other side, for ``CLOSE_S`` at most."""
        transport = self._transport
        if transport is None or self._told:
            return
        self._theirs = False
        transport.send_close(WSCloseCode.OK)
        try:
            async with asyncio.timeout(CLOSE_S):
                await transport.wait_disconnected()
        except TimeoutError:
            transport.disconnect(graceful=False)
        self._tell()

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            self._on_closed(self._code, self._theirs)


async def open_socket(
    url: str, listener: ClientSocket, *, timeout_s: float, insecure: bool = False
) -> None:
    """Connect ``listener`` to a ws(s) URL; user and password of it become a Basic header.

    Raises TransportError, with a text as Exotel puts it into ``Stream.Error``.
    """
    parts = urlsplit(url)
    where = f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'wss' else 80)}"
    try:
        async with asyncio.timeout(timeout_s):
            await ws_connect(
                lambda: listener,
                urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])),
                ssl_context=_context(parts.scheme, insecure),
                websocket_handshake_timeout=timeout_s,
                max_frame_size=MAX_FRAME_BYTES,
                max_redirects=0,
                extra_headers=_credentials(parts.username, parts.password),
            )
    except TimeoutError:
        cause = f"dial tcp {where}: i/o timeout"
    except WSInvalidStatusError as error:
        status = "?" if error.response is None else int(error.response.status)
        cause = f"bad handshake: {status}"
    except (WSError, ValueError):
        cause = "bad handshake"
    except ssl.SSLError as error:
        cause = f"tls: {error.reason or 'failed'}"
    except OSError as error:
        refused = isinstance(error, ConnectionRefusedError)
        cause = f"dial tcp {where}: connect: {'connection refused' if refused else 'failed'}"
    else:
        return
    raise TransportError(f"3009 failed to establish ws conn {cause}")


def _credentials(user: str | None, password: str | None) -> dict[str, str]:
    if user is None:
        return {}
    plain = f"{unquote(user)}:{unquote(password or '')}".encode()
    return {"Authorization": f"Basic {base64.b64encode(plain).decode('ascii')}"}


def _context(scheme: str, insecure: bool) -> ssl.SSLContext | None:
    if scheme != "wss":
        return None
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
