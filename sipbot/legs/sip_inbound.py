"""The leg of an incoming INVITE: ring, then answer or reject."""

from __future__ import annotations

from sipbot.call.leg import EndReason
from sipbot.legs.negotiation import Agreement
from sipbot.legs.sip import LegState, SipLeg


class InboundSipLeg(SipLeg):
    """The leg of an INVITE that we received. ``prepare`` comes before everything else."""

    _agreement: Agreement | None = None
    _body: bytes = b""

    def prepare(self, offer: bytes) -> None:
        """Work out our answer, or our offer, before anything rings. Raises SdpError."""
        if offer:
            self._agreement, self._body = self._negotiator.answer(offer)
            self._describe(self._agreement)
        else:
            self._body = self._negotiator.offer()

    def abandon(self) -> None:
        """Give the media stream back before anybody knows this leg."""
        self._enter(LegState.ENDED)
        self._audio.end()
        self._stream.close()

    async def ring(self) -> None:
        if self.state is LegState.NEW:
            self._enter(LegState.RINGING)
            self._control.ring()

    async def answer(self) -> None:
        if self.state not in (LegState.NEW, LegState.RINGING):
            return
        self._enter(LegState.ANSWERED)
        if self._agreement is not None:
            # The stream runs before the 200 leaves, so that the caller's first words are heard.
            self._apply(self._agreement)
        self._control.answer(self._body)

    async def reject(self, status: int, reason: str = "") -> None:
        if self.state in (LegState.NEW, LegState.RINGING):
            self._end(EndReason.REJECTED, "rejected")
            self._control.reject(status, reason=reason)
