"""Echo without an agent: the line gives the caller's audio back by itself."""

from __future__ import annotations

from sipbot.call.call import Call


class LoopbackAgent:
    """Shows what the line alone costs and delays, as the yardstick for everything above it."""

    async def run(self, call: Call) -> None:
        call.loop_back()
        await call.wait_ended()
