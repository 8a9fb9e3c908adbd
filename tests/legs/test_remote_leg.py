"""A leg that lives elsewhere keeps the contract of all legs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from sipbot.runtime.host import Placement
from tests.legs.contract import LegContract, tone
from tests.legs.remote_kit import Bridge, RemoteHarness, bridge_of


@pytest.fixture
async def bridge() -> AsyncIterator[Bridge]:
    async with bridge_of(1) as made:
        yield made


class TestRemoteLeg(LegContract):
    @pytest.fixture
    async def harness(self, bridge: Bridge) -> RemoteHarness:
        return await bridge.call()


async def test_the_call_is_described(bridge: Bridge) -> None:
    harness = await bridge.call()
    assert bridge.worker.placements == [Placement("c1", "echo", "routes[0]")]
    assert harness.leg.info == harness.near.info
    assert harness.leg.info.caller == "+919812345678"
    assert harness.leg.info.codec == "PCMA"


async def test_the_end_brings_statistics_and_frees_the_slot(bridge: Bridge) -> None:
    harness = await bridge.call()
    leg, plane = harness.leg, bridge.both.plane
    answering = asyncio.ensure_future(leg.answer())
    await harness.advance(40)
    await answering
    await harness.peer_sends(tone(200, 8_000))
    await harness.advance(300)
    used = plane.active
    await harness.peer_hangs_up()
    await harness.advance(100)
    assert leg.stats().packets_received > 8
    assert bridge.host.calls == 1  # the agent is not done
    bridge.worker.link.finished("c1")
    await harness.advance(20)
    assert bridge.host.calls == 0
    assert plane.active == used - 2
