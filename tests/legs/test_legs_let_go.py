"""A leg that has ended lets go of whoever listened to it.

Else leg and call keep each other until the garbage collector comes, which for things that live as
long as a call is once in many hours: memory would grow with every call.
"""

from __future__ import annotations

import weakref

from sipbot.call.leg import LegEnded, LegEvent
from tests.legs.remote_kit import bridge_of
from tests.legs.sip_kit import pair


class Listener:
    """What a call is to its leg."""

    def __init__(self) -> None:
        self.heard: list[LegEvent] = []

    def hear(self, event: LegEvent) -> None:
        self.heard.append(event)


async def test_a_sip_leg() -> None:
    with pair() as both:
        leg = await both.call()
        listener = Listener()
        leg.attach(listener.hear)
        gone = weakref.ref(listener)
        assert both.caller_leg is not None
        await both.caller_leg.hangup()
        await both.advance(40)
        assert isinstance(listener.heard[-1], LegEnded)
        del listener
        assert gone() is None


async def test_a_remote_leg() -> None:
    async with bridge_of(1) as bridge:
        harness = await bridge.call()
        listener = Listener()
        harness.leg.attach(listener.hear)
        gone = weakref.ref(listener)
        await harness.peer_hangs_up()
        await harness.advance(100)
        assert isinstance(listener.heard[-1], LegEnded)
        del listener
        assert gone() is None
