"""The Transfers port: how a caller is sent on. Agents only ever say ``call.transfer(target)``."""

from __future__ import annotations

from typing import Protocol

from sipbot.call.leg import Leg, TransferResult


class Transfers(Protocol):
    """A way to send callers on. Raises nothing but ``CancelledError``."""

    async def transfer(self, leg: Leg, target: str, call_id: str) -> TransferResult:
        """Arrange that the caller of ``leg`` gets to ``target``.

        When it is accepted, the call ends for ``EndReason.TRANSFERRED``; else it goes on, and the
        agent is told ``detail``, a constant text.
        """
        ...


class LegTransfers:
    """Every leg by itself: over SIP a blind transfer by REFER."""

    async def transfer(self, leg: Leg, target: str, call_id: str) -> TransferResult:
        return await leg.transfer(target)
