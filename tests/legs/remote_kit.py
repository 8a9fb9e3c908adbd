"""Both halves of the link between an edge and a worker, in one process.

The edge's side is real: a SIP leg on a media plane behind ``WorkerHost``, joined to the worker's
half by a socket pair and one pair of rings. Only the second process is a stand-in, for its death.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator

import numpy as np
from numpy.typing import NDArray

from sipbot.legs.remote import RemoteLeg
from sipbot.legs.stream_audio import SlotWaiters
from sipbot.ops.counters import Counters
from sipbot.ops.logs import get_logger
from sipbot.runtime.host import Placement
from sipbot.runtime.link import messages as msg
from sipbot.runtime.link.channel import Channel, channel_pair
from sipbot.runtime.link.wakeup import EdgeWakeups
from sipbot.runtime.rescue import Rescuer
from sipbot.runtime.worker_host import WorkerHost
from sipbot.runtime.worker_link import WorkerLink
from tests.legs.sip_kit import SLOTS, Pair, pair
from tests.legs.test_sip_leg import SipHarness


class Routed(SlotWaiters):
    """Wakes the way an edge does: by the owner of each slot."""

    def __init__(self) -> None:
        super().__init__(SLOTS)
        here = SlotWaiters(SLOTS)
        here._audio = self._audio
        self.wakeups = EdgeWakeups(SLOTS, here)

    def wake(self, slots: NDArray[np.intp]) -> None:
        self.wakeups.wake(slots)


class WorkerHalf:
    """What a worker's process would hold, and a process that can die in its place."""

    def __init__(self, both: Pair, host: WorkerHost, number: int) -> None:
        self.legs: list[RemoteLeg] = []
        self.placements: list[Placement] = []
        ours, theirs = channel_pair()
        eventfd = os.eventfd(0, os.EFD_NONBLOCK)
        self.channel: Channel[msg.ToWorker] = Channel(
            theirs,
            msg.ToWorker,
            lambda message, _: self.link.on_message(message),
            lambda rule: self.link.lost(),
        )
        self.link = WorkerLink(both.plane, os.dup(eventfd), self.channel, self._on_call)
        self._pid = os.posix_spawn("/bin/sleep", ["sleep", "60"], {})
        host.attach(number, ours, eventfd, os.pidfd_open(self._pid))
        self.channel.send(msg.Hello(np.full(800, 9_000, np.int16).tobytes()))

    def die(self) -> None:
        """As far as the edge can tell, the worker is dead."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0

    def ended_by_signal(self) -> bool:
        """Wait for the stand-in to be killed by somebody else; takes its place in no time."""
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        return os.WIFSIGNALED(status)

    def close(self) -> None:
        self.channel.close()
        self.link.close()
        self.die()

    def _on_call(self, leg: RemoteLeg, placement: Placement) -> None:
        self.legs.append(leg)
        self.placements.append(placement)


class Bridge:
    """A host with workers, and a caller. ``call`` places a call and offers it."""

    def __init__(self, both: Pair, tasks: asyncio.TaskGroup, workers: int = 1) -> None:
        self.both = both
        both.waiters = routed = Routed()
        self.counters, log = Counters(), get_logger("test")
        self.rescuer = Rescuer(log, None)
        self.host = WorkerHost(both.plane, routed.wakeups, self.rescuer, self.counters, log, tasks)
        self.workers = [WorkerHalf(both, self.host, number) for number in range(1, workers + 1)]

    @property
    def worker(self) -> WorkerHalf:
        return self.workers[0]

    async def call(self) -> RemoteHarness:
        """A new call that a worker has been offered."""
        sip = SipHarness(self.both, await self.both.call())
        self.host.take(sip.leg, Placement("c1", "echo", "routes[0]"))
        await self.both.advance(20)
        return RemoteHarness(sip, next(leg for half in self.workers for leg in half.legs[-1:]))

    def close(self) -> None:
        for worker in self.workers:
            worker.close()
        self.host.close()


class RemoteHarness(SipHarness):
    """A SIP harness whose leg is seen through the link; ``near`` is the edge's own."""

    def __init__(self, sip: SipHarness, remote: RemoteLeg) -> None:
        super().__init__(sip.both, sip.leg)
        self.near, self.leg = sip.leg, remote  # type: ignore[assignment]  # the same port


@contextlib.asynccontextmanager
async def bridge_of(workers: int) -> AsyncIterator[Bridge]:
    with pair() as both:
        async with asyncio.TaskGroup() as tasks:
            made = Bridge(both, tasks, workers)
            await both.advance(20)
            try:
                yield made
            finally:
                made.close()
