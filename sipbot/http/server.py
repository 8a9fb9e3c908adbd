"""Serves the web application within the event loop of its process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Final

import uvicorn

from sipbot.clock import Clock
from sipbot.errors import TransportError
from sipbot.http.app import make_app
from sipbot.http.source import Source
from sipbot.ops.logs import Logger
from sipbot.ops.values import HttpListen

MAX_CONNECTIONS: Final = 64  # requests beyond are answered with 503
MAX_HEAD: Final = 16_384  # bytes of a request's head
BACKLOG: Final = 64  # connections that wait to be accepted
KEEP_ALIVE_S: Final = 5  # seconds that an idle connection is kept
GRACE_S: Final = 1  # seconds for running requests at the end


class _Server(uvicorn.Server):
    """Signals belong to the process, not to its web server. ``up`` is set once it answers."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpServer:
    """One listener. Bound from the beginning, so that a taken port is told at the start.

    Raises TransportError when it cannot be bound.
    """

    def __init__(self, listen: HttpListen, log: Logger) -> None:
        self._listen, self._log = listen, log
        self._socket = _bound(listen)
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where it really listens."""
        return str(HttpListen(self._listen.host, self._socket.getsockname()[1]))

    async def start(self, source: Source, clock: Clock) -> None:
        """Begin to answer."""
        config = uvicorn.Config(
            make_app(source, clock),
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=MAX_CONNECTIONS,
            h11_max_incomplete_event_size=MAX_HEAD,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
        )
        self._server = server = _Server(config)
        self._task = asyncio.get_running_loop().create_task(server.serve([self._socket]))
        self._task.add_done_callback(self._ended)
        up = asyncio.get_running_loop().create_task(server.up.wait())
        await asyncio.wait({up, self._task}, return_when=asyncio.FIRST_COMPLETED)
        up.cancel()

    async def close(self) -> None:
        """Answer what is being asked, then close."""
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await asyncio.wait({self._task})
        self._socket.close()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("http server failed", error=repr(error))


def _bound(listen: HttpListen) -> socket.socket:
    made: socket.socket | None = None
    try:
        found = socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM)
        family, kind, _, _, address = found[0]
        made = socket.socket(family, kind)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(BACKLOG)
    except OSError as error:
        if made is not None:
            made.close()
        cause = error.strerror or type(error).__name__
        raise TransportError(f"cannot listen on {listen}: {cause}") from error
    return made
