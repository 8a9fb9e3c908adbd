"""Campaigns and the do-not-call list, straight in the store: no server needs to run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TextIO, TypeVar

from sipbot.clock import Clock, SystemClock
from sipbot.errors import SipbotError
from sipbot.ops.config import Config
from sipbot.ops.config_exotel import default_store_url
from sipbot.outbound.csvfiles import NumberList, read_numbers, result_lines
from sipbot.outbound.numbers import canonical
from sipbot.outbound.plan import Plan
from sipbot.runtime.directories import state_directory
from sipbot.store.campaigns import Campaign, Campaigns, DoNotCall
from sipbot.store.engine import Store
from sipbot.store.jobs import Jobs

T = TypeVar("T")


class NoCampaign(SipbotError):
    """There is no campaign of this name."""


class NotPossible(SipbotError):
    """The configuration has no such agent or trunk."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of a list. ``added`` numbers are new to the campaign."""

    added: int
    listed: NumberList


class CampaignDesk:
    """What ``sipbot campaign`` does, over an open store. Everything may raise StoreError."""

    def __init__(self, config: Config, store: Store, clock: Clock) -> None:
        self._config, self._clock = config, clock
        self._jobs, self._campaigns = Jobs(store), Campaigns(store)
        self._never = DoNotCall(store)

    async def load(self, name: str, plan: Plan, text: str) -> Loaded:
        """Make a campaign of a CSV file, or add to it. Raises NotPossible, ValueError."""
        self._check(plan)
        listed = read_numbers(text)
        added = await self._campaigns.load(name, plan, listed.rows, self._clock.wall())
        return Loaded(added, listed)

    async def run(self, name: str, *, running: bool) -> Campaign:
        """Start or stop. Raises NoCampaign."""
        if not await self._campaigns.run(name, running=running):
            raise NoCampaign(f"there is no campaign {name}")
        return await self.get(name)

    async def get(self, name: str) -> Campaign:
        """Raises NoCampaign."""
        found = await self._campaigns.get(name)
        if found is None:
            raise NoCampaign(f"there is no campaign {name}")
        return found

    async def all(self) -> Sequence[Campaign]:
        """Every campaign with its counts."""
        return [await self.get(one.name) for one in await self._campaigns.list()]

    async def remove(self, name: str) -> None:
        """Raises NoCampaign, CampaignBusy."""
        if not await self._campaigns.remove(name):
            raise NoCampaign(f"there is no campaign {name}")

    async def results(self, name: str, out: TextIO) -> int:
        """Write every number with what came of it as CSV; how many. Raises NoCampaign."""
        campaign, count = await self.get(name), 0
        out.writelines(result_lines([], campaign.columns))
        async for job in self._jobs.of_campaign(name):
            out.writelines(list(result_lines([job], campaign.columns))[1:])
            count += 1
        return count

    async def never_call(self, numbers: Sequence[str]) -> int:
        """Add numbers to the do-not-call list; how many were new. Raises ValueError."""
        return await self._never.add([canonical(one) for one in numbers], self._clock.wall())

    async def may_call(self, number: str) -> bool:
        """Take a number off the list; whether it was on it. Raises ValueError."""
        return await self._never.remove(canonical(number))

    async def never_called(self) -> Sequence[str]:
        return [number async for number in self._never.all()]

    def _check(self, plan: Plan) -> None:
        config = self._config
        trunk = config.trunks.get(plan.trunk)
        if plan.agent not in config.agents:
            raise NotPossible(f"the configuration has no agent {plan.agent}")
        if trunk is None or trunk.outbound is None:
            raise NotPossible(f"the configuration has no trunk {plan.trunk} with outbound calls")
        if not (trunk.outbound.uri if plan.via == "sip" else trunk.outbound.api):
            raise NotPossible(f"the trunk {plan.trunk} makes no calls by {plan.via}")


@asynccontextmanager
async def _open(config: Config) -> AsyncIterator[CampaignDesk]:
    store = await Store.open(config.store.url or default_store_url(state_directory()))
    try:
        yield CampaignDesk(config, store, SystemClock())
    finally:
        await store.close()


def at_desk(config: Config, work: Callable[[CampaignDesk], Awaitable[T]]) -> T:
    """The result of ``work`` with an open store. Raises what it raises, and StoreError."""

    async def run() -> T:
        async with _open(config) as desk:
            return await work(desk)

    return asyncio.run(run())


__all__ = ["Campaign", "CampaignDesk", "Loaded", "NoCampaign", "NotPossible", "at_desk"]
