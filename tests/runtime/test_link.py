"""Channels, shared rings and wake-ups between processes."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from sipbot.call.leg import EndReason, LegInfo
from sipbot.errors import LocalProtocolError
from sipbot.legs.stream_audio import SlotWaiters, StreamAudio
from sipbot.media.ring_slot import RingSlot
from sipbot.media.stream import StreamStats
from sipbot.runtime.link import messages as msg
from sipbot.runtime.link.channel import MAX_MESSAGE, Channel, channel_pair
from sipbot.runtime.link.shared import SharedRings, make_memory
from sipbot.runtime.link.wakeup import EdgeWakeups, WorkerWakeups

INFO = LegInfo(
    "sip/tls",
    "inbound",
    "+919812345678",
    "echo",
    headers=MappingProxyType({"x-one": "ü"}),
    parameters=MappingProxyType({"one": "ü"}),
)
OFFER = msg.Offer(3, 17, "c1", "echo", "routes[0]", INFO)
OVER = msg.Over(3, EndReason.CALLER_HUNG_UP, "bye", "PCMA", StreamStats(dropped=(("late", 2),)))


class End:
    """One end of a channel, and what it heard."""

    def __init__(self, end: Any, kind: Any, **options: Any) -> None:
        self.heard: list[Any] = []
        self.descriptors: list[int] = []
        self.closed: list[str] = []
        self.channel: Channel[Any] = Channel(
            end, kind, self._on_message, self.closed.append, **options
        )

    def _on_message(self, message: Any, descriptors: Sequence[int]) -> None:
        self.heard.append(message)
        self.descriptors += descriptors


@asynccontextmanager
async def ends(**options: Any) -> AsyncIterator[tuple[End, End]]:
    """The edge's and the worker's end."""
    first, second = channel_pair()
    edge, worker = End(first, msg.ToEdge, **options), End(second, msg.ToWorker)
    try:
        yield edge, worker
    finally:
        edge.channel.close()
        worker.channel.close()


async def rounds(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_messages_arrive_whole_and_in_order() -> None:
    async with ends() as (edge, worker):
        sent = [OFFER, msg.KeyPressed(3, "5", "rtp"), msg.HeldMessage(3, True), OVER]
        for message in sent:
            edge.channel.send(message)
        worker.channel.send(msg.HangUp(3, EndReason.BOT_HUNG_UP))
        await rounds()
        assert worker.heard == sent
        assert edge.heard == [msg.HangUp(3, EndReason.BOT_HUNG_UP)]
        assert worker.heard[0].info.headers["x-one"] == "ü"


async def test_the_end_of_the_peer_is_noticed_after_its_last_words() -> None:
    async with ends() as (edge, worker):
        edge.channel.send(OFFER)
        edge.channel.close()
        await rounds()
        assert worker.heard == [OFFER]
        assert worker.closed == ["peer-gone"]
        assert not worker.channel.open
        worker.channel.send(msg.Beat(1))  # harmless
        assert edge.closed == []


async def test_sending_to_a_peer_that_is_gone_is_told_later_and_once() -> None:
    first, second = channel_pair()
    edge = End(first, msg.ToEdge)
    second.close()
    edge.channel.send(OFFER)
    assert edge.closed == []
    edge.channel.send(OFFER)
    await rounds()
    assert edge.closed == ["peer-gone"]


async def test_a_slow_peer_gets_everything_when_it_wakes_up() -> None:
    first, second = channel_pair()
    edge = End(first, msg.ToEdge)
    keys = [msg.KeyPressed(number, "1", "rtp") for number in range(3_000)]
    for key in keys:
        edge.channel.send(key)
    assert edge.channel.queued > 0
    worker = End(second, msg.ToWorker)
    for _ in range(1_000):
        await asyncio.sleep(0)
        if len(worker.heard) == len(keys):
            break
    assert worker.heard == keys
    edge.channel.close()
    worker.channel.close()


async def test_a_peer_that_is_too_slow_is_cut_off() -> None:
    async with ends(max_queued=10) as (edge, worker):
        number = 0
        while edge.channel.queued < 10:
            edge.channel.send(msg.KeyPressed(number, "1", "rtp"))
            number += 1
        edge.channel.send(OFFER)
        await rounds(1)
        assert edge.closed == ["slow-peer"]
        assert len(worker.heard) <= number


@pytest.mark.parametrize(
    "data", [b"\xc1", b"\x93\xa4Beat\x01\x02\x03", b"\x92\xa4Beat\xa1x", b"\x92\xa5Offer\x01"]
)
async def test_nonsense_closes_the_channel(data: bytes) -> None:
    first, second = channel_pair()
    edge = End(first, msg.ToEdge)
    with second:
        second.send(data)
        await rounds()
    assert edge.closed == ["bad-message"]
    assert edge.heard == []


async def test_a_message_that_is_cut_off_closes_the_channel() -> None:
    first, second = channel_pair()
    edge = End(first, msg.ToEdge)
    with second:
        second.send(bytes(MAX_MESSAGE + 1))
        await rounds()
    assert edge.closed == ["bad-message"]


async def test_too_large_a_message_is_refused_by_the_sender() -> None:
    async with ends() as (edge, worker):
        with pytest.raises(LocalProtocolError):
            worker.channel.send(msg.Hello(bytes(MAX_MESSAGE)))
        worker.channel.send(msg.Hello(bytes(MAX_MESSAGE - 100)))
        await rounds()
        assert len(edge.heard) == 1


async def test_descriptors_travel_and_are_not_left_behind() -> None:
    first, second = channel_pair()
    above, edge = End(first, msg.ToSupervisor), End(second, msg.ToEdgeFromAbove)
    read, write = os.pipe()
    above.channel.send(msg.Attach(1), [write])
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(write)
    await rounds()
    (received,) = edge.descriptors
    assert fcntl.fcntl(received, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    os.write(received, b"x")
    assert os.read(read, 1) == b"x"
    os.close(received)
    edge.channel.close()
    await rounds()
    spare = os.dup(read)
    above.channel.send(msg.Attach(2), [spare])  # closed by now: nobody would close it else
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(spare)
    os.close(read)


def test_two_mappings_are_the_same_rings() -> None:
    memory = make_memory(4)
    one, other = SharedRings(memory, 4), SharedRings(memory, 4)
    os.close(memory)
    pcm = np.arange(500, dtype=np.int16)
    assert one.tx.write(3, pcm) == 500
    assert (other.tx.read(3) == pcm).all()
    assert one.tx.tail[3] == 500
    assert other.rx.head[3] == 0
    assert one.rx.write(0, pcm) == 500
    assert (other.rx.read(0) == pcm).all()


class Room:
    """Two workers' audio over shared rings, and the edge that wakes them."""

    def __init__(self) -> None:
        memory = make_memory(4)
        self.rings, there = SharedRings(memory, 4), SharedRings(memory, 4)
        os.close(memory)
        self.here = SlotWaiters(4)
        self.edge = EdgeWakeups(4, self.here)
        self.audio: list[StreamAudio] = []
        self.workers: list[WorkerWakeups] = []
        self.rows: list[int] = []
        for slot in (0, 1):
            eventfd = os.eventfd(0, os.EFD_NONBLOCK)
            waiters = SlotWaiters(4)
            worker = WorkerWakeups(os.dup(eventfd), there.rx, there.tx, waiters)
            self.audio.append(StreamAudio(RingSlot(slot, there.rx, there.tx), waiters))
            worker.watch(slot)
            self.workers.append(worker)
            self.rows.append(self.edge.add(eventfd))
            self.edge.give(slot, self.rows[-1])

    def arrives(self, *slots: int) -> None:
        for slot in slots:
            self.rings.rx.write(slot, np.ones(160, np.int16))
        self.edge.wake(np.array(slots, dtype=np.intp))

    def close(self) -> None:
        for worker in self.workers:
            worker.close()
        self.edge.close()


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    made = Room()
    yield made
    made.close()


async def test_only_the_owner_of_what_moved_is_woken(room: Room) -> None:
    waiting = [asyncio.ensure_future(audio.wait_readable()) for audio in room.audio]
    await rounds(1)
    room.arrives(1)
    await rounds()
    assert [one.done() for one in waiting] == [False, True]
    room.arrives(0)
    await rounds()
    assert waiting[0].result() is True


async def test_a_writer_is_woken_when_the_plane_took_its_audio(room: Room) -> None:
    audio = room.audio[0]
    audio.write(np.ones(320, np.int16))
    waiting = asyncio.ensure_future(audio.wait_consumed(320))
    for done in (False, True):
        await rounds(1)
        room.rings.tx.read(0, 160)
        room.edge.wake(np.array([0], dtype=np.intp))
        await rounds()
        assert waiting.done() is done


async def test_audio_from_before_the_call_was_known_wakes_too(room: Room) -> None:
    room.workers[0].unwatch(0)
    room.arrives(0)
    await rounds()
    waiting = asyncio.ensure_future(room.audio[0].wait_consumed(0))
    room.workers[0].watch(0)
    room.arrives(0)
    await rounds()
    assert await waiting
    assert len(room.audio[0].read()) == 320


async def test_slots_of_a_dead_worker_wake_this_process(room: Room) -> None:
    audio = StreamAudio(RingSlot(0, room.rings.rx, room.rings.tx), room.here)
    waiting = asyncio.ensure_future(audio.wait_readable())
    await rounds(1)
    room.edge.remove(room.rows[0])
    room.arrives(0, 1)
    await rounds()
    assert waiting.done()
    audio.end()


async def test_a_slot_can_change_hands(room: Room) -> None:
    room.edge.take_back(1)
    waiting = asyncio.ensure_future(room.audio[1].wait_readable())
    await rounds(1)
    room.arrives(1)
    await rounds()
    assert not waiting.done()
    room.edge.give(1, room.rows[1])
    room.arrives(1)
    await rounds()
    assert waiting.done()
