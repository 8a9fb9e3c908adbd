"""The leg of an INVITE that we send."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from sipbot.call.leg import EndReason
from sipbot.errors import RemoteProtocolError
from sipbot.legs.sip import LegState, SipLeg
from sipbot.sip.effects import Answered, Event, Progress, SessionEnded
from sipbot.sip.message import Response, sdp_body


@dataclass(frozen=True, slots=True)
class DialOutcome:
    """How an INVITE went. ``status`` is 0 when no final response came."""

    answered: bool
    status: int
    reason: str


class OutboundSipLeg(SipLeg):
    """The leg of an INVITE that we send; its offer was made by the leg's negotiator.

    ``rang`` is set at the first 180 or 183. Early media (an answer in a provisional response) is
    heard as soon as it is offered.
    """

    def expect_answer(self) -> None:
        """Call once, before the INVITE leaves."""
        self.rang = asyncio.Event()
        self._outcome: asyncio.Future[DialOutcome] = self._loop.create_future()

    async def outcome(self) -> DialOutcome:
        """Wait for the final response."""
        return await asyncio.shield(self._outcome)

    def handle(self, event: Event) -> None:
        match event:
            case Progress():
                self._on_progress(event.response)
            case Answered():
                self._on_answered(event.response)
            case SessionEnded():
                self._settle(_failure(event))
                super().handle(event)
            case _:
                super().handle(event)

    def _on_progress(self, response: Response) -> None:
        if self.state is LegState.NEW:
            self._enter(LegState.RINGING)
        self.rang.set()
        body = sdp_body(response)
        if body:
            try:
                self._apply(self._negotiator.accept(body))
            except RemoteProtocolError:
                return  # Early media is a courtesy; the final answer decides.

    def _on_answered(self, response: Response) -> None:
        if self.ended:
            return
        if self.state is not LegState.ANSWERED:
            self._enter(LegState.ANSWERED)
        try:
            body = sdp_body(response)
            if body:
                self._apply(self._negotiator.accept(body))
        except RemoteProtocolError as error:
            self._settle(DialOutcome(False, response.status, error.reason))
            self._hang_up(EndReason.NETWORK, error.reason)
            return
        if self._started:
            self._settle(DialOutcome(True, response.status, response.reason))
        else:
            self._settle(DialOutcome(False, response.status, "answer-without-sdp"))
            self._hang_up(EndReason.NETWORK, "answer-without-sdp")

    def _settle(self, outcome: DialOutcome) -> None:
        if not self._outcome.done():
            self._outcome.set_result(outcome)


def _failure(event: SessionEnded) -> DialOutcome:
    if event.response is not None:
        return DialOutcome(False, event.response.status, event.response.reason)
    return DialOutcome(False, event.status, event.reason)
