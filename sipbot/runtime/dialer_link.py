"""Calls that a worker wants made: its half of the link, and the edge's."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Final, Protocol

from sipbot.outbound.outcome import Outcome
from sipbot.runtime.dialling import DialEnd, Dialling, DialOrder, DialResult, Dials
from sipbot.runtime.link import messages as msg

MAX_ATTEMPTS: Final = 4_096  # that one worker may have under way
EDGE_LOST: Final = "edge-lost"


class Sends(Protocol):
    """A channel, as far as messages go out."""

    def send(self, message: object) -> None: ...


class LinkDialer:
    """Implements ``Dials`` in a worker: the edge sends the INVITE."""

    def __init__(self, channel: Sends) -> None:
        self._channel = channel
        self._requests = count(1)
        self._attempts: dict[int, Dialling] = {}
        self._lost = False

    def dial(self, order: DialOrder) -> Dialling:
        request = next(self._requests)
        attempt = Dialling(lambda: self._channel.send(msg.DialStop(request)))
        if self._lost or len(self._attempts) >= MAX_ATTEMPTS:
            attempt.settle(DialResult(Outcome.HELD_BACK, 0, "no-edge"))
            return attempt
        self._attempts[request] = attempt
        self._channel.send(msg.Dial(request, order))
        return attempt

    def on_message(self, message: msg.Dialled | msg.DialOver) -> None:
        """Take one message of the edge."""
        attempt = self._attempts.get(message.request)
        if attempt is None:
            return
        if isinstance(message, msg.DialOver):
            del self._attempts[message.request]
            attempt.finish(DialEnd(message.reason, message.talk_s))
            return
        if message.outcome is not Outcome.ANSWERED:
            del self._attempts[message.request]
        attempt.settle(
            DialResult(
                message.outcome, message.status, message.detail, message.call_id, message.call_sid
            )
        )

    def lost(self) -> None:
        """The edge is gone: nobody knows who was called."""
        self._lost = True
        attempts, self._attempts = self._attempts, {}
        for attempt in attempts.values():
            attempt.settle(DialResult(Outcome.UNKNOWN, 0, EDGE_LOST))
            attempt.finish(DialEnd(EDGE_LOST, 0.0))


class Worker(Protocol):
    """A worker, as far as its attempts go."""

    @property
    def number(self) -> int: ...

    def send(self, message: msg.ToWorker) -> None: ...


class DialDesk:
    """The edge's half: dials what workers ask for, and tells them. ``tasks`` owns the waiting."""

    def __init__(self, dialer: Dials, tasks: asyncio.TaskGroup) -> None:
        self._dialer, self._tasks = dialer, tasks
        self._attempts: dict[tuple[int, int], Dialling] = {}  # by worker and request

    def on_dial(self, worker: Worker, message: msg.Dial | msg.DialStop) -> None:
        """Take one message of a worker."""
        place = worker.number, message.request
        if isinstance(message, msg.Dial):
            self._attempts[place] = attempt = self._dialer.dial(message.order)
            self._tasks.create_task(self._tell(worker, message.request, attempt))
        elif place in self._attempts:
            self._attempts[place].cancel()

    async def _tell(self, worker: Worker, request: int, attempt: Dialling) -> None:
        try:
            told = await attempt.result()
            worker.send(
                msg.Dialled(
                    request, told.outcome, told.status, told.detail, told.call_id, told.call_sid
                )
            )
            if told.outcome is Outcome.ANSWERED:
                end = await attempt.ended()
                worker.send(msg.DialOver(request, end.reason, end.talk_s))
        finally:
            del self._attempts[worker.number, request]
