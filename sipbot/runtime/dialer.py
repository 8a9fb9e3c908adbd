"""Makes calls by SIP: the INVITE of an edge, through a trunk, with an agent at this end."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

from sipbot.call.leg import EndReason, LegInfo
from sipbot.errors import MediaError, SipbotError, SipSyntaxError, TransportError
from sipbot.legs.control import SipControl
from sipbot.legs.negotiation import MediaNegotiator, MediaTerms
from sipbot.legs.sip import LegState, SipLeg
from sipbot.legs.sip_dialled import DialledSipLeg
from sipbot.legs.sip_outbound import DialOutcome
from sipbot.legs.stream_audio import SlotWaiters
from sipbot.media.plane import MediaPlane
from sipbot.ops.counters import Counters
from sipbot.ops.logs import Logger
from sipbot.outbound.numbers import NumberFormat, dialled
from sipbot.outbound.outcome import Outcome, of_sip, tries_elsewhere
from sipbot.runtime.dialling import DialEnd, Dialling, DialOrder, DialResult
from sipbot.runtime.host import Placement
from sipbot.runtime.sip_stack import SipStack
from sipbot.sip.auth import Credentials
from sipbot.sip.effects import Hop
from sipbot.sip.headers import NameAddr
from sipbot.sip.routing import hop_of
from sipbot.sip.uri import Uri
from sipbot.transport.local import local_address_towards
from sipbot.transport.resolve import Resolver

RESOLVE_S: Final = 5.0  # seconds for the name of a trunk's address
MAX_URIS: Final = 8  # addresses of one trunk that are tried for one call
CALL_SID: Final = "x-exotel-callsid"


@dataclass(frozen=True, slots=True)
class TrunkDialPlan:
    """How calls leave by one trunk. ``uris`` are tried in order; their user part is replaced.

    ``from_domain`` empty means our own address. ``terms`` None means those of incoming calls.
    """

    uris: tuple[Uri, ...]
    credentials: Credentials | None = None
    from_domain: str = ""
    caller_id: str = ""
    number_format: NumberFormat = "e164"
    terms: MediaTerms | None = None


class Edges(Protocol):
    """The edge, as far as calls that it makes concern it."""

    @property
    def stack(self) -> SipStack: ...

    def no_room(self, trunk: str) -> str | None:
        """Rule that forbids one more call by ``trunk`` now, or None."""
        ...

    def adopt_leg(self, leg: SipLeg) -> None:
        """Hand events of a session that we began to its leg from now on."""
        ...

    def placed(self, leg: SipLeg, placement: Placement) -> None:
        """An agent gets this leg: count it and give it away."""
        ...

    def forget(self, leg: SipLeg) -> None:
        """The leg has ended."""
        ...


@dataclass(frozen=True, slots=True)
class DialerParts:
    """What the dialer needs of the process that it lives in."""

    plane: MediaPlane
    waiters: SlotWaiters
    terms: MediaTerms
    counters: Counters
    log: Logger


class Dialer:
    """Implements ``Dials`` with the user agent of an edge. ``tasks`` owns the attempts."""

    def __init__(
        self,
        edge: Edges,
        parts: DialerParts,
        trunks: Mapping[str, TrunkDialPlan],
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._edge, self._parts, self._trunks, self._tasks = edge, parts, trunks, tasks
        self._resolver = Resolver()

    def adopt(self, trunks: Mapping[str, TrunkDialPlan], terms: MediaTerms) -> None:
        """Take other trunks for the calls that are made from now on."""
        self._trunks, self._parts = trunks, replace(self._parts, terms=terms)

    def dial(self, order: DialOrder) -> Dialling:
        attempt = _Attempt(self._edge, self._parts, self._resolver, order)
        plan = self._trunks.get(order.trunk)
        if plan is None:
            attempt.news.settle(DialResult(Outcome.REFUSED, 0, "trunk-cannot-dial"))
        else:
            self._tasks.create_task(attempt.run(plan), name=f"dial by {order.trunk}")
        return attempt.news


class _Attempt:
    """One call from its first INVITE to its end."""

    def __init__(
        self, edge: Edges, parts: DialerParts, resolver: Resolver, order: DialOrder
    ) -> None:
        self._edge, self._parts, self._resolver = edge, parts, resolver
        self._order = order
        self._leg: DialledSipLeg | None = None
        self._cancelled = False
        self._time_up = False
        self._over = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.news = Dialling(self._cancel)

    async def run(self, plan: TrunkDialPlan) -> None:
        """Try the trunk's addresses; the boundary behind which no call harms another."""
        try:
            await self._run(plan)
        except Exception as error:
            self._parts.counters.count("faults", where="dial")
            self._parts.log.error("dialling failed", error=repr(error), trunk=self._order.trunk)
            if self._leg is not None:
                await self._leg.hangup(EndReason.AGENT_FAILED)
        finally:
            self.news.settle(DialResult(Outcome.FAILED, 0, "fault"))
            self.news.finish(DialEnd(EndReason.NETWORK.value, 0.0))
            self._leg = None  # it holds us: they would keep each other until the collector comes

    async def _run(self, plan: TrunkDialPlan) -> None:
        rule = self._edge.no_room(self._order.trunk)
        if rule is not None:
            self._parts.counters.count("held_back", rule=rule)
            self.news.settle(DialResult(Outcome.HELD_BACK, 0, rule))
            return
        self._parts.counters.count("dialled", trunk=self._order.trunk)
        result = DialResult(Outcome.FAILED, 0, "no-address")
        for uri in plan.uris[:MAX_URIS]:
            outcome = await self._try(plan, uri)
            result = self._verdict(outcome)
            rang = self._leg is not None and self._leg.rang.is_set()
            if rang or self._cancelled or not tries_elsewhere(outcome.status, outcome.reason):
                break
            self._parts.log.warning(
                "trunk address failed",
                trunk=self._order.trunk,
                host=uri.host,
                status=outcome.status,
                reason=outcome.reason,
            )
        self._parts.counters.count("dial_outcomes", outcome=result.outcome.value)
        self.news.settle(result)
        if result.outcome is Outcome.ANSWERED and self._leg is not None:
            await self._over.wait()
            reason = self._leg.end_reason or EndReason.NETWORK
            talked = self._leg.seconds(LegState.ANSWERED, LegState.ENDED) or 0.0
            self.news.finish(DialEnd(reason.value, talked))

    async def _try(self, plan: TrunkDialPlan, uri: Uri) -> DialOutcome:
        """One INVITE to one address; how it went."""
        self._over.clear()
        try:
            hop, address = await self._found(uri)
            leg = self._invite(plan, uri, hop, address)
        except TransportError:
            return DialOutcome(False, 0, "unreachable")
        except MediaError:
            return DialOutcome(False, 0, "media-unavailable")
        except SipSyntaxError:
            return DialOutcome(False, 484, "number-is-no-user")
        alarm = self._loop.call_later(self._order.ring_s, self._rang_long_enough)
        try:
            await self._first_sign(leg)
            if leg.rang.is_set() and not leg.ended:
                self._place(leg)
            outcome = await leg.outcome()
            if outcome.answered and not leg.ended and not leg.placed:
                self._place(leg)
            return outcome
        finally:
            alarm.cancel()

    async def _found(self, uri: Uri) -> tuple[Hop, str]:
        """Where the URI leads, with the transport that RFC 3263 prefers, and its first address."""
        hop = hop_of(uri)
        try:
            async with asyncio.timeout(RESOLVE_S):
                candidates = await self._resolver.resolve(hop)
        except TimeoutError:
            candidates = ()
        if not candidates:
            raise TransportError(f"{hop.host} has no address")
        first = candidates[0]
        return Hop(hop.host, hop.port, first.transport), first.address

    def _invite(self, plan: TrunkDialPlan, uri: Uri, hop: Hop, address: str) -> DialledSipLeg:
        """Send the INVITE. Raises MediaError, SipSyntaxError."""
        edge, parts, order = self._edge, self._parts, self._order
        driver, local = edge.stack.driver, local_address_towards(address)
        caller = dialled(order.caller_id or plan.caller_id, plan.number_format)
        callee = dialled(order.number, plan.number_format)
        to = _with_user(uri, callee)
        from_host = plan.from_domain or edge.stack.advertiser.signalling(hop)[0]
        from_ = NameAddr("", _with_user(Uri("sip", None, None, from_host, None), caller))
        stream = parts.plane.allocate(local)
        negotiator = MediaNegotiator(
            plan.terms or parts.terms,
            edge.stack.advertiser.media_towards(address),
            stream.local_port,
            secrets.token_bytes,
        )
        try:
            session, effects = driver.agent.invite(
                to=to,
                from_=from_,
                body=negotiator.offer(),
                hop=hop,
                now=driver.now(),
                credentials=plan.credentials,
            )
        except SipbotError:
            stream.close()
            raise
        info = LegInfo(
            transport=f"sip/{hop.transport}",
            direction="outbound",
            caller=caller,
            callee=order.number,
            trunk=order.trunk,
            request_user=callee,
            protocol_id=driver.agent.call_id(session),
            peer=f"{address}:{hop.port or ''}".rstrip(":"),
            parameters=order.parameters,
        )
        control = SipControl(driver, session)
        leg = DialledSipLeg(control, info, stream, parts.waiters, negotiator, self._closed)
        leg.expect_answer()
        self._leg = leg
        edge.adopt_leg(leg)
        driver.perform(effects)
        if self._cancelled:  # while the name was looked up
            self._cancel()
        return leg

    async def _first_sign(self, leg: DialledSipLeg) -> None:
        """Wait until it rings, or until it is known how it went."""
        rings = self._loop.create_task(leg.rang.wait())
        done = self._loop.create_task(leg.outcome())
        try:
            await asyncio.wait({rings, done}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            rings.cancel()
            done.cancel()

    def _place(self, leg: DialledSipLeg) -> None:
        """Give the leg to its agent, which gets ready while it rings."""
        order = self._order
        placement = Placement(secrets.token_hex(8), order.agent, order.rule)
        leg.placed = placement.call_id
        self._edge.placed(leg, placement)

    def _verdict(self, outcome: DialOutcome) -> DialResult:
        leg = self._leg
        call_id = "" if leg is None else leg.placed
        sid = "" if leg is None else leg.info.headers.get(CALL_SID, "")
        if outcome.answered:
            return DialResult(Outcome.ANSWERED, outcome.status, outcome.reason, call_id, sid)
        if self._time_up:
            return DialResult(Outcome.NO_ANSWER, 0, "rang-too-long", call_id, sid)
        if self._cancelled:
            return DialResult(Outcome.CANCELLED, 0, "cancelled", call_id, sid)
        if outcome.reason == "media-unavailable":
            return DialResult(Outcome.HELD_BACK, 0, outcome.reason)
        found = of_sip(outcome.status, outcome.reason)
        return DialResult(found, outcome.status, outcome.reason, call_id, sid)

    def _rang_long_enough(self) -> None:
        if self._leg is not None and self._leg.state in (LegState.NEW, LegState.RINGING):
            self._time_up = True
            self._leg.give_up()

    def _cancel(self) -> None:
        self._cancelled = True
        if self._leg is not None:
            self._leg.give_up()

    def _closed(self, leg: SipLeg) -> None:
        self._edge.forget(leg)
        if leg is self._leg:
            self._over.set()


def _with_user(uri: Uri, user: str) -> Uri:
    """The URI with another user part. Raises SipSyntaxError for one that no URI can hold."""
    plain = str(replace(uri, user=None, password=None))
    scheme, _, rest = plain.partition(":")
    return Uri.parse(f"{scheme}:{user}@{rest}") if user else uri
