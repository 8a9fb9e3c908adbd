"""Agents that cost more than they should."""

from __future__ import annotations

import asyncio
import time

from sipbot.call.call import Call


class Burns:
    """Computes nearly all the time, in small pieces."""

    async def run(self, call: Call) -> None:
        ending = asyncio.ensure_future(call.wait_ended())
        while not ending.done():
            until = time.process_time() + 0.03
            while time.process_time() < until:
                pass
            await asyncio.sleep(0.005)


class Stalls:
    """Stops its process again and again, without computing."""

    async def run(self, call: Call) -> None:
        ending = asyncio.ensure_future(call.wait_ended())
        while not ending.done():
            time.sleep(0.12)  # noqa: ASYNC251 - that is its nature
            await asyncio.sleep(0.02)


class Waits:
    async def run(self, call: Call) -> None:
        await call.wait_ended()
