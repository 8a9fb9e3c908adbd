"""The supervisor: owns the listening sockets, and starts, watches and restarts all the others.

It takes no calls and runs no agents, so that nothing can disturb it. SIGTERM drains, a second one
ends everything at once; SIGHUP reloads the configuration.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Coroutine, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Final

from sipbot.clock import Clock
from sipbot.errors import ConfigError, SipbotError
from sipbot.ops.config import Config
from sipbot.ops.load import load
from sipbot.ops.logs import Logger, get_logger
from sipbot.runtime.backoff import Backoff
from sipbot.runtime.fleet import Fleet
from sipbot.runtime.limits import look_at_limits
from sipbot.runtime.rules import needs_restart
from sipbot.runtime.tls_files import tls_contexts
from sipbot.runtime.web import FleetView, Front, http_socket, http_urls, standing_in
from sipbot.runtime.worker_count import worker_count
from sipbot.sip.effects import Transport
from sipbot.transport.local import bound_socket

SHARE_S: Final = 1.0  # seconds between two times that all are told what the others have
DRAIN_SPARE_S: Final = 10.0  # seconds beyond the deadline for goodbyes; then the edge is killed

_EXIT_KILLED: Final = 1


class Supervisor:
    """``path`` is the configuration file, to be read again for a reload; ``base`` its directory."""

    def __init__(
        self, config: Config, base: Path | None, path: Path | None, clock: Clock, workers: int
    ) -> None:
        self._config, self._base, self._path = config, base, path
        self._clock, self._workers = clock, workers
        self._log: Logger = get_logger("supervisor")
        self._numbers = count(1)
        self._sockets: list[tuple[Transport, socket.socket]] = []
        self._stop, self._at_once = asyncio.Event(), asyncio.Event()
        self._reload = asyncio.Event()
        self._http: socket.socket | None = None
        self._front = Front()
        self._fleet_now: Fleet | None = None
        self._fading: dict[asyncio.Task[None], Fleet] = {}  # they have lost their edge
        self._sharing: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    async def run(self) -> int:
        """Take calls until told to stop; returns the exit code. Raises SipbotError at the start."""
        look_at_limits(self._config, self._log)
        self._listen_to_signals()
        try:
            for wanted in self._config.sip.listen:
                self._sockets.append((wanted.transport, await bound_socket(wanted)))
            self._http = http_socket(self._config)
            fleet = await self._begin()
            self._say_ready((*fleet.listeners, *http_urls(self._config, self._http)))
            return await self._serve(fleet)
        finally:
            if self._sharing is not None:
                self._sharing.cancel()
            for one in (*(one for _, one in self._sockets), self._http):
                if one is not None:
                    one.close()
            self._log.info("stopped")

    async def _begin(self) -> Fleet:
        fleet = self._fleet()
        try:
            await fleet.start(self._workers)
        except BaseException:
            await fleet.close()
            raise
        self._show(fleet)
        if self._http is not None:
            self._share()
        return fleet

    def _show(self, fleet: Fleet) -> None:
        self._fleet_now, self._front.behind = fleet, FleetView(fleet, self._clock)

    def _share(self) -> None:
        """Workers show the pages, and all keep the limits together."""
        if self._sharing is not None:
            self._sharing.cancel()
        self._sharing = self._loop.call_later(SHARE_S, self._share)
        if self._fleet_now is not None:
            self._fleet_now.share(self._front)

    async def _serve(self, fleet: Fleet) -> int:
        backoff, began = Backoff(), self._clock.monotonic()
        while True:
            await self._first_of(self._stop, self._reload, fleet.edge.gone)
            if self._stop.is_set():
                return await self._drain(fleet)
            if fleet.edge.gone.is_set():
                wait_s = backoff.after(self._clock.monotonic() - began)
                fleet = await self._restart(fleet, wait_s)
                began = self._clock.monotonic()
            elif self._reload.is_set():
                self._reload.clear()
                await self._unless_stopped(self._adopt(fleet))

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it, but give it up when we are told to stop."""
        task, stop = self._loop.create_task(work), self._loop.create_task(self._stop.wait())
        both: set[asyncio.Task[Any]] = {task, stop}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
        else:
            await task

    def _fleet(self) -> Fleet:
        number = lambda: next(self._numbers)  # noqa: E731
        http = -1 if self._http is None else self._http.fileno()
        return Fleet(self._config, self._base, self._sockets, number, self._clock, self._log, http)

    # --- a dead edge ----------------------------------------------------------------------------

    async def _restart(self, fleet: Fleet, wait_s: float) -> Fleet:
        """The edge is dead and every call with it: a new one takes the listeners over.

        Streams go on in the workers that have them.
        """
        self._log.error(
            "edge ended", code=fleet.edge.code, calls_lost=fleet.calls, again_in_s=wait_s
        )
        fading = self._loop.create_task(fleet.fade())
        self._fading[fading] = fleet
        fading.add_done_callback(self._fading.pop)
        async with standing_in(self._config, self._http, self._front, self._clock):
            return await self._replaced(fleet, wait_s)

    async def _replaced(self, fleet: Fleet, wait_s: float) -> Fleet:
        """A fleet in the place of ``fleet``, or that one when we are told to stop before."""
        backoff = Backoff()
        while not self._stop.is_set():
            await self._pause(wait_s)
            fresh = self._fleet()
            try:
                await fresh.start(self._workers)
            except SipbotError as error:
                await fresh.close()
                wait_s = backoff.after(0.0)
                self._log.error("edge not started", error=str(error), again_in_s=wait_s)
                continue
            self._show(fresh)
            self._log.info("edge restarted", listeners=list(fresh.listeners))
            return fresh
        return fleet

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return

    # --- reload ---------------------------------------------------------------------------------

    async def _adopt(self, fleet: Fleet) -> None:
        """Read the configuration again and use it for new calls, or refuse it as a whole."""
        try:
            loaded = load(self._path, os.environ)
            tls_contexts(loaded.config.sip, self._clock, self._log)
            workers = worker_count(loaded.config.workers) or self._workers
            await fleet.adopt(loaded.config, workers)
        except ConfigError as error:
            problems = [str(problem) for problem in error.problems]
            self._log.error("reload refused", problems=problems)
            return
        except SipbotError as error:
            self._log.error("reload refused", problems=[str(error)])
            return
        later = list(needs_restart(self._config, loaded.config))
        if loaded.config.limits.max_calls > fleet.slots:
            later.append("limits.max_calls")
        self._config, self._workers = loaded.config, workers
        if later:
            self._log.warning("settings wait for a restart", settings=later)
        self._log.info("reloaded", file=str(loaded.path), workers=workers)

    # --- the end --------------------------------------------------------------------------------

    async def _drain(self, fleet: Fleet) -> int:
        self._front.stopping = True
        deadline_s = self._config.call.drain_s
        self._log.info("draining", calls=fleet.calls, deadline_s=deadline_s)
        leaving = [fleet, *self._fading.values()]
        for one in leaving:
            one.drain(deadline_s)
        if self._http is not None:
            self._share()
        over = self._loop.create_task(_all_over(leaving))
        hurry = self._loop.create_task(self._at_once.wait())
        both: set[asyncio.Task[Any]] = {over, hurry}
        await asyncio.wait(both, timeout=deadline_s + DRAIN_SPARE_S, return_when="FIRST_COMPLETED")
        hurry.cancel()
        if not over.done():
            for one in leaving:
                one.drain(0.0)
            await asyncio.wait({over}, timeout=DRAIN_SPARE_S)
        over.cancel()
        code = fleet.edge.code
        for one in leaving:
            await one.close()
        return _EXIT_KILLED if code is None or code < 0 else code

    # --- inside ---------------------------------------------------------------------------------

    def _listen_to_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._on_stop)
        self._loop.add_signal_handler(signal.SIGHUP, self._reload.set)

    def _on_stop(self) -> None:
        """First: drain. Second: at once. A third one ends us the hard way, and so all of us."""
        if self._stop.is_set():
            self._at_once.set()
            for number in (signal.SIGTERM, signal.SIGINT):
                self._loop.remove_signal_handler(number)
        self._stop.set()

    def _say_ready(self, listeners: tuple[str, ...]) -> None:
        """The one line that scripts wait for."""
        sys.stdout.write(f"ready {' '.join(listeners)}\n")
        sys.stdout.flush()
        self._log.info("ready", listeners=list(listeners), workers=self._workers)

    async def _first_of(self, *events: asyncio.Event) -> None:
        waiting = [asyncio.ensure_future(event.wait()) for event in events]
        try:
            await asyncio.wait(waiting, return_when="FIRST_COMPLETED")
        finally:
            for one in waiting:
                one.cancel()


async def _all_over(fleets: Sequence[Fleet]) -> None:
    for fleet in fleets:
        await fleet.over.wait()
