"""One client for all of Exotel's interfaces that sipbot uses."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any

import httpx

from sipbot.exotel.rest.account import Account
from sipbot.exotel.rest.calls import Calls, Format
from sipbot.exotel.rest.legs import Legs
from sipbot.exotel.rest.lookups import Lookups
from sipbot.exotel.rest.requester import Requester, RetryPolicy
from sipbot.exotel.rest.trunks import Trunks


class ExotelClient:
    """``async with ExotelClient(account) as exotel``: connections close at the end.

    ``v1_answers`` asks the v1 interfaces for JSON or XML. The rest is for tests, see ``Requester``.
    """

    def __init__(
        self,
        account: Account,
        *,
        v1_answers: Format = "json",
        policy: RetryPolicy | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.account = account
        self._requester = Requester(
            account, policy=policy, transport=transport, sleep=sleep, chance=chance
        )
        self.trunks = Trunks(self._requester)
        self.calls = Calls(self._requester, v1_answers)
        self.legs = Legs(self._requester)
        self.lookups = Lookups(self._requester)

    async def close(self) -> None:
        await self._requester.close()

    async def __aenter__(self) -> ExotelClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
