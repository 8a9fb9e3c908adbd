"""The edge: takes calls from SIP, gives each a media stream and an agent, and knows them all.

Everything that a caller asks for passes here once: limits, route, session description, RTP port,
in this order. What is refused is refused by a named rule, which is counted and logged.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from sipbot.call.leg import EndReason, LegInfo
from sipbot.call.routing import Routes
from sipbot.errors import MediaError, PortsExhausted, RemoteProtocolError, SipbotError
from sipbot.legs.control import SipControl
from sipbot.legs.negotiation import MediaNegotiator, MediaTerms
from sipbot.legs.sip import SipLeg
from sipbot.legs.sip_inbound import InboundSipLeg
from sipbot.legs.sip_info import incoming_info
from sipbot.legs.stream_audio import SlotWaiters
from sipbot.media.plane import MediaPlane
from sipbot.ops.admission import Admission
from sipbot.ops.counters import Counters
from sipbot.ops.logs import Logger
from sipbot.ops.overload import Overload
from sipbot.runtime import refusal as refusals
from sipbot.runtime.call_times import CallTimes
from sipbot.runtime.capacity import Capacity
from sipbot.runtime.host import AgentHost, Placement
from sipbot.runtime.refusal import Refusal
from sipbot.runtime.sip_stack import SipStack
from sipbot.sip.effects import Dropped, Event, IncomingCall, Refused, Reoffer
from sipbot.sip.message import sdp_body

GOODBYE_S: Final = 2.0  # seconds for BYEs to be answered when everything ends
_FINAL_CALLS_S: Final = 5.0  # seconds for agents to notice that their call was ended


class _RefusedError(SipbotError):
    """Carries the refusal of a call out of the middle of setting it up."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.rule)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class EdgeParts:
    """What an edge is made of. One owner makes and closes them all."""

    plane: MediaPlane
    waiters: SlotWaiters
    routes: Routes
    admission: Admission
    capacity: Capacity
    overload: Overload
    times: CallTimes
    counters: Counters
    log: Logger
    terms: MediaTerms
    retry_after_s: int


class Edge:
    """All calls that come in by SIP. Their agents live in ``host``."""

    def __init__(self, parts: EdgeParts, host: AgentHost) -> None:
        self._parts, self._host = parts, host
        self._stack: SipStack | None = None
        self._legs: dict[str, SipLeg] = {}  # by session
        self._call_ids: dict[str, str] = {}  # ours, by the Call-ID of SIP
        self._draining = False

    def connect(self, stack: SipStack) -> None:
        """Join the signalling, whose events come to ``on_event``."""
        self._stack = stack

    @property
    def stack(self) -> SipStack:
        assert self._stack is not None, "connect() comes first"
        return self._stack

    def adopt(
        self, *, routes: Routes, admission: Admission, terms: MediaTerms, retry_after_s: int
    ) -> None:
        """Take other rules for the calls that come from now on."""
        self._parts = replace(
            self._parts,
            routes=routes,
            admission=admission,
            terms=terms,
            retry_after_s=retry_after_s,
        )

    # --- how it fares ---------------------------------------------------------------------------

    @property
    def legs(self) -> Collection[SipLeg]:
        """Legs that have not ended."""
        return self._legs.values()

    @property
    def calls(self) -> int:
        return len(self._legs)

    @property
    def capacity(self) -> Capacity:
        return self._parts.capacity

    @property
    def overload(self) -> Overload:
        return self._parts.overload

    @property
    def reasons(self) -> tuple[str, ...]:
        """Rules that forbid any new call now; none when calls are taken."""
        parts, host = self._parts, self._host.refusal()
        found = [
            *((refusals.SHUTTING_DOWN.rule,) if self._draining else ()),
            *(("max-calls",) if parts.capacity.full else ()),
            *parts.overload.rules,
            *(() if host is None else (host,)),
        ]
        return tuple(dict.fromkeys(found))

    def tell_peers(self) -> None:
        """Let the answer to OPTIONS say whether calls are taken."""
        retry_after_s = self._parts.retry_after_s if self.reasons else None
        self.stack.driver.agent.set_overload(retry_after_s)

    # --- events of the user agent ---------------------------------------------------------------

    def on_event(self, event: Event) -> None:
        """Take one event of the user agent core."""
        match event:
            case IncomingCall():
                self._incoming(event)
            case Refused():
                self._parts.counters.count("refused", rule=event.rule)
                self._parts.log.warning(
                    "request refused",
                    call_id=self._call_ids.get(event.call_id, ""),
                    rule=event.rule,
                    status=event.status,
                    method=event.method,
                    peer=event.flow.remote[0],
                    sip_call_id=event.call_id,
                )
            case Dropped():
                self._parts.counters.count("dropped", rule=event.rule)
                self._parts.log.debug("dropped", rule=event.rule, peer=event.flow.remote[0])
            case _:
                self._in_session(event)

    def _in_session(self, event: Event) -> None:
        leg = self._legs.get(event.session) if not isinstance(event, Refused | Dropped) else None
        if leg is not None:
            leg.handle(event)
        elif isinstance(event, Reoffer):
            SipControl(self.stack.driver, event.session).refuse_offer(481, "")

    # --- a new call -----------------------------------------------------------------------------

    def _incoming(self, event: IncomingCall) -> None:
        parts = self._parts
        trunk = parts.admission.allowed(event.flow.remote[0]).trunk or ""
        control = SipControl(self.stack.driver, event.session)
        try:
            self._set_up(event, control, trunk)
        except _RefusedError as refused:
            refusal = refused.refusal
            parts.counters.count("refused", rule=refusal.rule)
            parts.log.warning(
                "call refused",
                rule=refusal.rule,
                status=refusal.status,
                peer=event.flow.remote[0],
                trunk=trunk,
                request_user=event.request.uri.user_decoded or "",
                sip_call_id=event.request.call_id,
            )
            control.reject(
                refusal.status,
                retry_after_s=parts.retry_after_s if refusal.busy else None,
                warning=refusal.warning,
            )

    def _set_up(self, event: IncomingCall, control: SipControl, trunk: str) -> None:
        """Everything between the INVITE and the agent. Raises _RefusedError."""
        parts = self._parts
        if self._draining:
            raise _RefusedError(refusals.SHUTTING_DOWN)
        full = parts.capacity.refusal(trunk)
        for rule in (full, *parts.overload.rules, self._host.refusal()):
            if rule is not None:
                raise _RefusedError(refusals.over_limit(rule))
        info = incoming_info(event.request, event.flow, trunk)
        route = parts.routes.choose(info)
        if route.agent is None:
            raise _RefusedError(refusals.NO_ROUTE)
        leg = self._leg(event, control, info)
        self._legs[event.session] = leg
        parts.capacity.add(trunk)
        parts.times.begin(leg)
        placement = Placement(secrets.token_hex(8), route.agent, route.rule)
        self._call_ids[info.protocol_id] = placement.call_id
        self._announce(leg, placement)
        self._host.take(leg, placement)

    def _announce(self, leg: SipLeg, placement: Placement) -> None:
        info = leg.info
        self._parts.counters.count("calls", trunk=info.trunk)
        self._parts.log.info(
            "call received",
            call_id=placement.call_id,
            sip_call_id=info.protocol_id,
            caller=info.caller,
            callee=info.callee,
            request_user=info.request_user,
            trunk=info.trunk,
            transport=info.transport,
            peer=info.peer,
            agent=placement.agent,
            rule=placement.rule,
        )

    def _leg(self, event: IncomingCall, control: SipControl, info: LegInfo) -> InboundSipLeg:
        parts = self._parts
        try:
            stream = parts.plane.allocate(event.flow.local[0])
        except PortsExhausted:
            raise _RefusedError(refusals.PORTS_EXHAUSTED) from None
        except MediaError as error:
            parts.log.error("no media stream", error=str(error))
            raise _RefusedError(refusals.MEDIA_UNAVAILABLE) from None
        negotiator = MediaNegotiator(
            parts.terms,
            self.stack.advertiser.media(event.flow),
            stream.local_port,
            secrets.token_bytes,
        )
        leg = InboundSipLeg(control, info, stream, parts.waiters, negotiator, self.forget)
        try:
            leg.prepare(sdp_body(event.request) or b"")
        except RemoteProtocolError as error:
            leg.abandon()
            raise _RefusedError(refusals.unanswerable(error.reason, error.status)) from None
        return leg

    # --- calls that we make -----------------------------------------------------------------------

    def no_room(self, trunk: str) -> str | None:
        """Rule that forbids us to call by ``trunk`` now, or None."""
        full = self._parts.capacity.refusal(trunk)
        return next((rule for rule in (*self.reasons, full) if rule is not None), None)

    def adopt_leg(self, leg: SipLeg) -> None:
        """Hand the events of a session that we began to its leg, and count it."""
        self._legs[leg.session] = leg
        self._parts.capacity.add(leg.info.trunk)

    def placed(self, leg: SipLeg, placement: Placement) -> None:
        """An agent gets this leg."""
        info = leg.info
        self._call_ids[info.protocol_id] = placement.call_id
        self._parts.counters.count("calls", trunk=info.trunk)
        self._parts.log.info(
            "call placed",
            call_id=placement.call_id,
            sip_call_id=info.protocol_id,
            callee=info.callee,
            trunk=info.trunk,
            transport=info.transport,
            peer=info.peer,
            agent=placement.agent,
            rule=placement.rule,
        )
        self._host.take(leg, placement)

    def forget(self, leg: SipLeg) -> None:
        """The leg has ended."""
        if self._legs.pop(leg.session, None) is not None:
            self._parts.capacity.remove(leg.info.trunk)
            self._parts.times.end(leg)
            self._call_ids.pop(leg.info.protocol_id, None)

    # --- the end --------------------------------------------------------------------------------

    async def drain(self, deadline_s: float) -> None:
        """Take no more calls, let those that live finish for ``deadline_s``, then end them."""
        parts = self._parts
        self._draining = True
        self.tell_peers()
        try:
            async with asyncio.timeout(deadline_s):
                await self._host.wait_empty()
        except TimeoutError:
            parts.log.warning("ending calls at the deadline", calls=self._host.calls)
        await self._host.end_all()
        try:
            async with asyncio.timeout(_FINAL_CALLS_S):
                await self._host.wait_empty()
        except TimeoutError:
            parts.log.warning("agents did not end", calls=self._host.calls)
        for leg in tuple(self._legs.values()):  # such as those that ring and have no agent yet
            await leg.hangup(EndReason.SHUTDOWN)
        # The last BYEs want to be answered, or repeated.
        await self.stack.driver.wait_idle(GOODBYE_S)
