"""Exotel's HTTP requests to a bot: Passthru, Connect, dynamic stream URLs."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import httpx

from sipbot.exotel.sim.facts import Query
from sipbot.exotel.sim.reply import MAX_REPLY_BYTES

USER_AGENT: Final = "Exotel (sipbot sim)"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; ``status`` 0 when none came, with the cause in ``failure``."""

    status: int
    body: bytes = b""
    failure: str = ""


class Callbacks:
    """Sends GETs. ``base`` stands before URLs that begin with ``/``."""

    def __init__(self, base: str, *, insecure: bool = False) -> None:
        self._base = base.rstrip("/")
        # Neither proxies nor passwords of the environment: what is tested is the bot.
        self._client = httpx.AsyncClient(
            verify=not insecure, trust_env=False, follow_redirects=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    def absolute(self, url: str) -> str:
        """``url`` with its host."""
        return f"{self._base}{url}" if url.startswith("/") else url

    async def get(self, url: str, query: Query, *, timeout_s: float, version: str = "") -> Reply:
        """One request. ``version`` goes into the header ``Exotel-Version``."""
        headers = {"User-Agent": USER_AGENT, **({"Exotel-Version": version} if version else {})}
        target = httpx.URL(self.absolute(url))
        merged: list[tuple[str, str | int | float | bool | None]] = [
            *target.params.multi_items(),
            *query,
        ]
        try:
            answer = await self._client.get(
                target.copy_with(query=None),
                params=httpx.QueryParams(merged),
                headers=headers,
                timeout=timeout_s,
            )
        except httpx.TimeoutException:
            return Reply(0, failure="timed out")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return Reply(0, failure=type(error).__name__)
        return Reply(answer.status_code, answer.content[: MAX_REPLY_BYTES + 1])
