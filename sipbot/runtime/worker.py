"""A worker process: agents, and the calls that the edge gives them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from sipbot.call.leg import Leg
from sipbot.clock import SystemClock, process_cpu_s
from sipbot.errors import ConfigError, SipbotError
from sipbot.legs.remote import RemoteLeg
from sipbot.ops.counters import Counters
from sipbot.ops.logs import get_logger
from sipbot.runtime.apology import make_apology
from sipbot.runtime.child import WorkerBoot, adopt_socket, ignore_stop_signals
from sipbot.runtime.host import HostParts, LocalHost, Placement
from sipbot.runtime.kept import kept_host_parts
from sipbot.runtime.link import messages as msg
from sipbot.runtime.link.channel import Channel
from sipbot.runtime.link.shared import SharedRings
from sipbot.runtime.loop import settle_collector
from sipbot.runtime.orphans import record_of
from sipbot.runtime.outbound import Outbound
from sipbot.runtime.outbound_parts import dialling_out
from sipbot.runtime.records import Books, open_books
from sipbot.runtime.worker_host import BEAT_S
from sipbot.runtime.worker_link import WorkerLink
from sipbot.runtime.worker_web import STREAMS, WorkerWeb

REPORT_S: Final = 1.0  # seconds between two reports of streams
LAST_RECORDS_S: Final = 3.0  # seconds for agents to notice that the edge is gone

_EXIT_FAILED: Final = 1


class _LeaveError(Exception):
    """Ends the task group of a worker, with the agents that did not end by themselves."""


async def run_worker(boot: WorkerBoot) -> int:
    """Run agents until retired, or until edge or supervisor are gone; returns the exit code."""
    ignore_stop_signals(asyncio.get_running_loop())
    above = _Above(boot)
    clock, counters = SystemClock(), Counters()
    async with open_books(boot.config, clock, counters) as books:
        try:
            parts = kept_host_parts(boot.config, boot.base, clock, books)
        except (SipbotError, ImportError) as error:
            above.fail(error)
            return _EXIT_FAILED
        try:
            async with asyncio.TaskGroup() as tasks:
                worker = Worker(boot, above, parts, tasks, books)
                await worker.run()
                raise _LeaveError
        except* _LeaveError:
            pass
    return 0


class _Above:
    """The channel to the supervisor."""

    def __init__(self, boot: WorkerBoot) -> None:
        self.retired = asyncio.Event()
        self.lost = asyncio.Event()
        self.on_drain: Callable[[float], None] = lambda deadline_s: None
        self.on_fare: Callable[[msg.Fare], None] = lambda fare: None
        self.channel: Channel[msg.ToWorkerFromAbove] = Channel(
            adopt_socket(boot.control),
            msg.ToWorkerFromAbove,
            lambda message, _: self._obey(message),
            lambda rule: self.lost.set(),
        )

    def _obey(self, message: msg.ToWorkerFromAbove) -> None:
        match message:
            case msg.Retire():
                self.retired.set()
            case msg.Drain():
                self.on_drain(message.deadline_s)
            case msg.Fare():
                self.on_fare(message)

    def fail(self, error: Exception) -> None:
        """Say why this worker cannot begin."""
        problems = error.problems if isinstance(error, ConfigError) else ()
        plain = tuple((one.file, one.line, one.key, one.value, one.message) for one in problems)
        self.channel.send(msg.Failed(str(error), plain))


class Worker:
    """The parts of a worker, joined."""

    def __init__(
        self,
        boot: WorkerBoot,
        above: _Above,
        parts: HostParts,
        tasks: asyncio.TaskGroup,
        books: Books,
    ) -> None:
        self._boot, self._above, self._parts, self._books = boot, above, parts, books
        self._log = get_logger("worker")
        self._loop = asyncio.get_running_loop()
        self._edge_lost = asyncio.Event()
        self._edge: Channel[msg.ToWorker] = Channel(
            adopt_socket(boot.edge), msg.ToWorker, self._on_message, self._on_edge_lost
        )
        rings = SharedRings(boot.memory, boot.slots)
        self._link = WorkerLink(rings, boot.eventfd, self._edge, self._on_call)
        self._host = LocalHost(parts, tasks, self._link.finished, self._is_ours)
        self._outbound: Outbound | None = None
        self._web: WorkerWeb | None = None
        if boot.http >= 0:
            self._web = WorkerWeb(boot, parts, self._host, SystemClock(), tasks, books)
            above.on_fare = self._web.take
        above.on_drain = lambda deadline_s: self._start_drain(tasks, deadline_s)

    async def run(self) -> None:
        """Say hello, then take calls until it is time to go."""
        text = self._boot.config.call.lost_apology
        apology = await make_apology(self._parts.synthesizer, text, self._log)
        async with (
            dialling_out(
                self._boot.config, self._books, self._link.dialer, self._host, SystemClock()
            ) as self._outbound,
            contextlib.nullcontext() if self._web is None else self._web.serve(),
        ):
            settle_collector()
            self._edge.send(msg.Hello(apology.tobytes()))
            self._above.channel.send(msg.Loaded())
            self._beat()
            self._report()
            await _first_of(self._above.retired, self._above.lost, self._edge_lost)
            if self._above.retired.is_set():
                await self._retire()
            if self._edge_lost.is_set():
                await self._outlive_edge()
            if self._web is not None:
                await self._web.desk.drain(0.0)
                self._above.channel.send(self._web.report())
        self._link.close()
        self._edge.close()
        self._above.channel.close()

    async def _retire(self) -> None:
        """Take nothing new, finish what is there."""
        self._edge.send(msg.Closing())
        self._stop_dialling()
        if self._web is not None:
            await self._web.stop_accepting()
        await self._unless(self._finish_calls(), self._above.lost, self._edge_lost)

    async def _finish_calls(self) -> None:
        """Those that live here, and those that live elsewhere and were ordered from here."""
        if self._outbound is not None:
            await self._outbound.wait_idle()
        await self._host.wait_empty()

    async def _outlive_edge(self) -> None:
        """Its calls are lost with the edge; streams are not, but new ones are for others."""
        if self._web is not None:
            await self._web.stop_accepting()
        self._link.dialer.lost()
        if not self._link.idle.is_set():
            self._log.error("edge lost", calls=self._host.calls)
            self._link.lost()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_RECORDS_S):
                    await self._link.idle.wait()
        if self._web is not None:
            await self._unless(self._web.desk.wait_empty(), self._above.lost)

    async def _unless(self, work: Coroutine[Any, Any, None], *events: asyncio.Event) -> None:
        """Wait for it, but no longer than until one of these is set."""
        done = self._loop.create_task(work)
        gone = self._loop.create_task(_first_of(*events))
        await asyncio.wait({done, gone}, return_when=asyncio.FIRST_COMPLETED)
        done.cancel()
        gone.cancel()

    def _start_drain(self, tasks: asyncio.TaskGroup, deadline_s: float) -> None:
        self._stop_dialling()
        if self._web is not None:
            tasks.create_task(self._web.desk.drain(deadline_s))

    def _stop_dialling(self) -> None:
        if self._outbound is not None:
            self._outbound.stop()

    def _beat(self) -> None:
        self._loop.call_later(BEAT_S, self._beat)
        beat = msg.Beat(self._host.calls, process_cpu_s())
        if self._web is not None:
            self._web.sample(beat.cpu_s)
        self._edge.send(beat)
        self._above.channel.send(beat)

    def _report(self) -> None:
        if self._web is not None:
            self._loop.call_later(REPORT_S, self._report)
            self._above.channel.send(self._web.report())

    def _is_ours(self, leg: Leg) -> bool:
        """Whether the edge knows nothing of this call, and so does not count its end."""
        return leg.info.transport in STREAMS

    def _on_call(self, leg: RemoteLeg, placement: Placement) -> None:
        self._host.take(leg, placement)

    def _on_message(self, message: msg.ToWorker, descriptors: Sequence[int]) -> None:
        if isinstance(message, msg.Orphan):
            self._parts.keep(record_of(message, self._parts.clock.wall()))
        else:
            self._link.on_message(message)

    def _on_edge_lost(self, rule: str) -> None:
        self._edge_lost.set()


async def _first_of(*events: asyncio.Event) -> None:
    """Wait until one of them is set."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waiting:
            one.cancel()
