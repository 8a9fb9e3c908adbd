"""The edge as a process of its own: all calls, no agents."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from sipbot.clock import Clock, SystemClock
from sipbot.errors import TransportError
from sipbot.media.clockwork import Clockwork
from sipbot.ops.config import Config
from sipbot.ops.counters import Counters
from sipbot.ops.logs import get_logger
from sipbot.runtime.assembly import edge_parts
from sipbot.runtime.child import EdgeBoot, adopt_socket, ignore_stop_signals, take_from_memory
from sipbot.runtime.dialer_link import DialDesk
from sipbot.runtime.dialer_parts import make_dialer
from sipbot.runtime.doorkeeper import Doorkeeper
from sipbot.runtime.edge import Edge
from sipbot.runtime.faults import fault_logger
from sipbot.runtime.link import messages as msg
from sipbot.runtime.link.channel import Channel
from sipbot.runtime.link.shared import SharedRings
from sipbot.runtime.link.wakeup import EdgeWakeups
from sipbot.runtime.load_watch import LoadWatch
from sipbot.runtime.loop import settle_collector
from sipbot.runtime.reporting import Reporter
from sipbot.runtime.rescue import Rescuer
from sipbot.runtime.rules import RuleBook
from sipbot.runtime.signalling import open_signalling
from sipbot.runtime.tls_switch import SwitchableTls, switchable
from sipbot.runtime.worker_host import BEAT_S, WorkerHost
from sipbot.transport.local import Listen, address_of

REPORT_S: Final = 1.0  # seconds between two reports for the metrics

_EXIT_FAILED: Final = 1


async def run_edge(boot: EdgeBoot) -> int:
    """Take calls until told to stop; returns the exit code."""
    clock, log, counters = SystemClock(), get_logger("edge"), Counters()
    ignore_stop_signals(asyncio.get_running_loop())
    rings = SharedRings(boot.memory, boot.slots)
    parts = edge_parts(boot.config, clock, counters, (rings.rx, rings.tx))
    wakeups = EdgeWakeups(boot.slots, parts.waiters)
    clockwork = Clockwork(
        parts.plane, asyncio.get_running_loop(), wakeups.wake, fault_logger(log, counters)
    )
    try:
        async with asyncio.TaskGroup() as tasks:
            rescuer = Rescuer(log, boot.config.call.lost_transfer)
            host = WorkerHost(parts.plane, wakeups, rescuer, counters, log, tasks)
            host.max_cpu_percent = boot.config.limits.max_cpu_percent
            edge = Edge(parts, host)
            dialer = make_dialer(boot.config, edge, parts, tasks)
            host.on_dial = DialDesk(dialer, tasks).on_dial
            door = Doorkeeper(parts.admission, counters, log)
            try:
                tls = switchable(boot.config.sip, clock, get_logger("tls"))
                rules = RuleBook(edge, door, parts.capacity, tls, clock)
                rules.dialer = dialer
                watch = LoadWatch(edge, parts.plane, parts.overload, counters, log)
                reporter = Reporter(edge, parts, host, clock)
                service = EdgeService(boot, edge, host, rules, rescuer, reporter)
                code = await service.run(door, tls, clockwork, watch, clock)
            finally:
                host.close()
    finally:
        clockwork.stop()
        parts.plane.close()
        log.info("stopped", counters=dict(counters.snapshot()))
    return code


class EdgeService:
    """Obeys the supervisor: workers, opening, new settings, draining."""

    def __init__(
        self,
        boot: EdgeBoot,
        edge: Edge,
        host: WorkerHost,
        rules: RuleBook,
        rescuer: Rescuer,
        reporter: Reporter,
    ) -> None:
        self._boot, self._edge, self._host = boot, edge, host
        self._rules, self._rescuer, self._reporter = rules, rescuer, reporter
        self._log = get_logger("edge")
        self._open, self._stop = asyncio.Event(), asyncio.Event()
        self._adopting: asyncio.Task[None] | None = None
        self._deadline_s = 0.0
        self._hurry = asyncio.Event()  # told to stop once more
        self._loop = asyncio.get_running_loop()
        self._above: Channel[msg.ToEdgeFromAbove] = Channel(
            adopt_socket(boot.control), msg.ToEdgeFromAbove, self._obey, self._orphaned
        )

    async def run(
        self,
        door: Doorkeeper,
        tls: SwitchableTls,
        clockwork: Clockwork,
        watch: LoadWatch,
        clock: Clock,
    ) -> int:
        """Open when told to, serve, drain when told to."""
        await self._open.wait()
        await self._host.wait_staffed()
        bound = [adopt_socket(descriptor) for _, descriptor in self._boot.listeners]
        listen = [
            Listen(kind, *address_of(one.getsockname()))
            for (kind, _), one in zip(self._boot.listeners, bound, strict=True)
        ]
        try:
            stack = await open_signalling(
                self._boot.config, self._edge, clock, door, tls, listen, bound
            )
        except TransportError as error:
            self._above.send(msg.Failed(str(error)))
            return _EXIT_FAILED
        try:
            settle_collector()
            clockwork.start()
            watch.start()
            self._above.send(msg.Opened(tuple(str(listener) for listener in stack.listeners)))
            self._beat()
            if self._boot.config.http.listen is not None:
                self._report()
            await self._stop.wait()
            await self._drain()
        finally:
            watch.stop()
            await stack.close()
        return 0

    async def _drain(self) -> None:
        self._log.info("draining", calls=self._host.calls, deadline_s=self._deadline_s)
        draining = self._loop.create_task(self._edge.drain(self._deadline_s))
        hurry = self._loop.create_task(self._hurry.wait())
        await asyncio.wait({draining, hurry}, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if not draining.done():
            draining.cancel()
            await asyncio.wait({draining})
            await self._edge.drain(0.0)
        else:
            await draining

    def _beat(self) -> None:
        self._loop.call_later(BEAT_S, self._beat)
        self._above.send(msg.Beat(self._host.calls))

    def _report(self) -> None:
        """Tell what the supervisor shows on its metrics page, so that no scrape comes here."""
        self._loop.call_later(REPORT_S, self._report)
        self._above.send(msg.Report(self._reporter.fresh()))

    def _obey(self, message: msg.ToEdgeFromAbove, descriptors: Sequence[int]) -> None:
        match message:
            case msg.Attach():
                end, eventfd, pidfd = descriptors
                self._host.attach(message.worker, adopt_socket(end), eventfd, pidfd)
            case msg.Detach():
                self._host.detach(message.worker)
            case msg.Elsewhere():
                self._edge.capacity.elsewhere = message.trunks
            case msg.Open():
                self._open.set()
            case msg.Settings():
                config = take_from_memory(descriptors[0], Config)
                self._adopting = self._loop.create_task(self._adopt(config))
            case msg.Drain():
                if self._stop.is_set():
                    self._hurry.set()
                self._deadline_s = message.deadline_s
                self._open.set()
                self._stop.set()

    async def _adopt(self, config: Config) -> None:
        try:
            await self._rules.adopt(config)
        except TransportError as error:
            self._above.send(msg.Adopted(str(error)))
            return
        self._rescuer.transfer_to = config.call.lost_transfer
        self._host.max_cpu_percent = config.limits.max_cpu_percent
        self._above.send(msg.Adopted())

    def _orphaned(self, rule: str) -> None:
        """The supervisor is gone, and so are we in a moment: at least say goodbye."""
        self._log.error("supervisor lost", rule=rule)
        self._deadline_s = 0.0
        self._open.set()
        self._stop.set()
