"""Calls that a worker wants made, over a channel to the edge and without one."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from sipbot.outbound.outcome import Outcome
from sipbot.runtime.dialer_link import MAX_ATTEMPTS, DialDesk, LinkDialer
from sipbot.runtime.dialling import DialEnd, Dialling, DialOrder, DialResult
from sipbot.runtime.link import messages as msg
from sipbot.testing.clock import virtual_time

ORDER = DialOrder("+919812345610", "t", "desk", "dial", 30.0, "", {"name": "Asha"})


class Edge:
    """A dialer whose attempts the test decides, and the worker's end in front of it."""

    number = 7

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self.orders: list[DialOrder] = []
        self.attempts: list[Dialling] = []
        self.cancelled = 0
        self.desk = DialDesk(self, tasks)
        self.link = LinkDialer(self._Up(self))

    class _Up:
        def __init__(self, edge: Edge) -> None:
            self._edge = edge

        def send(self, message: Any) -> None:
            data = msgspec.msgpack.encode(message)
            self._edge.desk.on_dial(self._edge, msgspec.msgpack.decode(data, type=msg.ToEdge))

    def send(self, message: Any) -> None:
        data = msgspec.msgpack.encode(message)
        found: Any = msgspec.msgpack.decode(data, type=msg.ToWorker)
        self.link.on_message(found)

    def dial(self, order: DialOrder) -> Dialling:
        self.orders.append(order)
        self.attempts.append(Dialling(self._cancel))
        return self.attempts[-1]

    def _cancel(self) -> None:
        self.cancelled += 1


@virtual_time
async def test_an_answered_call_and_its_end_cross_the_link() -> None:
    async with asyncio.TaskGroup() as tasks:
        edge = Edge(tasks)
        attempt = edge.link.dial(ORDER)
        assert edge.orders == [ORDER]
        told = DialResult(Outcome.ANSWERED, 200, "OK", "c1", "s1")
        edge.attempts[0].settle(told)
        assert await attempt.result() == told
        attempt.cancel()
        assert edge.cancelled == 1
        edge.attempts[0].finish(DialEnd("bot-hung-up", 12.5))
        assert await attempt.ended() == DialEnd("bot-hung-up", 12.5)
        attempt.cancel()  # nobody there any more
        assert edge.cancelled == 1


@virtual_time
async def test_attempts_are_kept_apart() -> None:
    async with asyncio.TaskGroup() as tasks:
        edge = Edge(tasks)
        one, two = edge.link.dial(ORDER), edge.link.dial(ORDER)
        edge.attempts[1].settle(DialResult(Outcome.BUSY, 486))
        edge.attempts[0].settle(DialResult(Outcome.DECLINED, 603))
        assert (await one.result()).outcome is Outcome.DECLINED
        assert (await two.result()).outcome is Outcome.BUSY


@virtual_time
async def test_with_the_edge_gone_nobody_knows() -> None:
    async with asyncio.TaskGroup() as tasks:
        edge = Edge(tasks)
        attempt = edge.link.dial(ORDER)
        edge.link.lost()
        assert (await attempt.result()).outcome is Outcome.UNKNOWN
        assert (await edge.link.dial(ORDER).result()).outcome is Outcome.HELD_BACK
        edge.attempts[0].settle(DialResult(Outcome.BUSY, 486))


@virtual_time
async def test_a_worker_has_a_bound() -> None:
    class Silent:
        def send(self, message: Any) -> None:
            return

    link = LinkDialer(Silent())
    for _ in range(MAX_ATTEMPTS):
        link.dial(ORDER)
    assert (await link.dial(ORDER).result()).outcome is Outcome.HELD_BACK
