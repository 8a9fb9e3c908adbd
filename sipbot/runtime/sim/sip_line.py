"""A talk over SIP: Exotel's vSIP trunk, played by our own stack and media plane."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

from sipbot.call.leg import EndReason, LegInfo, Pcm
from sipbot.clock import Clock
from sipbot.errors import LocalProtocolError, SipSyntaxError, TransportError
from sipbot.exotel.sim.ears import Ears
from sipbot.exotel.sim.facts import CallState, Edge, invite_headers
from sipbot.exotel.sim.line import EndedBy
from sipbot.exotel.sim.model import SipManner
from sipbot.legs.control import SipControl
from sipbot.legs.negotiation import MediaNegotiator, MediaTerms
from sipbot.legs.sip_outbound import DialOutcome, OutboundSipLeg
from sipbot.legs.stream_audio import SlotWaiters
from sipbot.media.clockwork import Clockwork
from sipbot.media.plane import MediaPlane, PlaneConfig
from sipbot.media.ports import PortPool
from sipbot.runtime.caller import FIRST_PORT, LAST_PORT, RATE
from sipbot.runtime.sim.offer import dressed
from sipbot.runtime.sip_stack import SipStack, open_stack
from sipbot.sip.effects import (
    Attempt,
    Effect,
    Effects,
    Event,
    Hop,
    OfferRefused,
    Reanswer,
    Refused,
    Send,
    Transport,
)
from sipbot.sip.headers import NameAddr
from sipbot.sip.uri import Uri
from sipbot.sip.user_agent import UserAgentConfig
from sipbot.transport.local import Listen, bracketed, local_address_towards
from sipbot.transport.resolve import Resolver
from sipbot.transport.tls import TlsContexts

GOODBYE_S: Final = 3.0  # seconds for the last BYE or CANCEL to be answered
REOFFER_S: Final = 10.0  # seconds until a hold that is not answered counts as refused
KEY_MS: Final = 100  # of each key
KEY_GAP_MS: Final = 100
DEFAULT_TRANSPORT: Final[Transport] = "tcp"  # Exotel's trunks know no UDP

_TRANSPORTS: Final[dict[str, Transport]] = {"udp": "udp", "tcp": "tcp", "tls": "tls"}
_ENDED_BY: Final[dict[EndReason, EndedBy]] = {
    EndReason.BOT_HUNG_UP: "caller",  # "we": here that is the caller
    EndReason.CALLER_HUNG_UP: "bot",
    EndReason.REJECTED: "bot",
    EndReason.CANCELLED: "caller",
}


class TrunkLeg(OutboundSipLeg):
    """An outgoing leg that can put the other side on hold."""

    _reoffer: asyncio.Future[bool] | None = None

    async def hold(self, on: bool) -> bool:
        """Offer sendonly, or sendrecv again; False when that was refused or impossible."""
        self._reoffer = self._loop.create_future()
        try:
            self._control.reinvite(self._negotiator.offer("sendonly" if on else "sendrecv"))
            async with asyncio.timeout(REOFFER_S):
                return await self._reoffer
        except (LocalProtocolError, TimeoutError):
            return False
        finally:
            self._reoffer = None

    def handle(self, event: Event) -> None:
        super().handle(event)
        waiting = self._reoffer
        if waiting is not None and not waiting.done():
            if isinstance(event, Reanswer | OfferRefused):
                waiting.set_result(isinstance(event, Reanswer))
            elif self.ended:
                waiting.set_result(False)


class SipLine:
    """Implements ``Line`` on a leg whose call was answered."""

    def __init__(self, leg: TrunkLeg, stack: SipStack, manner: SipManner) -> None:
        self.ears = Ears(RATE)
        self._leg, self._stack, self._manner = leg, stack, manner
        self._listening = asyncio.create_task(self._listen())

    @property
    def rate(self) -> int:
        return RATE

    @property
    def ended_by(self) -> EndedBy | None:
        reason = self._leg.end_reason
        return None if reason is None else _ENDED_BY.get(reason, "network")

    async def speak(self, pcm: Pcm) -> None:
        audio, sent = self._leg.audio, 0
        while sent < len(pcm):
            sent += audio.write(pcm[sent:])
            # The line holds two seconds: come back when there is room again.
            if not await audio.wait_consumed(max(audio.consumed + 1, audio.written - RATE)):
                return
        await audio.wait_consumed(audio.written)

    async def press(self, keys: str) -> None:
        if not self._leg.ended:
            await self._leg.send_dtmf(keys, KEY_MS, KEY_GAP_MS)

    async def hold(self, on: bool) -> bool:
        return not self._leg.ended and await self._leg.hold(on)

    async def hang_up(self) -> None:
        """BYE, over a connection of its own where the manner says so."""
        if self._leg.ended:
            return
        driver = self._stack.driver
        effects = driver.agent.bye(self._leg.session, driver.now())
        if self._manner.bye_on_new_connection:
            self._stack.endpoint.connect_anew()
            effects = tuple(map(_by_hop, effects))
        driver.perform(effects)

    async def close(self) -> None:
        """Stop listening; the call must be over, or is hung up."""
        await self.hang_up()
        self._listening.cancel()
        await asyncio.wait({self._listening})

    async def _listen(self) -> None:
        audio = self._leg.audio
        audio.read()  # what came before the answer does not count
        try:
            while await audio.wait_readable():
                self.ears.feed(audio.read())
        finally:
            self.ears.close()


def _by_hop(effect: Effect) -> Effect:
    """The same message by its next hop alone, not by the connection of the call."""
    if not isinstance(effect, Send):
        return effect
    ways = tuple(Attempt(one.wire, hop=one.hop) for one in effect.attempts if one.hop is not None)
    return replace(effect, attempts=ways) if ways else effect


@dataclass(slots=True)
class SipTalk:
    """A call under way. ``line`` is None when the bot did not take it."""

    outcome: DialOutcome
    leg: TrunkLeg
    line: SipLine | None

    def details(self) -> dict[str, int | str]:
        """Of the media, for the report."""
        stats = self.leg.stats()
        return {
            "codec": self.leg.info.codec,
            "srtp": "sdes" if self.leg.secured else "off",
            "packets_sent": stats.packets_sent,
            "packets_received": stats.packets_received,
            "packets_lost": stats.lost,
        }


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a call is made from and to. ``local`` is our address towards the bot."""

    stack: SipStack
    plane: MediaPlane
    waiters: SlotWaiters
    hop: Hop
    local: str


class SipTrunk:
    """Places calls to one bot. ``faults`` hears which rules it breaks."""

    def __init__(
        self,
        uri: str,
        manner: SipManner,
        clock: Clock,
        faults: Callable[[str], None],
        *,
        insecure: bool = False,
    ) -> None:
        self._manner, self._clock, self._faults = manner, clock, faults
        self._insecure = insecure
        self._unreachable = ""  # why the bot could not be reached, the latest cause
        self._uri = Uri.parse(uri)
        if self._uri.scheme not in ("sip", "sips"):
            raise SipSyntaxError("only sip and sips URIs can be called")

    @asynccontextmanager
    async def call(
        self, state: CallState, custom: Sequence[tuple[str, str]]
    ) -> AsyncIterator[SipTalk]:
        """One call, from its INVITE until after its BYE. Raises TransportError."""
        hop, address = await self._target()
        local = local_address_towards(address)
        legs: dict[str, TrunkLeg] = {}
        waiters = SlotWaiters(1)
        plane = MediaPlane(
            PlaneConfig(slots=1),
            PortPool(FIRST_PORT, LAST_PORT, entropy=secrets.token_bytes, quarantine_s=0.0),
            clock=self._clock,
            entropy=secrets.token_bytes,
        )
        clockwork = Clockwork(plane, asyncio.get_running_loop(), waiters.wake)
        try:
            stack = await self._stack(hop, local, legs)
            try:
                clockwork.start()
                leg = self._invite(_Place(stack, plane, waiters, hop, local), state, custom)
                legs[leg.session] = leg
                async with self._talk(leg, stack) as talk:
                    yield talk
            finally:
                await stack.close()
        finally:
            clockwork.stop()
            plane.close()

    @asynccontextmanager
    async def _talk(self, leg: TrunkLeg, stack: SipStack) -> AsyncIterator[SipTalk]:
        line = None
        try:
            outcome = await self._answer(leg)
            if outcome.answered:
                line = SipLine(leg, stack, self._manner)
            yield SipTalk(outcome, leg, line)
        finally:  # Whatever went wrong, the bot must not be left in a call.
            if line is not None:
                await line.close()
            await leg.hangup()
            await stack.driver.wait_idle(GOODBYE_S)

    async def _answer(self, leg: TrunkLeg) -> DialOutcome:
        try:
            async with asyncio.timeout(self._manner.answer_within_s):
                outcome = await leg.outcome()
        except TimeoutError:
            return DialOutcome(False, 0, "no-answer")
        if outcome.reason == "transport-failed" and self._unreachable:
            return DialOutcome(False, 0, f"unreachable ({self._unreachable})")
        return outcome

    async def _target(self) -> tuple[Hop, str]:
        """The next hop, and the first address that it names (RFC 3263)."""
        default: Transport = "tls" if self._uri.scheme == "sips" else DEFAULT_TRANSPORT
        transport = _TRANSPORTS.get(self._uri.transport or default)
        if transport is None:
            raise SipSyntaxError("the URI names a transport that sipbot does not speak")
        hop = Hop(self._uri.host, self._uri.port, transport)
        found = await Resolver().resolve(hop)
        if not found:
            raise TransportError(f"{hop.host} has no address")
        return hop, found[0].address

    async def _stack(self, hop: Hop, local: str, legs: dict[str, TrunkLeg]) -> SipStack:
        def on_event(event: Event) -> None:
            leg = legs.get(getattr(event, "session", ""))
            if leg is not None:
                leg.handle(event)
            elif isinstance(event, Refused):
                self._faults(f"{event.method} refused: {event.rule}")

        def on_unreachable(hop: Hop, cause: str) -> None:
            self._unreachable = cause

        listened: Transport = "udp" if hop.transport == "udp" else "tcp"
        return await open_stack(
            config=UserAgentConfig(user_agent="sipbot sim"),
            # Over TLS there is no certificate to show: requests come by the open connection.
            listen=[] if hop.transport == "tls" else [Listen(listened, local, 0)],
            clock=self._clock,
            on_event=on_event,
            admit=lambda ip, transport: True,
            on_drop=lambda rule, ip: None,
            tls=TlsContexts(verify=not self._insecure),
            on_unreachable=on_unreachable,
        )

    def _invite(
        self, place: _Place, state: CallState, custom: Sequence[tuple[str, str]]
    ) -> TrunkLeg:
        manner, facts, driver = self._manner, state.facts, place.stack.driver
        local, transport = place.local, place.hop.transport or DEFAULT_TRANSPORT
        stream = place.plane.allocate(local)
        terms = MediaTerms(manner.codecs, "required" if manner.srtp == "sdes" else "off")
        negotiator = MediaNegotiator(
            terms, local, stream.local_port, secrets.token_bytes, dress=dressed
        )
        headers = invite_headers(
            state,
            Edge(bracketed(local), 443, transport),
            call_id=f"{secrets.token_hex(16)}@pstn.mum1.exotel.com",
            leg_sid=secrets.token_hex(16),
            to_host=bracketed(self._uri.host),
            sid_header=manner.call_sid_header,
            record_route=manner.record_route,
            custom=(*manner.headers.items(), *custom),
        )
        caller = Uri("sip", facts.from_, None, "exotelt.pstn.exotel.com", None)
        to = replace(self._uri, user=self._uri.user or facts.to)
        if to.transport is None and to.scheme == "sip":
            to = replace(to, parameters=(*to.parameters, ("transport", transport)))
        session, effects = driver.agent.invite(
            to=to,
            from_=NameAddr(facts.from_, caller),
            body=negotiator.offer(),
            hop=place.hop,
            now=driver.now(),
            headers=headers,
        )
        info = LegInfo(f"sip/{transport}", "outbound", facts.from_, facts.to)
        leg = TrunkLeg(SipControl(driver, session), info, stream, place.waiters, negotiator)
        leg.expect_answer()
        driver.perform(_nothing_failed(effects))
        return leg


def _nothing_failed(effects: Effects) -> Effects:
    """An INVITE's first effects are messages only: no event can come before the leg is known."""
    assert all(isinstance(effect, Send) for effect in effects), "only messages"
    return effects
