"""Calls that outlived their worker: the edge sees their end, another worker keeps the record."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from msgspec import structs

from sipbot.call.leg import EndReason
from sipbot.call.record import CallRecord
from sipbot.legs.sip import LegState, SipLeg
from sipbot.runtime.host import Placement
from sipbot.runtime.link import messages as msg

MAX_WAITING: Final = 500  # records that wait for a worker to be there; older ones are lost


class Orphans:
    """Records on their way from the edge to whoever writes them. ``now`` is in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._waiting: deque[tuple[float, msg.Orphan]] = deque(maxlen=MAX_WAITING)

    def add(self, leg: SipLeg, placement: Placement, reason: EndReason, detail: str) -> None:
        """The call of ``leg`` has ended, just now."""
        message = msg.Orphan(
            call_id=placement.call_id,
            agent=placement.agent,
            rule=placement.rule,
            info=leg.info,
            reason=reason,
            detail=detail,
            facts=dict(leg.facts()),
            ago_s=0.0,
            lasted_s=leg.seconds(LegState.NEW, LegState.ENDED) or 0.0,
            rung_s=leg.seconds(LegState.NEW, LegState.RINGING),
            answered_s=leg.seconds(LegState.NEW, LegState.ANSWERED),
        )
        self._waiting.append((self._now(), message))

    def send(self, to: Callable[[msg.Orphan], None]) -> None:
        """Hand over all that wait."""
        while self._waiting:
            since, message = self._waiting.popleft()
            to(structs.replace(message, ago_s=self._now() - since))


def record_of(orphan: msg.Orphan, wall: float) -> CallRecord:
    """The record, where it is ``wall`` o'clock now (seconds since 1970 UTC)."""
    info, ended = orphan.info, wall - orphan.ago_s
    invited = ended - orphan.lasted_s
    return CallRecord(
        call_id=orphan.call_id,
        protocol_id=info.protocol_id,
        direction=info.direction,
        transport=info.transport,
        trunk=info.trunk,
        peer=info.peer,
        caller=info.caller,
        callee=info.callee,
        agent=orphan.agent,
        rule=orphan.rule,
        codec=info.codec,
        invited_at=invited,
        rung_at=None if orphan.rung_s is None else invited + orphan.rung_s,
        answered_at=None if orphan.answered_s is None else invited + orphan.answered_s,
        ended_at=ended,
        reason=orphan.reason,
        detail=orphan.detail,
        trunk_call_id=info.trunk_call_id,
        stats=orphan.facts,
    )
