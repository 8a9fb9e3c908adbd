"""The HTTP interface of a whole sipbot, in whichever process serves it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Final

from sipbot.clock import Clock
from sipbot.ops.config import Config
from sipbot.ops.logs import get_logger
from sipbot.ops.status import ProcessStatus, Status
from sipbot.runtime import refusal as refusals
from sipbot.runtime.doorkeeper import Doorkeeper
from sipbot.runtime.fleet import Fleet
from sipbot.runtime.link import messages as msg

if TYPE_CHECKING:
    from sipbot.http.server import HttpParts, HttpServer
    from sipbot.http.source import Source
    from sipbot.http.streams import StreamDoor
    from sipbot.runtime.records import Books

SILENT_S: Final = 2.0  # seconds without a word of the edge after which it is not ready

STARTING: Final = "starting"
NO_EDGE: Final = "no-edge"
EDGE_SILENT: Final = "edge-silent"
SUPERVISOR_SILENT: Final = "supervisor-silent"


class Front:
    """A ``Source`` that can be asked before there is anything behind it."""

    def __init__(self) -> None:
        self.behind: Source | None = None
        self.stopping = False

    def reasons(self) -> tuple[str, ...]:
        if self.stopping:
            return (refusals.SHUTTING_DOWN.rule,)
        return (STARTING,) if self.behind is None else self.behind.reasons()

    def status(self) -> Status | None:
        return None if self.behind is None else self.behind.status()

    def processes(self) -> Sequence[ProcessStatus]:
        return () if self.behind is None else self.behind.processes()


class FleetView:
    """A ``Source`` out of what the edge and the workers of a fleet said last."""

    def __init__(self, fleet: Fleet, clock: Clock) -> None:
        self._fleet, self._clock = fleet, clock

    def reasons(self) -> tuple[str, ...]:
        fleet = self._fleet
        if fleet.edge.gone.is_set():
            return (NO_EDGE,)
        if self._clock.monotonic() - fleet.heard_at > SILENT_S:
            return (EDGE_SILENT,)
        return (STARTING,) if fleet.status is None else fleet.status.reasons

    def status(self) -> Status | None:
        return self._fleet.whole_status()

    def processes(self) -> Sequence[ProcessStatus]:
        return self._fleet.processes()


class Pushed:
    """A ``Source`` in a worker: what the supervisor said last."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._fare: msg.Fare | None = None
        self._heard_at = clock.monotonic()

    def take(self, fare: msg.Fare) -> None:
        self._fare, self._heard_at = fare, self._clock.monotonic()

    def reasons(self) -> tuple[str, ...]:
        if self._fare is None:
            return (STARTING,)
        if self._clock.monotonic() - self._heard_at > SILENT_S + 1.0:  # it speaks once a second
            return (SUPERVISOR_SILENT,)
        return self._fare.reasons

    def status(self) -> Status | None:
        return None if self._fare is None else self._fare.status

    def processes(self) -> Sequence[ProcessStatus]:
        return () if self._fare is None else self._fare.processes


# What follows imports the web application where it is used: that takes a while, and not every
# process wants it.


def http_parts(
    config: Config,
    source: Source,
    clock: Clock,
    door: StreamDoor,
    keeper: Doorkeeper,
    books: Books,
) -> HttpParts:
    """What is served by HTTP. Raises TransportError for a certificate that cannot be used."""
    from sipbot.http.app import make_app
    from sipbot.http.server import HttpParts
    from sipbot.runtime.stream_parts import server_tls
    from sipbot.runtime.web_routers import web_routers

    return HttpParts(
        app=make_app(source, clock, web_routers(config, books, clock)),
        door=door,
        trusted=config.http.trusted_proxies,
        tls=server_tls(config.http.tls),
        dropped=keeper.dropped,
    )


@contextlib.asynccontextmanager
async def serving(
    listening: socket.socket, parts: HttpParts, clock: Clock
) -> AsyncIterator[HttpServer]:
    """Serve while inside; the socket is closed at the end."""
    from sipbot.http.server import HttpServer

    server = HttpServer(listening, parts, clock, get_logger("http"))
    try:
        await server.start()
        yield server
    finally:
        await server.close()


@contextlib.asynccontextmanager
async def standing_in(
    config: Config, listening: socket.socket | None, source: Source, clock: Clock
) -> AsyncIterator[None]:
    """Answer in the place of workers while inside: how we fare, and 503 for all else."""
    if listening is None:
        yield
        return
    from sipbot.http.app import make_app
    from sipbot.http.closed import router
    from sipbot.http.server import HttpParts
    from sipbot.runtime.stream_parts import server_tls

    parts = HttpParts(
        app=make_app(source, clock, (router(config.limits.retry_after_s),)),
        trusted=config.http.trusted_proxies,
        tls=server_tls(config.http.tls),
    )
    async with serving(listening.dup(), parts, clock):
        yield


def http_socket(config: Config) -> socket.socket | None:
    """The bound listener, where HTTP is wanted. Raises TransportError."""
    from sipbot.http.listening import bound

    return None if config.http.listen is None else bound(config.http.listen)


def http_urls(config: Config, listening: socket.socket | None) -> tuple[str, ...]:
    """Where HTTP is served, for the line that says ready."""
    from sipbot.http.listening import url_of

    if config.http.listen is None or listening is None:
        return ()
    return (url_of(config.http.listen, listening),)
