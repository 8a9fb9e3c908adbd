"""Overload at the edge on virtual time: who is told, how often, and what becomes of calls."""

from __future__ import annotations

import asyncio

from sipbot.runtime.load_watch import LoadWatch
from sipbot.runtime.reporting import Reporter
from sipbot.testing.clock import LoopClock, virtual_time
from tests.runtime.test_edge import FLOW, Bench, bench, request


class Processor:
    """CPU time that grows by ``share`` of a core."""

    def __init__(self) -> None:
        self.share, self._spent, self._at = 0.1, 0.0, asyncio.get_running_loop().time()

    def __call__(self) -> float:
        now = asyncio.get_running_loop().time()
        self._spent += (now - self._at) * self.share
        self._at = now
        return self._spent


def watched(it: Bench) -> tuple[Processor, LoadWatch]:
    cpu = Processor()
    watch = LoadWatch(it.edge, it.plane, it.parts.overload, it.counters, it.log, cpu)
    watch.start()
    return cpu, watch


def options(it: Bench, number: int) -> int:
    it.driver.receive(request("OPTIONS", "x", f"o{number}"), FLOW)
    return it.wire.responses("OPTIONS")[-1].status


@virtual_time
async def test_a_busy_processor_refuses_new_calls_until_it_has_time_again() -> None:
    async with bench() as it:
        cpu, watch = watched(it)
        await asyncio.sleep(3)
        it.invite("waits", "1")
        assert it.edge.reasons == ()
        assert options(it, 1) == 200
        cpu.share = 1.0
        await asyncio.sleep(2)
        for number in range(5):
            it.invite("waits", f"more{number}")
        assert it.wire.last().status == 503
        assert it.wire.last().headers.get("Retry-After") == "7"
        assert it.refusals() == ["cpu"] * 5
        assert options(it, 2) == 503
        assert it.counters.value("refused", rule="cpu") == 5
        assert it.edge.calls == 1
        cpu.share = 0.1
        await asyncio.sleep(4)
        assert options(it, 3) == 200
        it.invite("waits", "again")
        await asyncio.sleep(0.01)
        assert it.edge.calls == 2
        assert it.counters.value("overloads", rule="cpu") == 1
        news = [event for event, _ in it.log.lines if "new calls" in event]
        assert news == ["no new calls for now", "new calls again"]
        watch.stop()


@virtual_time
async def test_a_late_media_clock_refuses_new_calls() -> None:
    async with bench() as it:
        _, watch = watched(it)
        for _ in range(60):  # a tick wants to come every 5 ms
            await asyncio.sleep(0.04)
            it.plane.tick(asyncio.get_running_loop().time())
        it.invite("waits", "1")
        assert it.refusals() == ["tick-lateness"]
        await it.ticks(5)
        it.invite("waits", "2")
        await asyncio.sleep(0.01)
        assert it.edge.calls == 1
        watch.stop()


@virtual_time
async def test_a_full_house_is_told_by_options_and_stays_out_of_the_log() -> None:
    async with bench(max_calls=1) as it:
        _, watch = watched(it)
        it.invite("waits", "1")
        await asyncio.sleep(1)
        assert options(it, 1) == 503
        assert it.edge.reasons == ("max-calls",)
        assert [event for event, _ in it.log.lines if "new calls" in event] == []
        watch.stop()


@virtual_time
async def test_the_end_of_overload_does_not_undo_a_drain() -> None:
    async with bench() as it:
        _, watch = watched(it)
        it.invite("waits", "1")
        draining = asyncio.create_task(it.edge.drain(5.0))
        await asyncio.sleep(2)
        assert options(it, 1) == 503
        assert it.edge.reasons == ("shutting-down",)
        await draining
        watch.stop()


@virtual_time
async def test_the_status_tells_of_calls_and_their_times() -> None:
    async with bench() as it:
        reporter = Reporter(it.edge, it.parts, it.host, LoopClock())
        it.invite("waits", "1")
        await asyncio.sleep(0.01)
        it.in_dialog("ACK", "1")
        first = reporter.status()
        assert first.calls == {"answered": 1}
        assert sum(first.setup.counts) == 1
        assert first.plane.ports_in_use == 1
        it.in_dialog("BYE", "1", cseq=2)
        await asyncio.sleep(0.5)
        assert reporter.status() is first  # whoever asks often gets the same again
        await asyncio.sleep(0.6)
        later = reporter.status()
        assert later.calls == {}
        assert (sum(later.setup.counts), sum(later.duration.counts)) == (1, 1)
        assert dict(later.counters)["calls_ended", (("reason", "caller-hung-up"),)] == 1
        assert (later.plane.ports_in_use, later.reasons) == (0, ())
