"""The leg of a call that an agent makes: the agent gets ready while it rings elsewhere."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Final

from sipbot.call.leg import EndReason
from sipbot.errors import SipbotError
from sipbot.legs.sip import LegState
from sipbot.legs.sip_info import MAX_HEADERS
from sipbot.legs.sip_outbound import DialOutcome, OutboundSipLeg
from sipbot.sip.effects import Answered, Event, Progress
from sipbot.sip.message import Response

GIVEN_UP: Final = DialOutcome(False, 487, "cancelled")
_UNANSWERED: Final = (LegState.NEW, LegState.RINGING)


class DialledSipLeg(OutboundSipLeg):
    """An ``OutboundSipLeg`` that an agent can have before it is answered.

    ``answer`` waits for the callee, ``reject`` gives the call up. ``placed`` is the id of the call
    that an agent has with this leg, empty before. The ``X-`` headers of the responses join those
    of ``info``.
    """

    placed = ""

    async def answer(self) -> None:
        """Wait until the callee answers. Raises ``SipbotError`` when that never comes."""
        outcome = await self.outcome()
        if not outcome.answered and not self.ended:
            raise SipbotError("not answered")

    async def reject(self, status: int, reason: str = "") -> None:
        """Give the call up, unless it was answered."""
        if self.state in _UNANSWERED:
            self.give_up()

    def give_up(self) -> None:
        """CANCEL, or BYE when it was answered."""
        cancelled = self.state in _UNANSWERED
        self._hang_up(EndReason.CANCELLED if cancelled else EndReason.BOT_HUNG_UP, "given-up")

    def handle(self, event: Event) -> None:
        if isinstance(event, Progress | Answered):
            self._learn(event.response)
        super().handle(event)

    def _learn(self, response: Response) -> None:
        found = dict(self._info.headers)
        for name, value in response.headers.items():
            if name.lower().startswith("x-") and len(found) < MAX_HEADERS:
                found.setdefault(name.lower(), value)
        self._info = replace(self._info, headers=MappingProxyType(found))

    def _end(self, reason: EndReason, detail: str) -> None:
        # A call that we end ourselves gets no event any more: whoever waits must know it here.
        self._settle(GIVEN_UP)
        super()._end(reason, detail)
