"""An edge and its workers: what lives and dies together."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from sipbot.clock import Clock
from sipbot.errors import SipbotError, TransportError
from sipbot.ops.config import Config
from sipbot.ops.logs import Logger
from sipbot.ops.status import ProcessStatus, Status
from sipbot.runtime.child import Child, EdgeBoot, put_into_memory
from sipbot.runtime.keeper import WATCH_S, Keeper, Watch
from sipbot.runtime.link import messages as msg
from sipbot.runtime.link.shared import make_memory
from sipbot.runtime.merging import StreamBook, whole
from sipbot.runtime.worker_process import Orders, WorkerProcess
from sipbot.sip.effects import Transport

if TYPE_CHECKING:
    from sipbot.http.source import Source

OPEN_S: Final = 30.0  # seconds for the edge to open its listeners
ADOPT_S: Final = 10.0  # seconds for the edge to take new settings over
LEFT_BEHIND_S: Final = 3.0  # seconds of silence after which an ending fleet gives a worker up
STOP_S: Final = 5.0  # seconds for the edge to go when it is told to at once
MAX_GOING: Final = 64  # workers that may be finishing their calls at a time
SPARE_SLOTS: Final = 64  # rings beyond the calls: for slots that a busy worker has yet to leave


class FleetFailed(SipbotError):
    """The edge could not begin."""


class Fleet:
    """One edge process, one memory for audio, and as many workers as wanted.

    ``sockets`` are the bound listeners, ``http`` the descriptor of the workers' one; they stay open
    here, so that new processes can have them.
    """

    def __init__(
        self,
        config: Config,
        base: Path | None,
        sockets: Sequence[tuple[Transport, socket.socket]],
        number: Callable[[], int],
        clock: Clock,
        log: Logger,
        http: int = -1,
    ) -> None:
        self._number, self._clock, self._log = number, clock, log
        self.slots = config.limits.max_calls + max(SPARE_SLOTS, config.limits.max_calls // 4)
        self._memory = make_memory(self.slots)
        self._book = StreamBook()
        self._orders = Orders(config, base, self.slots, self._memory, http, self._book.note)
        self._keepers: list[Keeper] = []
        self._keeping: set[asyncio.Task[None]] = set()
        self._going: dict[asyncio.Task[None], WorkerProcess] = {}
        self._answer: asyncio.Future[msg.ToSupervisor] = asyncio.Future()
        self.listeners: tuple[str, ...] = ()
        self.calls = 0  # as the edge said last
        self.status: Status | None = None  # the same
        self._ending: asyncio.Task[None] | None = None
        self.over = asyncio.Event()  # every process is gone, after ``drain``
        self.heard_at = clock.monotonic()  # when the edge said anything last
        descriptors = [one.fileno() for _, one in sockets]
        self.edge = Child(
            "sipbot.runtime.edge_main",
            lambda control: EdgeBoot(
                config=config,
                slots=self.slots,
                memory=self._memory,
                listeners=tuple((kind, one.fileno()) for kind, one in sockets),
                control=control,
            ),
            [self._memory, *descriptors],
            self._on_edge_message,
        )

    # --- life -----------------------------------------------------------------------------------

    async def start(self, workers: int) -> None:
        """Start the workers and open. Raises SipbotError with the reason when that cannot be."""
        self._keepers = await self._recruit(self._orders, workers)
        self._commit()
        self.edge.channel.send(msg.Open())
        answer = await self._ask_edge(OPEN_S)
        if isinstance(answer, msg.Opened):
            self.listeners = answer.listeners
        elif isinstance(answer, msg.Failed):
            raise TransportError(answer.text)
        else:
            raise FleetFailed("the edge process did not begin")

    async def adopt(self, config: Config, workers: int) -> None:
        """New settings for new calls. Raises SipbotError; then everything is as before.

        Old workers finish the calls that they have.
        """
        if len(self._going) >= MAX_GOING:
            raise FleetFailed("too many workers are still finishing their calls")
        orders = replace(self._orders, config=config)
        recruits = await self._recruit(orders, workers)
        try:
            self._answer = asyncio.Future()
            self.edge.channel.send(msg.Settings(), [put_into_memory(config)])
            answer = await self._ask_edge(ADOPT_S)
            if not isinstance(answer, msg.Adopted) or answer.refusal:
                reason = answer.refusal if isinstance(answer, msg.Adopted) else "no answer"
                raise FleetFailed(f"the edge refuses the settings: {reason}")
        except BaseException:
            await _dismiss(recruits)
            raise
        veterans, self._keepers, self._orders = self._keepers, recruits, orders
        keeping = self._keeping
        self._keeping = set()
        self._commit()
        await _cancel(keeping)
        for keeper in veterans:
            if keeper.worker is not None:
                keeper.say_goodbye(keeper.worker)

    def drain(self, deadline_s: float) -> None:
        """Take no more calls; ``over`` is set when the last is over or time is up.

        From now on no worker is replaced.
        """
        for task in self._keeping:
            task.cancel()
        self.edge.channel.send(msg.Drain(deadline_s))
        for worker in self._workers():
            worker.child.channel.send(msg.Drain(deadline_s))
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._wait_over())

    async def _wait_over(self) -> None:
        await self.edge.gone.wait()
        for worker in self._workers():
            await self._wait_gone(worker)
        self.over.set()

    async def _wait_gone(self, worker: WorkerProcess) -> None:
        """Streams may go on; but one that shows no sign of life will not end them either."""
        while not await worker.child.wait_gone(WATCH_S):
            worker.silent_s += WATCH_S
            if worker.silent_s > LEFT_BEHIND_S:
                self._log.error("worker hangs", worker=worker.number, silent_s=worker.silent_s)
                worker.child.kill()

    async def fade(self) -> None:
        """The edge is dead: wait until the workers have finished the streams that they have."""
        await _cancel(self._keeping)
        self._keeping = set()
        watch = Watch(self._log)
        await asyncio.gather(*(watch.until_gone(worker) for worker in self._workers()))
        await self.close()

    async def close(self) -> None:
        """End every process that is left."""
        await _cancel(self._keeping | ({self._ending} if self._ending else set()))
        await self.edge.stop(STOP_S)
        await asyncio.gather(*(worker.stop() for worker in self._workers()))
        await _cancel(set(self._going))
        with contextlib.suppress(OSError):
            os.close(self._memory)
            self._memory = -1

    def processes(self) -> tuple[ProcessStatus, ...]:
        """Edge and workers, as far as they live."""
        workers = ((f"worker-{one.number}", one.child) for one in self._workers())
        named = [("edge", self.edge), *workers]
        sizes = ((name, child.resident_bytes()) for name, child in named)
        return tuple(ProcessStatus(name, size) for name, size in sizes if size)

    def whole_status(self) -> Status | None:
        """What edge and workers said last, as one; None before the edge said anything."""
        return None if self.status is None else whole(self.status, self._book.all())

    def share(self, view: Source) -> None:
        """Tell each process what the others have, and the workers how all fare."""
        workers = self._workers()
        self._book.keep_only(one.number for one in workers if not one.child.gone.is_set())
        self.edge.channel.send(msg.Elsewhere(dict(self._book.trunks())))
        calls = {} if self.status is None else self.status.trunks
        fare = msg.Fare(view.reasons(), view.status(), tuple(view.processes()), {})
        for worker in workers:
            elsewhere = Counter(calls)
            elsewhere.update(self._book.trunks(but=worker.number))
            worker.child.channel.send(msgspec.structs.replace(fare, elsewhere=dict(elsewhere)))

    # --- inside ---------------------------------------------------------------------------------

    def _workers(self) -> list[WorkerProcess]:
        """Those at work and those that finish their calls."""
        working = [keeper.worker for keeper in self._keepers if keeper.worker is not None]
        return [*working, *self._going.values()]

    async def _recruit(self, orders: Orders, workers: int) -> list[Keeper]:
        """Start so many workers at the same time; all or none. Raises SipbotError."""
        keepers = [
            Keeper(orders, self.edge, self._number, self._clock, self._log, self._see_off)
            for _ in range(workers)
        ]
        beginning = [asyncio.ensure_future(keeper.begin()) for keeper in keepers]
        try:
            await asyncio.gather(*beginning)
        except BaseException:
            await _cancel(set(beginning))
            await _dismiss(keepers)
            raise
        return keepers

    def _commit(self) -> None:
        for keeper in self._keepers:
            task = asyncio.get_running_loop().create_task(keeper.keep())
            self._keeping.add(task)

    def _see_off(self, worker: WorkerProcess) -> None:
        task = asyncio.get_running_loop().create_task(self._last_watch(worker))
        self._going[task] = worker
        task.add_done_callback(self._going.pop)

    async def _last_watch(self, worker: WorkerProcess) -> None:
        await Watch(self._log).until_gone(worker)
        self._log.info("worker retired", worker=worker.number, code=worker.child.code)
        await worker.stop()

    async def _ask_edge(self, seconds: float) -> msg.ToSupervisor | None:
        gone = asyncio.ensure_future(self.edge.gone.wait())
        news: set[asyncio.Future[Any]] = {self._answer, gone}
        await asyncio.wait(news, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        return self._answer.result() if self._answer.done() else None

    def _on_edge_message(self, message: msg.ToSupervisor) -> None:
        self.heard_at = self._clock.monotonic()
        if isinstance(message, msg.Beat):
            self.calls = message.calls
        elif isinstance(message, msg.Report):
            self.status = message.status
        elif not self._answer.done():
            self._answer.set_result(message)


async def _dismiss(keepers: Sequence[Keeper]) -> None:
    workers = [keeper.worker for keeper in keepers if keeper.worker is not None]
    await asyncio.gather(*(worker.stop() for worker in workers))


async def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
