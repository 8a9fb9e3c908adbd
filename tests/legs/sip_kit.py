"""Two user agents linked in memory, with real RTP between two streams of one plane.

Nothing waits: ``Pair.advance`` moves one manual clock, fires the timers that are due, ticks the
plane and lets tasks run.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from sipbot.call.leg import LegInfo, Pcm
from sipbot.clock import Clock
from sipbot.legs.control import SipControl
from sipbot.legs.negotiation import MediaNegotiator, MediaTerms
from sipbot.legs.sip_inbound import InboundSipLeg
from sipbot.legs.sip_info import incoming_info
from sipbot.legs.sip_outbound import OutboundSipLeg
from sipbot.legs.stream_audio import SlotWaiters
from sipbot.media.plane import MediaPlane, PlaneConfig
from sipbot.media.ports import PortPool
from sipbot.sip.effects import Event, Flow, Hop, IncomingCall, Send
from sipbot.sip.headers import NameAddr
from sipbot.sip.ids import CountingIds
from sipbot.sip.message import parse_message, sdp_body
from sipbot.sip.uri import Uri
from sipbot.sip.user_agent import UserAgent, UserAgentConfig
from sipbot.testing.clock import ManualClock
from sipbot.transport.driver import SipDriver

LOCAL = "127.0.0.1"
TICK_S = 0.005
SLOTS = 4
BOT, CALLER = (LOCAL, 5070), (LOCAL, 6070)
_PORTS = itertools.cycle(range(31_000, 31_800, 40))


class HandDriver(SipDriver):
    """A driver whose alarm is fired by hand."""

    def _arm(self) -> None:
        return

    def fire(self) -> None:
        """Fire everything that is due."""
        deadline = self.agent.next_deadline()
        if deadline is not None and deadline <= self.now():
            self._on_alarm()


class MemoryEndpoint:
    """Hands each message to the other side, in the loop's next round. ``lost`` is a script."""

    def __init__(self, flow: Flow, other: Callable[[bytes, Flow], None]) -> None:
        self.sent: list[bytes] = []
        self.lost: list[bool] = []
        self.flow, self._other = flow, other

    def send(self, send: Send, failed: Callable[[str], None]) -> None:
        wire = send.attempts[0].wire
        self.sent.append(wire)
        if not (self.lost and self.lost.pop(0)):
            asyncio.get_running_loop().call_soon(self._other, wire, self.flow)

    def methods_and_statuses(self) -> list[str]:
        return [wire.split(b" ")[_first(wire)].decode() for wire in self.sent]


def _first(wire: bytes) -> int:
    return 1 if wire.startswith(b"SIP/2.0 ") else 0


def entropy(count: int) -> bytes:
    return bytes(range(1, count + 1))


class Pair:
    """A bot and a caller. ``call`` places a call; the bot's leg is then ``bot_leg``."""

    def __init__(self, terms: MediaTerms | None = None, caller_terms: MediaTerms | None = None):
        self.clock: ManualClock = ManualClock(1_000.0)
        clock: Clock = self.clock
        first = next(_PORTS)
        self.plane = MediaPlane(
            PlaneConfig(slots=SLOTS, media_timeout_s=30.0),
            PortPool(first, first + 39, entropy=entropy, quarantine_s=0.0),
            clock=clock,
            entropy=entropy,
        )
        self.waiters = SlotWaiters(SLOTS)
        self.bot = HandDriver(clock, self._bot_event)
        self.caller = HandDriver(clock, self._caller_event)
        to_bot = Flow("tcp", BOT, CALLER, 1)
        to_caller = Flow("tcp", CALLER, BOT, 1)
        self.bot_endpoint = MemoryEndpoint(to_caller, self.caller.receive)
        self.caller_endpoint = MemoryEndpoint(to_bot, self.bot.receive)
        self._connect(self.bot, self.bot_endpoint, BOT, "b")
        self._connect(self.caller, self.caller_endpoint, CALLER, "c")
        self._terms, self._caller_terms = terms or MediaTerms(), caller_terms or MediaTerms()
        self.bot_leg: InboundSipLeg | None = None
        self.caller_leg: OutboundSipLeg | None = None
        self.caller_heard: list[Pcm] = []
        self._to_say: Pcm = np.empty(0, np.int16)

    @staticmethod
    def _connect(driver: SipDriver, endpoint: Any, address: tuple[str, int], prefix: str) -> None:
        driver.connect(
            UserAgent(UserAgentConfig(), CountingIds(prefix), lambda where: address), endpoint
        )

    def close(self) -> None:
        self.bot.close()
        self.caller.close()
        self.plane.close()

    # --- the caller

    async def call(self) -> InboundSipLeg:
        stream = self.plane.allocate(LOCAL)
        negotiator = MediaNegotiator(self._caller_terms, LOCAL, stream.local_port, entropy)
        session, effects = self.caller.agent.invite(
            to=Uri.parse("sip:echo@127.0.0.1:5070;transport=tcp"),
            from_=NameAddr.parse("<sip:+919812345678@127.0.0.1>"),
            body=negotiator.offer(),
            hop=Hop(LOCAL, 5070, "tcp"),
            now=self.clock.monotonic(),
        )
        leg = OutboundSipLeg(
            SipControl(self.caller, session),
            LegInfo("sip/tcp", "outbound", "caller", "echo"),
            stream,
            self.waiters,
            negotiator,
        )
        leg.expect_answer()
        self.caller_leg = leg
        self.caller.perform(effects)
        await self.advance(20)
        assert self.bot_leg is not None, "the INVITE never arrived"
        return self.bot_leg

    # --- the clock

    async def advance(self, ms: int) -> None:
        for _ in range(ms // 5):
            self.clock.advance(TICK_S)
            self._speak()
            self.bot.fire()
            self.caller.fire()
            self.waiters.wake(self.plane.tick(self.clock.monotonic()))
            for _ in range(6):
                await asyncio.sleep(0)
            if self.caller_leg is not None:
                self.caller_heard.append(self.caller_leg.audio.read())

    def say(self, pcm: Pcm) -> None:
        self._to_say = np.concatenate((self._to_say, pcm))

    def _speak(self) -> None:
        if self.caller_leg is not None and len(self._to_say):
            taken = self.caller_leg.audio.write(self._to_say)
            self._to_say = self._to_say[taken:]

    def heard(self) -> Pcm:
        return np.concatenate(self.caller_heard) if self.caller_heard else np.empty(0, np.int16)

    # --- events

    def _bot_event(self, event: Event) -> None:
        if not isinstance(event, IncomingCall):
            if self.bot_leg is not None:
                self.bot_leg.handle(event)
            return
        stream = self.plane.allocate(LOCAL)
        negotiator = MediaNegotiator(self._terms, LOCAL, stream.local_port, entropy)
        self.bot_leg = InboundSipLeg(
            SipControl(self.bot, event.session),
            incoming_info(event.request, event.flow, "trunk"),
            stream,
            self.waiters,
            negotiator,
        )
        self.bot_leg.prepare(sdp_body(event.request) or b"")

    def _caller_event(self, event: Event) -> None:
        if self.caller_leg is not None:
            self.caller_leg.handle(event)


@contextmanager
def pair(**terms: MediaTerms) -> Iterator[Pair]:
    made = Pair(**terms)
    try:
        yield made
    finally:
        made.close()


def statuses(wires: list[bytes]) -> list[int]:
    """Statuses of the responses among ``wires`` to INVITEs, 100 left out."""
    found = []
    for wire in wires:
        message = parse_message(wire)
        status = getattr(message, "status", 0)
        if status > 100 and message.cseq.method == "INVITE":
            found.append(status)
    return found
