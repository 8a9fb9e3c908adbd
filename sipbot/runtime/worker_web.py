"""HTTP and streams of one worker: what it accepts itself, beside what the edge gives it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Final

from sipbot.clock import Clock
from sipbot.ops.logs import get_logger
from sipbot.ops.overload import CPU, TICK_LATENESS, CpuLoad
from sipbot.ops.status import StreamStatus
from sipbot.runtime.assembly import admission, trunk_limits
from sipbot.runtime.capacity import Capacity
from sipbot.runtime.child import WorkerBoot, adopt_socket
from sipbot.runtime.doorkeeper import Doorkeeper
from sipbot.runtime.host import HostParts, LocalHost
from sipbot.runtime.link import messages as msg
from sipbot.runtime.records import Books
from sipbot.runtime.stream_parts import stream_rules
from sipbot.runtime.streams import StreamDesk
from sipbot.runtime.web import Pushed, http_parts, serving

STREAMS: Final = frozenset({"voicebot", "stream"})  # transports of calls that a worker has alone


class WorkerWeb:
    """The HTTP side of a worker. ``serve`` runs it."""

    def __init__(
        self,
        boot: WorkerBoot,
        parts: HostParts,
        host: LocalHost,
        clock: Clock,
        tasks: asyncio.TaskGroup,
        books: Books,
    ) -> None:
        config = boot.config
        self._books = books
        self._boot, self._parts, self._clock = boot, parts, clock
        self._pushed = Pushed(clock)
        self._capacity = Capacity(config.limits.max_calls, trunk_limits(config))
        self._load = CpuLoad()
        self._loop = asyncio.get_running_loop()
        self.desk = StreamDesk(
            stream_rules(config),
            host,
            self._capacity,
            self._forbidden,
            parts.counters,
            get_logger("streams"),
            tasks,
        )

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        """Serve while inside. Raises TransportError."""
        config, clock = self._boot.config, self._clock
        keeper = Doorkeeper(admission(config), self._parts.counters, get_logger("http"))
        served = http_parts(config, self._pushed, clock, self.desk, keeper, self._books)
        async with serving(adopt_socket(self._boot.http), served, clock) as self._server:
            yield

    async def stop_accepting(self) -> None:
        """Leave new connections to other workers."""
        await self._server.stop_accepting()

    def take(self, fare: msg.Fare) -> None:
        """What the supervisor says."""
        self._pushed.take(fare)
        self._capacity.elsewhere = fare.elsewhere

    def sample(self, cpu_s: float) -> None:
        """A reading of this process's CPU time, in seconds."""
        self._load.sample(self._loop.time(), cpu_s, self._boot.config.limits.max_cpu_percent)

    def report(self) -> msg.StreamReport:
        times = self.desk.times
        times.look()
        return msg.StreamReport(
            StreamStatus(
                calls=dict(self.desk.states),
                trunks=dict(self._capacity.by_trunk),
                counters=self._parts.counters.series(),
                setup=times.setup.value,
                duration=times.duration.value,
            )
        )

    def _forbidden(self) -> Iterator[str]:
        """Our own CPU counts, and a media clock that is late: then the machine is full."""
        if self._load.busy:
            yield CPU
        status = self._pushed.status()
        if status is not None and TICK_LATENESS in status.reasons:
            yield TICK_LATENESS
