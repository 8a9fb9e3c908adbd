"""``sipbot run``: takes calls until it is told to stop, in one process or in several."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipbot.clock import Clock, SystemClock
from sipbot.errors import ConfigError, SipbotError
from sipbot.media.clockwork import Clockwork
from sipbot.ops.config import Config
from sipbot.ops.counters import Counters
from sipbot.ops.load import load
from sipbot.ops.logs import Logger, get_logger
from sipbot.runtime.assembly import edge_parts
from sipbot.runtime.dialer_parts import make_dialer
from sipbot.runtime.doorkeeper import Doorkeeper
from sipbot.runtime.edge import Edge
from sipbot.runtime.faults import fault_logger
from sipbot.runtime.host import LocalHost
from sipbot.runtime.limits import look_at_limits
from sipbot.runtime.load_watch import LoadWatch
from sipbot.runtime.loop import run_on_fast_loop, settle_collector
from sipbot.runtime.rules import RuleBook, needs_restart
from sipbot.runtime.signalling import open_signalling
from sipbot.runtime.sole_web import SoleWeb
from sipbot.runtime.supervisor import Supervisor
from sipbot.runtime.tls_switch import switchable
from sipbot.runtime.web import http_socket, http_urls
from sipbot.runtime.worker_count import worker_count

if TYPE_CHECKING:
    from sipbot.runtime.records import Books


def serve(config: Config, base: Path | None = None, path: Path | None = None) -> int:
    """Take calls until SIGTERM or SIGINT; returns the exit code.

    ``base`` is the directory of the configuration file, ``path`` the file itself, which is read
    again on SIGHUP. Raises SipbotError when it cannot start.
    """
    workers = worker_count(config.workers)
    if workers:
        return run_on_fast_loop(_supervise(config, base, path, workers))
    return run_on_fast_loop(_serve(config, base, path, SystemClock()))


async def _supervise(config: Config, base: Path | None, path: Path | None, workers: int) -> int:
    return await Supervisor(config, base, path, SystemClock(), workers).run()


async def _serve(config: Config, base: Path | None, path: Path | None, clock: Clock) -> int:
    from sipbot.runtime.records import open_books  # takes a while to import

    listening = http_socket(config)
    try:
        async with open_books(config, clock, Counters()) as books:
            return await _take_calls(config, base, path, clock, listening, books)
    finally:
        if listening is not None:
            listening.close()


async def _take_calls(
    config: Config,
    base: Path | None,
    path: Path | None,
    clock: Clock,
    listening: socket.socket | None,
    books: Books,
) -> int:
    """Everything in this process; ``listening`` is the socket of HTTP."""
    from sipbot.runtime.kept import kept_host_parts
    from sipbot.runtime.outbound_parts import dialling_out

    log, counters = get_logger("edge"), books.counters
    look_at_limits(config, log)
    parts = edge_parts(config, clock, counters)
    agents = kept_host_parts(config, base, clock, books)
    stop = _stop_signal()
    loop, plane = asyncio.get_running_loop(), parts.plane
    clockwork = Clockwork(plane, loop, parts.waiters.wake, fault_logger(log, counters))
    try:
        async with asyncio.TaskGroup() as tasks:
            host = LocalHost(agents, tasks)
            edge = Edge(parts, host)
            watch = LoadWatch(edge, plane, parts.overload, counters, log)
            door = Doorkeeper(parts.admission, counters, log)
            tls = switchable(config.sip, clock, get_logger("tls"))
            stack = await open_signalling(config, edge, clock, door, tls)
            rules = RuleBook(edge, door, parts.capacity, tls, clock)
            rules.dialer = dialer = make_dialer(config, edge, parts, tasks)
            web = SoleWeb(config, parts, edge, host, clock, door, tasks, books)
            reload = _reloader(config, path, rules, host, web, clock, books)
            loop.add_signal_handler(signal.SIGHUP, lambda: tasks.create_task(reload()))
            try:
                async with (
                    dialling_out(config, books, dialer, host, clock) as rules.outbound,
                    web.serve(listening),
                ):
                    settle_collector()
                    clockwork.start()
                    watch.start()
                    urls = http_urls(config, listening)
                    _say_ready((*map(str, stack.listeners), *urls), log)
                    await stop.wait()
                    web.desk.stopping = True
                    rules.outbound.stop()
                    deadline_s = config.call.drain_s
                    log.info("draining", calls=host.calls, deadline_s=deadline_s)
                    await edge.drain(deadline_s)
            finally:
                watch.stop()
                await stack.close()
    finally:
        clockwork.stop()
        plane.close()
        log.info("stopped", counters=dict(counters.snapshot()))
    return 0


def _reloader(
    config: Config,
    path: Path | None,
    rules: RuleBook,
    host: LocalHost,
    web: SoleWeb,
    clock: Clock,
    books: Books,
) -> Callable[[], Coroutine[Any, Any, None]]:
    """Reads the configuration again for new calls, or refuses it as a whole."""
    log, one_at_a_time = get_logger("config"), asyncio.Lock()

    async def reload() -> None:
        async with one_at_a_time:
            await adopt()

    async def adopt() -> None:
        from sipbot.runtime.kept import kept_host_parts

        try:
            loaded = await asyncio.to_thread(load, path, os.environ)
            agents = kept_host_parts(loaded.config, loaded.base, clock, books)
            adopt_web = web.prepare(loaded.config)
            await rules.adopt(loaded.config)
        except ConfigError as error:
            log.error("reload refused", problems=[str(one) for one in error.problems])
        except (SipbotError, ImportError) as error:
            log.error("reload refused", problems=[str(error)])
        else:
            host.adopt(agents)
            adopt_web()
            later = list(needs_restart(config, loaded.config))
            if later:
                log.warning("settings wait for a restart", settings=later)
            log.info("reloaded", file=str(loaded.path))

    return reload


def _stop_signal() -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT. A second one ends the process the hard way."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        stop.set()
        loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    return stop


def _say_ready(listeners: Sequence[str], log: Logger) -> None:
    """The one line that scripts wait for."""
    sys.stdout.write(f"ready {' '.join(listeners)}\n")
    sys.stdout.flush()
    log.info("ready", listeners=list(listeners))
