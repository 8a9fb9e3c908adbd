"""The HTTP interface of a whole sipbot, in whichever process serves it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Final

from sipbot.clock import Clock
from sipbot.ops.logs import Logger
from sipbot.ops.status import ProcessStatus, Status
from sipbot.ops.values import HttpListen
from sipbot.runtime import refusal as refusals
from sipbot.runtime.fleet import Fleet

if TYPE_CHECKING:
    from sipbot.http.source import Source

SILENT_S: Final = 2.0  # seconds without a word of the edge after which it is not ready

STARTING: Final = "starting"
NO_EDGE: Final = "no-edge"
EDGE_SILENT: Final = "edge-silent"


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
    """A ``Source`` out of what the edge of a fleet said last."""

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
        return self._fleet.status

    def processes(self) -> Sequence[ProcessStatus]:
        return self._fleet.processes()


@contextlib.asynccontextmanager
async def serving(
    listen: HttpListen | None, source: Source, clock: Clock, log: Logger
) -> AsyncIterator[tuple[str, ...]]:
    """Serve while inside; yields the URL, if there is one. Raises TransportError."""
    if listen is None:
        yield ()
        return
    from sipbot.http.server import HttpServer  # takes a while to import, and not everybody wants it

    server = HttpServer(listen, log)
    try:
        await server.start(source, clock)
        yield (server.url,)
    finally:
        await server.close()
