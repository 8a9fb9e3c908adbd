"""HTTP and streams where everything is in one process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from sipbot.clock import Clock
from sipbot.ops.config import Config
from sipbot.ops.logs import get_logger
from sipbot.runtime.doorkeeper import Doorkeeper
from sipbot.runtime.edge import Edge, EdgeParts
from sipbot.runtime.host import LocalHost
from sipbot.runtime.reporting import Reporter
from sipbot.runtime.stream_parts import load_certificate, stream_rules
from sipbot.runtime.streams import StreamDesk
from sipbot.runtime.web import http_parts, serving

if TYPE_CHECKING:
    from sipbot.http.server import HttpParts, HttpServer
    from sipbot.runtime.records import Books


class SoleWeb:
    """Joins the edge's limits, overload and times with those of the streams: they are the same."""

    def __init__(
        self,
        config: Config,
        parts: EdgeParts,
        edge: Edge,
        host: LocalHost,
        clock: Clock,
        keeper: Doorkeeper,
        tasks: asyncio.TaskGroup,
        books: Books,
    ) -> None:
        self._config, self._clock, self._keeper = config, clock, keeper
        self._books = books
        self.desk = StreamDesk(
            stream_rules(config),
            host,
            parts.capacity,
            lambda: parts.overload.rules,
            parts.counters,
            get_logger("streams"),
            tasks,
            parts.times,
        )
        self._source = Reporter(edge, parts, host, clock, lambda: self.desk.states)
        self._server: HttpServer | None = None
        self._tls: ssl.SSLContext | None = None

    @contextlib.asynccontextmanager
    async def serve(self, listening: socket.socket | None) -> AsyncIterator[None]:
        """Serve while inside, where there is a listener. Raises TransportError."""
        if listening is None:
            yield
            return
        parts = self._parts(self._config)
        self._tls = parts.tls
        async with serving(listening, parts, self._clock) as self._server:
            yield

    def prepare(self, config: Config) -> Callable[[], None]:
        """Read what a new configuration needs; the result puts it to use. Raises TransportError."""
        rules = stream_rules(config)
        parts = None
        if self._server is not None:
            parts = self._parts(config)

        def adopt() -> None:
            self.desk.rules = rules
            if self._server is not None and parts is not None:
                self._server.adopt(parts)
            if self._tls is not None and config.http.tls is not None:
                load_certificate(self._tls, config.http.tls)

        return adopt

    def _parts(self, config: Config) -> HttpParts:
        return http_parts(config, self._source, self._clock, self.desk, self._keeper, self._books)
