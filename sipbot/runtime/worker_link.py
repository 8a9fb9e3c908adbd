"""The worker's end of the link to the edge: calls come in, commands go out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Final, Protocol

from sipbot.call.leg import (
    EndReason,
    LegDtmf,
    LegEnded,
    LegHeld,
    LegResumed,
    TransferResult,
)
from sipbot.errors import SipbotError
from sipbot.legs.remote import RemoteLeg
from sipbot.legs.stream_audio import SlotWaiters
from sipbot.media.ring_slot import RingSlot
from sipbot.media.rings import RingBlock
from sipbot.media.stream import StreamStats
from sipbot.runtime.dialer_link import LinkDialer
from sipbot.runtime.host import Placement
from sipbot.runtime.link import messages as msg
from sipbot.runtime.link.wakeup import WorkerWakeups

_ENDED: Final = "call-ended"


class Sends(Protocol):
    """A channel, as far as messages go out."""

    def send(self, message: object) -> None: ...


class HasRings(Protocol):
    """Rings towards the agents and towards the peers."""

    @property
    def rx(self) -> RingBlock: ...

    @property
    def tx(self) -> RingBlock: ...


class CallControl:
    """Implements ``RemoteControl`` for one call by messages."""

    def __init__(self, number: int, channel: Sends) -> None:
        self._number, self._channel = number, channel
        self._requests = count(1)
        self._waiting: dict[int, asyncio.Future[msg.Reply]] = {}
        self._over = False

    def ring(self) -> None:
        self._channel.send(msg.Ring(self._number))

    async def answer(self) -> None:
        await self._ask(lambda request: msg.Answer(self._number, request))

    def reject(self, status: int, reason: str) -> None:
        self._channel.send(msg.Reject(self._number, status, reason))

    def hang_up(self, reason: EndReason) -> None:
        self._channel.send(msg.HangUp(self._number, reason))

    async def transfer(self, target: str) -> TransferResult:
        reply = await self._ask(lambda request: msg.Transfer(self._number, request, target))
        return TransferResult(reply.accepted, reply.detail)

    async def send_dtmf(self, digits: str, duration_ms: int, gap_ms: int) -> None:
        await self._ask(
            lambda request: msg.Press(self._number, request, digits, duration_ms, gap_ms)
        )

    def loop_back(self, on: bool) -> None:
        self._channel.send(msg.LoopBack(self._number, on))

    def on_reply(self, reply: msg.Reply) -> None:
        waiting = self._waiting.get(reply.request)
        if waiting is not None and not waiting.done():
            waiting.set_result(reply)

    def end(self) -> None:
        """No reply will come any more: let everybody go."""
        self._over = True
        for request in self._waiting:
            self.on_reply(msg.Reply(self._number, request, accepted=False, detail=_ENDED))

    async def _ask(self, make: Callable[[int], msg.Command]) -> msg.Reply:
        request = next(self._requests)
        if self._over:
            return msg.Reply(self._number, request, accepted=False, detail=_ENDED)
        waiting = asyncio.get_running_loop().create_future()
        self._waiting[request] = waiting
        try:
            self._channel.send(make(request))
            reply: msg.Reply = await waiting
        finally:
            del self._waiting[request]
        if reply.error:
            raise SipbotError(reply.error)
        return reply


class WorkerLink:
    """All calls of this worker. ``on_call`` gets each new one."""

    def __init__(
        self,
        rings: HasRings,
        eventfd: int,
        channel: Sends,
        on_call: Callable[[RemoteLeg, Placement], None],
    ) -> None:
        self._rings, self._channel, self._on_call = rings, channel, on_call
        self._waiters = SlotWaiters(rings.rx.slots)
        self._wakeups = WorkerWakeups(eventfd, rings.rx, rings.tx, self._waiters)
        self._calls: dict[int, tuple[RemoteLeg, CallControl]] = {}
        self.dialer = LinkDialer(channel)
        self._numbers: dict[str, int] = {}  # by call id, until the record is written
        self.idle = asyncio.Event()  # no call of the edge is here
        self.idle.set()

    def on_message(self, message: msg.ToWorker) -> None:
        """Take one message of the edge about calls that are here."""
        if isinstance(message, msg.Orphan):
            return
        if isinstance(message, msg.Offer):
            self._take(message)
            return
        if isinstance(message, msg.Dialled | msg.DialOver):
            self.dialer.on_message(message)
            return
        found = self._calls.get(message.call)
        if found is None:
            return
        leg, control = found
        match message:
            case msg.KeyPressed():
                leg.handle(LegDtmf(message.digit, message.source))
            case msg.HeldMessage():
                leg.handle(LegHeld() if message.held else LegResumed())
            case msg.Reply():
                control.on_reply(message)
            case msg.Over():
                ended = LegEnded(message.reason, message.detail)
                leg.end(ended, message.codec, message.stats)

    def finished(self, call_id: str) -> None:
        """The agent is done with a call."""
        number = self._numbers.pop(call_id, None)
        if number is not None:
            self._channel.send(msg.Finished(number))
            if not self._numbers:
                self.idle.set()

    def lost(self) -> None:
        """The edge is gone, and every call with it."""
        self.dialer.lost()
        for leg, _ in tuple(self._calls.values()):
            leg.end(LegEnded(EndReason.NETWORK, "edge-lost"), leg.info.codec, StreamStats())

    def close(self) -> None:
        self._wakeups.close()

    def _take(self, offer: msg.Offer) -> None:
        slot = RingSlot(offer.slot, self._rings.rx, self._rings.tx)
        control = CallControl(offer.call, self._channel)
        leg = RemoteLeg(
            control, offer.info, slot, self._waiters, lambda leg: self._ended(offer, control)
        )
        self._calls[offer.call] = (leg, control)
        self._numbers[offer.call_id] = offer.call
        self.idle.clear()
        self._wakeups.watch(offer.slot)
        self._on_call(leg, Placement(offer.call_id, offer.agent, offer.rule))

    def _ended(self, offer: msg.Offer, control: CallControl) -> None:
        control.end()
        del self._calls[offer.call]
        self._wakeups.unwatch(offer.slot)
        self._channel.send(msg.Released(offer.call))
