"""One worker process as the supervisor sees it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sipbot.errors import ConfigError, ConfigProblem, SipbotError
from sipbot.ops.config import Config
from sipbot.ops.status import StreamStatus
from sipbot.runtime.child import Child, WorkerBoot
from sipbot.runtime.link import messages as msg
from sipbot.runtime.link.channel import channel_pair

LOAD_S: Final = 120.0  # seconds that agents may take to be loaded: some load models
LAST_WORDS_S: Final = 5.0  # seconds to write the last records before a worker is killed


@dataclass(frozen=True, slots=True)
class Orders:
    """What workers of one configuration start from. ``memory`` holds the rings of ``slots``,
    ``http`` is the shared listener's descriptor, or -1. ``on_streams(number, status)`` hears what
    a worker says of its streams."""

    config: Config
    base: Path | None
    slots: int
    memory: int
    http: int = -1
    on_streams: Callable[[int, StreamStatus], None] = lambda number, status: None


class WorkerFailed(SipbotError):
    """A worker could not begin for a reason that is not in the configuration."""


class WorkerProcess:
    """A worker from its start on. ``connect`` gives it to an edge, at most once."""

    def __init__(self, number: int, orders: Orders) -> None:
        self.number, self.orders = number, orders
        self.silent_s = 0.0  # counted by whoever watches
        self._loaded: asyncio.Future[msg.ToSupervisor] = asyncio.Future()
        ours, theirs = channel_pair()
        self._eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._end: socket.socket | None = ours
        descriptors = [theirs.fileno(), self._eventfd, orders.memory]
        if orders.http >= 0:
            descriptors.append(orders.http)
        try:
            self.child = Child(
                "sipbot.runtime.worker_main",
                lambda control: WorkerBoot(
                    config=orders.config,
                    base=orders.base,
                    number=number,
                    slots=orders.slots,
                    memory=orders.memory,
                    eventfd=self._eventfd,
                    edge=theirs.fileno(),
                    http=orders.http,
                    control=control,
                ),
                descriptors,
                self._on_message,
            )
        except BaseException:
            self._close_end()
            raise
        finally:
            theirs.close()

    async def wait_loaded(self) -> None:
        """Wait until its agents are there. Raises ConfigError or WorkerFailed."""
        gone = asyncio.ensure_future(self.child.gone.wait())
        news: set[asyncio.Future[Any]] = {self._loaded, gone}
        try:
            await asyncio.wait(news, timeout=LOAD_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
        if not self._loaded.done():
            ended = self.child.gone.is_set()
            cause = f"exit code {self.child.code}" if ended else f"no agents after {LOAD_S:.0f} s"
            raise WorkerFailed(f"a worker could not begin: {cause}")
        outcome = self._loaded.result()
        if isinstance(outcome, msg.Failed):
            if outcome.problems:
                raise ConfigError(tuple(ConfigProblem(*one) for one in outcome.problems))
            raise WorkerFailed(outcome.text)

    def connect(self, edge: Child) -> None:
        """Give it to the edge, which may offer it calls from now on."""
        end, self._end = self._end, None
        if end is None or self.child.gone.is_set():
            return
        descriptors = [end.detach(), self._eventfd, os.dup(self.child.pidfd)]
        edge.channel.send(msg.Attach(self.number), descriptors)

    def retire(self) -> None:
        """Let it finish its calls and go."""
        self.child.channel.send(msg.Retire())

    async def stop(self) -> None:
        """End it now."""
        try:
            await self.child.stop(LAST_WORDS_S)
        finally:
            self.child.kill()
            self._close_end()

    def _close_end(self) -> None:
        if self._end is not None:
            self._end.close()
            os.close(self._eventfd)
            self._end = None

    def _on_message(self, message: msg.ToSupervisor) -> None:
        self.silent_s = 0.0
        if isinstance(message, msg.StreamReport):
            self.orders.on_streams(self.number, message.status)
        elif isinstance(message, msg.Loaded | msg.Failed) and not self._loaded.done():
            self._loaded.set_result(message)
