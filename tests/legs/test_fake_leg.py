"""The fake leg keeps the contract that real legs keep."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from sipbot.call.leg import Pcm
from sipbot.testing.leg import FakeLeg
from tests.legs.contract import LegContract

_SEEN = {"ring": "ringing", "answer": "answered", "reject": "rejected", "hangup": "ended"}


class FakeHarness:
    def __init__(self) -> None:
        self.leg = FakeLeg(autorun=False)

    async def advance(self, ms: int) -> None:
        for _ in range(ms // 20):
            self.leg.tick()
            for _ in range(3):
                await asyncio.sleep(0)

    async def peer_sends(self, pcm: Pcm) -> None:
        self.leg.speak(pcm)

    def peer_heard(self) -> Pcm:
        return self.leg.heard

    async def peer_presses(self, digit: str) -> None:
        self.leg.press(digit)

    async def peer_hangs_up(self) -> None:
        self.leg.hang_up()

    def peer_saw(self) -> list[str]:
        steps = (step.split(" ") for step in self.leg.steps)
        return [
            " ".join([_SEEN[first], *(rest if first == "reject" else [])]) for first, *rest in steps
        ]


class TestFakeLeg(LegContract):
    @pytest.fixture
    def harness(self) -> FakeHarness:
        return FakeHarness()


async def test_on_hold_neither_side_hears_the_other_and_our_audio_waits() -> None:
    harness = FakeHarness()
    await harness.leg.answer()
    harness.leg.hold()
    harness.leg.audio.write(np.full(320, 5_000, np.int16))
    harness.leg.speak(np.full(160, 5_000, np.int16))
    await harness.advance(100)
    assert not harness.leg.heard.any()
    assert not harness.leg.audio.read().any()
    assert harness.leg.audio.consumed == 0
    harness.leg.resume()
    await harness.advance(40)
    assert harness.leg.heard[-320:].all()
    assert harness.leg.audio.read()[:160].all()
