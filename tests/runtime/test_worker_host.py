"""The edge's side of workers: who gets a call, and what becomes of it when a worker dies."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from sipbot.call.leg import EndReason
from sipbot.runtime.link import messages as msg
from sipbot.runtime.worker_host import BEAT_S, MAX_RUNNING, SILENT_BEATS
from tests.legs.contract import loud_ms, tone
from tests.legs.remote_kit import Bridge, RemoteHarness, bridge_of


async def answer(harness: RemoteHarness) -> None:
    answering = asyncio.ensure_future(harness.leg.answer())
    await harness.advance(40)
    await answering


def miss_beats(bridge: Bridge, count: int = SILENT_BEATS) -> None:
    for _ in range(count):
        bridge.host._timer.cancel()
        bridge.host._count_beats()


async def test_calls_of_a_dead_worker_hear_an_apology_and_a_goodbye() -> None:
    async with bridge_of(1) as bridge:
        harness = await bridge.call()
        await answer(harness)
        harness.leg.audio.write(tone(1_500, 8_000, level=4_000))
        await harness.advance(200)
        bridge.worker.die()
        await harness.advance(300)
        heard = harness.peer_heard()
        apology = np.where(np.abs(heard) > 7_000, heard, 0)
        assert loud_ms(apology, 8_000) == pytest.approx(100, abs=20)
        assert harness.near.end_reason is EndReason.AGENT_FAILED
        assert harness.peer_saw()[-1] == "ended"
        assert bridge.host.calls == 0
        assert bridge.counters.value("workers_lost") == 1


async def test_nothing_of_the_dead_worker_is_played_after_its_death() -> None:
    async with bridge_of(1) as bridge:
        harness = await bridge.call()
        await answer(harness)
        harness.leg.audio.write(tone(1_500, 8_000))
        await harness.advance(100)
        bridge.rescuer.apology = np.empty(0, np.int16)
        bridge.worker.die()
        await harness.advance(500)
        assert loud_ms(harness.peer_heard(), 8_000) < 250


async def test_a_call_that_only_rang_is_offered_to_another_worker() -> None:
    async with bridge_of(2) as bridge:
        harness = await bridge.call()
        first, second = bridge.workers
        assert (len(first.legs), len(second.legs)) == (1, 0)
        await harness.leg.ring()
        await harness.advance(20)
        first.die()
        await harness.advance(20)
        assert len(second.legs) == 1
        answering = asyncio.ensure_future(second.legs[0].answer())
        await harness.advance(40)
        await answering
        assert harness.peer_saw() == ["ringing", "answered"]


async def test_a_call_that_kills_its_workers_is_not_offered_for_ever() -> None:
    async with bridge_of(3) as bridge:
        harness = await bridge.call()
        for worker in bridge.workers[:2]:
            worker.die()
            await harness.advance(20)
        assert harness.near.end_reason is EndReason.REJECTED
        assert harness.peer_saw() == ["rejected 503"]
        assert not bridge.workers[2].legs
        assert bridge.host.calls == 0


async def test_without_another_worker_the_call_is_refused() -> None:
    async with bridge_of(1) as bridge:
        harness = await bridge.call()
        bridge.worker.die()
        await harness.advance(20)
        assert harness.peer_saw() == ["rejected 503"]
        assert bridge.host.refusal() == "no-worker"


async def test_a_silent_worker_gets_no_calls_until_it_speaks_again() -> None:
    async with bridge_of(1) as bridge:
        assert bridge.host.refusal() is None
        miss_beats(bridge, SILENT_BEATS - 1)
        assert bridge.host.refusal() is None
        miss_beats(bridge, 1)
        assert bridge.host.refusal() == "no-worker"
        bridge.worker.channel.send(msg.Beat(0))
        await bridge.both.advance(5)
        assert bridge.host.refusal() is None


async def test_a_silent_worker_keeps_its_calls() -> None:
    async with bridge_of(1) as bridge:
        harness = await bridge.call()
        await answer(harness)
        miss_beats(bridge, 3 * SILENT_BEATS)
        await harness.advance(100)
        assert not harness.near.ended


async def test_the_least_loaded_worker_gets_the_call() -> None:
    async with bridge_of(2) as bridge:
        await bridge.call()
        await bridge.call()
        assert [len(worker.legs) for worker in bridge.workers] == [1, 1]


@pytest.mark.parametrize("how", ["closing", "detached"])
async def test_a_worker_that_goes_gets_no_calls_and_keeps_its_own(how: str) -> None:
    async with bridge_of(1) as bridge:
        harness = await bridge.call()
        await answer(harness)
        if how == "closing":
            bridge.worker.channel.send(msg.Closing())
        else:
            bridge.host.detach(1)
        await harness.advance(20)
        assert bridge.host.refusal() == "no-worker"
        assert not harness.near.ended


async def test_a_worker_that_breaks_the_rules_is_killed_before_its_calls_are_taken() -> None:
    async with bridge_of(1) as bridge:
        harness = await bridge.call()
        await answer(harness)
        bridge.worker.channel.send(msg.Offer(1, 1, "", "", "", harness.near.info))
        await harness.advance(20)
        assert bridge.worker.ended_by_signal()
        await harness.advance(300)
        assert harness.near.end_reason is EndReason.AGENT_FAILED


async def test_a_worker_cannot_flood_a_call_with_commands() -> None:
    async with bridge_of(1) as bridge:
        harness = await bridge.call()
        await answer(harness)
        asked = [
            asyncio.ensure_future(harness.leg.send_dtmf("1", 1_000)) for _ in range(MAX_RUNNING + 4)
        ]
        await harness.advance(20)
        refused = [one for one in asked if one.done() and one.exception() is not None]
        assert len(refused) >= 4
        assert "too-many-commands" in {str(one.exception()) for one in refused}
        await harness.peer_hangs_up()
        await harness.advance(100)
        await asyncio.gather(*asked, return_exceptions=True)


async def test_at_the_end_every_call_is_hung_up() -> None:
    async with bridge_of(1) as bridge:
        harness = await bridge.call()
        await answer(harness)
        await bridge.host.end_all()
        await harness.advance(40)
        assert harness.near.end_reason is EndReason.SHUTDOWN
        assert harness.leg.ended
        bridge.worker.link.finished("c1")
        await harness.advance(20)
        await bridge.host.wait_empty()


async def test_a_lost_edge_ends_the_workers_calls() -> None:
    async with bridge_of(1) as bridge:
        harness = await bridge.call()
        await answer(harness)
        asking = asyncio.ensure_future(harness.leg.transfer("sip:else@127.0.0.1"))
        await harness.advance(20)
        bridge.worker.link.lost()
        assert harness.leg.ended
        assert (await asking).accepted is False
        await harness.peer_hangs_up()
        await harness.advance(100)


async def test_a_busy_worker_gets_no_new_calls_while_another_has_time() -> None:
    async with bridge_of(2) as bridge:
        bridge.host.max_cpu_percent = 50.0
        bridge.host._now = bridge.both.clock.monotonic
        ends = list(bridge.host._workers.values())
        await spend(bridge, [1.0, 0.1])
        assert [end.state for end in ends] == ["busy", "healthy"]
        assert bridge.host.refusal() is None
        assert bridge.host._choose() is ends[1]
        await spend(bridge, [1.0, 1.0])
        assert bridge.host.refusal() == "cpu"
        assert bridge.counters.value("workers_busy") == 2
        await spend(bridge, [0.1, 0.1], steps=24)
        assert bridge.host.refusal() is None


async def spend(bridge: Bridge, shares: list[float], steps: int = 12) -> None:
    """Let each worker use so much of a core, and say so at every beat."""
    for _ in range(steps):
        for number, (end, share) in enumerate(
            zip(bridge.host._workers.values(), shares, strict=True)
        ):
            bridge.workers[number].channel.send(msg.Beat(0, end.cpu_s + share * BEAT_S))
        await bridge.both.advance(round(BEAT_S * 1_000))
