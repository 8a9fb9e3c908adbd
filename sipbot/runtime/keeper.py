"""Keeps one worker at work: replaces it when it dies, hangs or grows too large."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from sipbot.clock import Clock
from sipbot.errors import SipbotError
from sipbot.ops.logs import Logger
from sipbot.runtime.backoff import Backoff
from sipbot.runtime.child import Child
from sipbot.runtime.link import messages as msg
from sipbot.runtime.worker_process import Orders, WorkerProcess

WATCH_S: Final = 0.5  # seconds between two looks at a worker
TOO_MUCH: Final = 1.5  # times the memory limit at which a worker is ended at once
_MB: Final = 1_000_000  # bytes


class Watch:
    """Looks after workers that live, those included that only finish their calls."""

    def __init__(self, log: Logger) -> None:
        self._log = log

    async def until_gone(self, worker: WorkerProcess) -> None:
        """Watch until its process has ended."""
        while not worker.child.gone.is_set():
            await self.look(worker)

    async def look(self, worker: WorkerProcess) -> bool:
        """Wait a moment, or until it ends; True when it has outgrown its memory."""
        if await worker.child.wait_gone(WATCH_S):
            return False
        limits = worker.orders.config.limits
        worker.silent_s += WATCH_S
        if worker.silent_s > limits.worker_hang_s:
            self._log.error("worker hangs", worker=worker.number, silent_s=worker.silent_s)
            worker.child.kill()
        if limits.worker_memory_mb is None:
            return False
        used_mb = worker.child.resident_bytes() / _MB
        if used_mb > TOO_MUCH * limits.worker_memory_mb:
            self._log.error("worker too large", worker=worker.number, mb=round(used_mb))
            worker.child.kill()
        return used_mb > limits.worker_memory_mb


class Keeper:
    """One place for a worker. ``number`` gives each new worker its number."""

    def __init__(
        self,
        orders: Orders,
        edge: Child,
        number: Callable[[], int],
        clock: Clock,
        log: Logger,
        see_off: Callable[[WorkerProcess], None],
    ) -> None:
        self._orders, self._edge, self._number = orders, edge, number
        self._clock, self._log, self._see_off = clock, log, see_off
        self._watch, self._backoff = Watch(log), Backoff()
        self.worker: WorkerProcess | None = None

    async def begin(self) -> None:
        """Start the first worker. Raises ConfigError or WorkerFailed when its agents cannot be."""
        self.worker = await self._start()

    async def keep(self) -> None:
        """Give workers to the edge, one after the other, until cancelled."""
        while True:
            worker = self.worker or await self._persist()
            self.worker = worker
            began = self._clock.monotonic()
            worker.connect(self._edge)
            grown = await self._until_it_matters(worker)
            self.worker = None
            if grown:
                self.say_goodbye(worker)
                continue
            code = worker.child.code
            tell = self._log.error if code else self._log.info  # 0: the edge went first
            tell("worker ended", worker=worker.number, code=code)
            await worker.stop()
            await asyncio.sleep(self._backoff.after(self._clock.monotonic() - began))

    def say_goodbye(self, worker: WorkerProcess) -> None:
        """Let a worker finish its calls, and watch it until it is gone."""
        self._edge.channel.send(msg.Detach(worker.number))
        worker.retire()
        self._see_off(worker)

    async def _until_it_matters(self, worker: WorkerProcess) -> bool:
        """True: it has grown too large. False: it is gone."""
        while not worker.child.gone.is_set():
            if await self._watch.look(worker):
                self._log.warning("worker outgrew its memory", worker=worker.number)
                return True
        return False

    async def _persist(self) -> WorkerProcess:
        """Start a worker, however often it takes."""
        while True:
            began = self._clock.monotonic()
            try:
                return await self._start()
            except SipbotError as error:
                wait_s = self._backoff.after(self._clock.monotonic() - began)
                self._log.error("worker not started", error=str(error), again_in_s=wait_s)
            await asyncio.sleep(wait_s)

    async def _start(self) -> WorkerProcess:
        worker = WorkerProcess(self._number(), self._orders)
        try:
            await worker.wait_loaded()
        except BaseException:
            await worker.stop()
            raise
        self._log.info("worker started", worker=worker.number, pid=worker.child.pid)
        return worker
