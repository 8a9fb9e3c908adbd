"""Serves the web application and the streams within the event loop of its process."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import uvicorn
from fastapi import FastAPI
from uvicorn.server import ServerState

from sipbot.clock import Clock
from sipbot.http.front import Front, Hall
from sipbot.http.head import MAX_HEAD
from sipbot.http.listening import BACKLOG
from sipbot.http.streams import StreamDoor
from sipbot.ops.logs import Logger
from sipbot.ops.values import IpNetwork

MAX_CONNECTIONS: Final = 64  # requests beyond are answered with 503; streams do not count
KEEP_ALIVE_S: Final = 5  # seconds that an idle connection is kept
GRACE_S: Final = 1.0  # seconds for running requests at the end
HANDSHAKE_S: Final = 10.0  # seconds of a TLS handshake


@dataclass(frozen=True, slots=True)
class HttpParts:
    """What a server serves. ``dropped(rule, ip)`` hears of connections that got no answer."""

    app: FastAPI
    door: StreamDoor | None = None
    trusted: Sequence[IpNetwork] = ()
    tls: ssl.SSLContext | None = None
    dropped: Callable[[str, str], None] = lambda rule, ip: None


class HttpServer:
    """Serves one listening socket, which is closed with it; others may serve copies of it."""

    def __init__(self, listening: socket.socket, parts: HttpParts, clock: Clock, log: Logger):
        self._socket, self._tls = listening, parts.tls
        self._hall = Hall(
            config=_configured(parts),
            state=ServerState(),
            clock=clock,
            log=log,
            dropped=parts.dropped,
            door=parts.door,
            trusted=parts.trusted,
        )
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Begin to answer."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Front(self._hall),
            sock=self._socket,
            ssl=self._tls,
            backlog=BACKLOG,
            ssl_handshake_timeout=None if self._tls is None else HANDSHAKE_S,
        )

    def adopt(self, parts: HttpParts) -> None:
        """Serve other parts to the connections that come from now on; TLS stays."""
        self._hall.config = _configured(parts)
        self._hall.door, self._hall.trusted = parts.door, parts.trusted

    async def stop_accepting(self) -> None:
        """Take no more connections."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self._socket.close()

    async def close(self) -> None:
        """Answer what is being asked, then close. Streams go on until somebody ends them."""
        await self.stop_accepting()
        state = self._hall.state
        for connection in tuple(state.connections):
            connection.shutdown()
        if state.tasks:
            _, slow = await asyncio.wait(tuple(state.tasks), timeout=GRACE_S)
            for task in slow:
                task.cancel()


def _configured(parts: HttpParts) -> uvicorn.Config:
    config = uvicorn.Config(
        parts.app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=bool(parts.trusted),
        forwarded_allow_ips=[str(network) for network in parts.trusted],
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        h11_max_incomplete_event_size=MAX_HEAD,
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    config.load()
    return config
