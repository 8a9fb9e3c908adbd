"""Agents for the tests of transfers across nodes."""

from __future__ import annotations

from sipbot.call.call import Call


class Sends:
    """Sends every caller to the front desk at once."""

    async def run(self, call: Call) -> None:
        await call.transfer("front-desk")


class Ends:
    """Ends every call at once."""

    async def run(self, call: Call) -> None:
        await call.hangup()
