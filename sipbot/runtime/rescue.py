"""What becomes of callers whose agent has died: an apology, then a transfer or a clean end."""

from __future__ import annotations

import asyncio
from typing import Final

import numpy as np

from sipbot.call.leg import EndReason, Pcm
from sipbot.errors import SipbotError
from sipbot.legs.sip import SipLeg
from sipbot.media.slots import RATE
from sipbot.ops.logs import Logger

SPARE_S: Final = 0.5  # seconds beyond its length that an apology may take to be heard

_NOTHING: Final = np.empty(0, dtype=np.int16)


class Rescuer:
    """Speaks with the voice of nobody: the apology is PCM at 8 kHz, made beforehand.

    ``transfer_to`` is a SIP URI, or None to end the calls.
    """

    def __init__(self, log: Logger, transfer_to: str | None) -> None:
        self.apology: Pcm = _NOTHING
        self.transfer_to = transfer_to
        self._log = log
        # Apologies that began together end together: one by one, so that audio goes on in between.
        self._goodbyes = asyncio.Lock()

    async def rescue(self, leg: SipLeg, call_id: str) -> None:
        """See an answered leg to its end."""
        leg.loopback(False)
        try:
            async with asyncio.timeout(len(self.apology) / RATE + SPARE_S):
                await self._speak(leg)
        except TimeoutError:  # on hold, or nothing may be sent: nobody would hear it anyway
            self._log.warning("apology not heard", call_id=call_id)
        reason = await self._hand_on(leg, call_id)
        async with self._goodbyes:
            await asyncio.sleep(0)
            await leg.hangup(reason)

    async def _speak(self, leg: SipLeg) -> None:
        audio, rest = leg.audio, self.apology
        await audio.clear()
        while len(rest) and not leg.ended:
            rest = rest[audio.write(rest) :]
            if not await audio.wait_consumed(audio.written):
                return

    async def _hand_on(self, leg: SipLeg, call_id: str) -> EndReason:
        """Try the transfer; why the leg ends now."""
        if self.transfer_to is None or leg.ended:
            return EndReason.AGENT_FAILED
        try:
            result = await leg.transfer(self.transfer_to)
        except SipbotError as error:
            self._log.warning("rescue failed", call_id=call_id, error=type(error).__name__)
            return EndReason.AGENT_FAILED
        self._log.info("rescued", call_id=call_id, accepted=result.accepted, detail=result.detail)
        return EndReason.TRANSFERRED if result.accepted else EndReason.AGENT_FAILED
