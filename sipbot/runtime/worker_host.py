"""``WorkerHost``: the edge's side of the workers. Calls go to the least loaded healthy one.

Three states of a worker are told apart. *Silent*: no sign of life for a second, because its agents
block it; it keeps its calls and gets no new ones. *Closing*: it goes once its calls are over.
*Dead*: its process is gone; calls that were answered are rescued from here, the others are offered
to another worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, Protocol

import numpy as np

from sipbot.call.leg import EndReason, LegDtmf, LegEnded, LegEvent, LegHeld, LegResumed
from sipbot.legs.sip import LegState, SipLeg
from sipbot.ops.counters import Counters
from sipbot.ops.logs import Logger
from sipbot.ops.overload import CPU, CpuLoad
from sipbot.ops.status import WorkerStatus
from sipbot.outbound.outcome import Outcome
from sipbot.runtime.host import Placement
from sipbot.runtime.link import messages as msg
from sipbot.runtime.link.channel import Channel
from sipbot.runtime.link.wakeup import EdgeWakeups
from sipbot.runtime.orphans import Orphans
from sipbot.runtime.remote_commands import perform
from sipbot.runtime.rescue import Rescuer

BEAT_S: Final = 0.25  # seconds between a worker's signs of life
SILENT_BEATS: Final = 4  # beats missed after which a worker gets no new calls
MAX_OFFERS: Final = 2  # workers that one call may be offered to
MAX_RUNNING: Final = 16  # commands of one call that may be under way
LOST_STATUS: Final = 503  # for a call that no worker could take


class KeepsSlots(Protocol):
    """The media plane, as far as slots in foreign hands concern it."""

    def keep(self, slot: int) -> None: ...

    def let_go(self, slot: int) -> None: ...


@dataclass(slots=True, eq=False)
class RemoteCall:
    """One call of ours whose agent is elsewhere."""

    number: int
    leg: SipLeg
    placement: Placement
    slot: int
    worker: WorkerEnd | None = None
    offers: int = 0
    running: int = 0  # commands under way
    lost: bool = False  # its worker died
    released: bool = False  # the worker leaves the rings alone
    finished: bool = False  # the agent is done


@dataclass(slots=True, eq=False)
class WorkerEnd:
    """One worker, as the edge knows it."""

    number: int
    row: int  # in the wake-ups
    pidfd: int
    channel: Channel[msg.ToEdge] | None = None
    calls: dict[int, RemoteCall] = field(default_factory=dict)
    ready: bool = False
    closing: bool = False
    silent: int = 0  # beats missed
    load: CpuLoad = field(default_factory=CpuLoad)
    cpu_s: float = 0.0  # as it said last

    @property
    def healthy(self) -> bool:
        return self.ready and not self.closing and self.silent < SILENT_BEATS

    @property
    def state(self) -> str:
        if not self.ready:
            return "starting"
        if self.closing:
            return "closing"
        if not self.healthy:
            return "silent"
        return "busy" if self.load.busy else "healthy"

    def send(self, message: msg.ToWorker) -> None:
        if self.channel is not None:
            self.channel.send(message)


class WorkerHost:
    """Implements ``AgentHost`` over workers. ``tasks`` is the group for commands and rescues."""

    def __init__(
        self,
        slots: KeepsSlots,
        wakeups: EdgeWakeups,
        rescuer: Rescuer,
        counters: Counters,
        log: Logger,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._slots, self._wakeups, self._rescuer = slots, wakeups, rescuer
        self._counters, self._log, self._tasks = counters, log, tasks
        # What to do when a worker wants a call made; the edge sets it.
        self.on_dial: Callable[[WorkerEnd, msg.Dial | msg.DialStop], None] = _no_dialling
        self.max_cpu_percent: float | None = None  # of one worker; above it gets no new calls
        self._numbers = count(1)
        self._calls: dict[int, RemoteCall] = {}
        self._workers: dict[int, WorkerEnd] = {}
        self._loop = asyncio.get_running_loop()
        self._now = self._loop.time
        self._orphans = Orphans(self._now)
        self._empty, self._staffed = asyncio.Event(), asyncio.Event()
        self._empty.set()
        self._timer = self._loop.call_later(BEAT_S, self._count_beats)

    # --- workers come and go --------------------------------------------------------------------

    def attach(self, number: int, end: socket.socket, eventfd: int, pidfd: int) -> None:
        """A new worker: our end of its channel, its eventfd, its process. All are taken over."""
        worker = WorkerEnd(number, self._wakeups.add(eventfd), pidfd)
        self._workers[number] = worker
        self._loop.add_reader(pidfd, self._gone, worker, "process-ended")
        worker.channel = Channel(
            end,
            msg.ToEdge,
            lambda message, _: self._on_message(worker, message),
            lambda rule: self._cut_off(worker, rule),
        )

    def detach(self, number: int) -> None:
        """No more calls for this worker."""
        worker = self._workers.get(number)
        if worker is not None:
            worker.closing = True

    async def wait_staffed(self) -> None:
        """Wait until the first worker is ready."""
        await self._staffed.wait()

    def close(self) -> None:
        """Let go of all workers; they notice."""
        self._timer.cancel()
        for worker in tuple(self._workers.values()):
            self._forget(worker)

    def _count_beats(self) -> None:
        # Counted rather than timed: after a stall of our own nobody looks silent.
        self._timer = self._loop.call_later(BEAT_S, self._count_beats)
        for worker in self._workers.values():
            worker.silent += 1
            if worker.silent == SILENT_BEATS and worker.ready:
                self._counters.count("workers_silent")
                self._log.warning("worker silent", worker=worker.number, calls=len(worker.calls))

    def _cut_off(self, worker: WorkerEnd, rule: str) -> None:
        """The channel is closed. Only the death of the process makes its rings ours again."""
        if worker.calls:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(worker.pidfd, signal.SIGKILL)
            worker.closing = True
            if rule != "peer-gone":
                self._log.error("worker cut off", worker=worker.number, rule=rule)
        else:
            self._gone(worker, rule)

    def _gone(self, worker: WorkerEnd, rule: str) -> None:
        if self._workers.get(worker.number) is not worker:
            return
        calls = tuple(worker.calls.values())
        self._forget(worker)
        if calls:
            self._counters.count("workers_lost")
            self._log.error("worker lost", worker=worker.number, calls=len(calls), rule=rule)
        for call in calls:
            call.worker, call.lost = None, True
            self._save(call)

    def _forget(self, worker: WorkerEnd) -> None:
        del self._workers[worker.number]
        self._loop.remove_reader(worker.pidfd)
        os.close(worker.pidfd)
        if worker.channel is not None:
            worker.channel.close()
        self._wakeups.remove(worker.row)

    def _save(self, call: RemoteCall) -> None:
        """Its worker is dead: what can be done for this call?"""
        leg = call.leg
        if leg.ended:
            if not call.finished and leg.end_reason is not None:
                self._write_record(call, leg.end_reason)
            self._settle(call)
        elif leg.state is LegState.ANSWERED:
            self._start(self._rescuer.rescue(leg, call.placement.call_id))
        elif not self._offer(call):
            self._start(leg.reject(LOST_STATUS))

    # --- the AgentHost port ---------------------------------------------------------------------

    @property
    def calls(self) -> int:
        return len(self._calls)

    def refusal(self) -> str | None:
        worker = self._choose()
        if worker is None:
            return "no-worker"
        return CPU if worker.load.busy else None

    def workers(self) -> tuple[WorkerStatus, ...]:
        return tuple(
            WorkerStatus(one.number, one.state, len(one.calls), one.cpu_s)
            for one in self._workers.values()
        )

    async def wait_empty(self) -> None:
        await self._empty.wait()

    async def end_all(self) -> None:
        for call in tuple(self._calls.values()):
            await call.leg.hangup(EndReason.SHUTDOWN)

    def take(self, leg: SipLeg, placement: Placement) -> None:
        call = RemoteCall(next(self._numbers), leg, placement, leg.audio.slot)
        self._calls[call.number] = call
        self._empty.clear()
        self._slots.keep(call.slot)
        leg.attach(lambda event: self._on_leg_event(call, event))
        if not self._offer(call):
            self._start(leg.reject(LOST_STATUS))

    def _choose(self) -> WorkerEnd | None:
        healthy = [worker for worker in self._workers.values() if worker.healthy]
        load = lambda worker: (worker.load.busy, len(worker.calls))  # noqa: E731
        return min(healthy, key=load, default=None)

    def _offer(self, call: RemoteCall) -> bool:
        worker = self._choose() if call.offers < MAX_OFFERS else None
        if worker is None:
            return False
        call.worker, call.lost = worker, False
        call.offers += 1
        worker.calls[call.number] = call
        self._wakeups.give(call.slot, worker.row)
        placement = call.placement
        worker.send(
            msg.Offer(
                call.number,
                call.slot,
                placement.call_id,
                placement.agent,
                placement.rule,
                call.leg.info,
            )
        )
        return True

    # --- what the leg tells ---------------------------------------------------------------------

    def _on_leg_event(self, call: RemoteCall, event: LegEvent) -> None:
        number, worker = call.number, call.worker
        if isinstance(event, LegEnded):
            self._ended(call, event)
        elif worker is None:
            return
        elif isinstance(event, LegDtmf):
            worker.send(msg.KeyPressed(number, event.digit, event.source))
        elif isinstance(event, LegHeld | LegResumed):
            worker.send(msg.HeldMessage(number, isinstance(event, LegHeld)))

    def _ended(self, call: RemoteCall, event: LegEnded) -> None:
        self._counters.count("calls_ended", reason=event.reason.value)
        if call.worker is None:
            self._write_record(call, event.reason)
        else:
            codec, stats = call.leg.info.codec, call.leg.stats()
            call.worker.send(msg.Over(call.number, event.reason, event.detail, codec, stats))
        self._settle(call)

    def _write_record(self, call: RemoteCall, reason: EndReason) -> None:
        """Of a call whose worker cannot do it: in the log here, in the store by another."""
        detail = "worker-lost" if call.lost else "no-worker"
        self._orphans.add(call.leg, call.placement, reason, detail)
        self._pass_orphans_on()
        self._log.info(
            "call ended",
            call_id=call.placement.call_id,
            reason=reason.value,
            detail=detail,
            agent=call.placement.agent,
            rule=call.placement.rule,
            **call.leg.facts(),
        )

    def _pass_orphans_on(self) -> None:
        worker = self._choose()
        if worker is not None:
            self._orphans.send(worker.send)

    # --- what the worker tells ------------------------------------------------------------------

    def _on_message(self, worker: WorkerEnd, message: msg.ToEdge) -> None:
        match message:
            case msg.Hello():
                worker.ready, worker.silent = True, 0
                if message.apology:
                    self._rescuer.apology = np.frombuffer(message.apology, dtype=np.int16)
                self._staffed.set()
                self._pass_orphans_on()
            case msg.Beat():
                worker.silent = 0
                self._weigh(worker, message.cpu_s)
            case msg.Closing():
                worker.closing = True
            case msg.Dial() | msg.DialStop():
                self.on_dial(worker, message)
            case _:
                call = worker.calls.get(message.call)
                if call is not None:
                    self._on_call_message(worker, call, message)

    def _weigh(self, worker: WorkerEnd, cpu_s: float) -> None:
        worker.cpu_s = cpu_s
        if not worker.load.sample(self._now(), cpu_s, self.max_cpu_percent):
            return
        number, calls = worker.number, len(worker.calls)
        if worker.load.busy:
            self._counters.count("workers_busy")
            percent = round(worker.load.percent)
            self._log.warning("worker busy", worker=number, calls=calls, cpu_percent=percent)
        else:
            self._log.info("worker has time again", worker=number, calls=calls)

    def _on_call_message(
        self,
        worker: WorkerEnd,
        call: RemoteCall,
        message: msg.Released | msg.Finished | msg.Command,
    ) -> None:
        match message:
            case msg.Released():
                call.released = True
                self._settle(call)
            case msg.Finished():
                call.finished = True
                self._settle(call)
            case _ if call.running < MAX_RUNNING:
                call.running += 1
                self._start(self._command(worker, call, message))
            case msg.Answer() | msg.Transfer() | msg.Press():
                worker.send(msg.Reply(call.number, message.request, "too-many-commands", False))
            case _:
                self._counters.count("dropped", rule="too-many-commands")

    async def _command(self, worker: WorkerEnd, call: RemoteCall, command: msg.Command) -> None:
        try:
            reply = await perform(call.leg, command)
        except Exception as error:  # the boundary behind which no call harms another
            self._counters.count("faults", where="command")
            self._log.error(
                "command failed", call_id=call.placement.call_id, error=type(error).__name__
            )
            return
        finally:
            call.running -= 1
        if reply is not None:
            worker.send(reply)

    # --- the end of a call ----------------------------------------------------------------------

    def _settle(self, call: RemoteCall) -> None:
        """Give back what a call that is over holds, as soon as nobody else uses it."""
        if not call.leg.ended:
            return
        worker = call.worker
        if worker is None or call.released:
            self._slots.let_go(call.slot)
        if worker is None or (call.released and call.finished):
            if worker is not None:
                worker.calls.pop(call.number, None)
            self._calls.pop(call.number, None)
            if not self._calls:
                self._empty.set()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.create_task(work)


def _no_dialling(worker: WorkerEnd, message: msg.Dial | msg.DialStop) -> None:
    if isinstance(message, msg.Dial):
        worker.send(msg.Dialled(message.request, Outcome.REFUSED, 0, "no-dialling", "", ""))
