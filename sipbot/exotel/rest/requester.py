"""Sends requests to Exotel and repeats them where that is safe.

What may be repeated: everything that certainly was not carried out (no connection, 429), and reads,
PUT and DELETE after time-outs and 5xx. A POST whose fate is unknown is never sent again: a second
call could ring, a second destination could stand in the trunk.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeAlias, TypeVar

import httpx

from sipbot.exotel.rest.account import Account, is_loopback
from sipbot.exotel.rest.errors import (
    ExotelError,
    NotSent,
    OutcomeUnknown,
    Refused,
    Repeat,
    UnreadableAnswer,
)
from sipbot.ops.logs import get_logger

CONNECT_TIMEOUT_S: Final = 5.0
READ_TIMEOUT_S: Final = 15.0
ANSWER_TIMEOUT_S: Final = 30.0  # for one attempt, from connecting to the last byte
MAX_CONNECTIONS: Final = 10  # Exotel allows 50 for an account
MAX_ANSWER_BYTES: Final = 4_194_304
SAFE_METHODS: Final = frozenset({"GET", "PUT", "DELETE"})  # done twice is as done once

Pairs: TypeAlias = tuple[tuple[str, str], ...]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """One request. ``operation`` completes "cannot ..."; ``secrets`` are those in its body."""

    operation: str
    method: str
    url: str
    query: Pairs = ()
    json: Any = field(default=None, repr=False)
    form: Pairs = field(default=(), repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, read whole. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how soon. Waits double from ``first_s``, cut at ``longest_s``, and vary by a
    random part so that many clients do not come back at once. A Retry-After counts instead; one
    that is longer than ``longest_s`` ends the attempts."""

    attempts: int = 4
    first_s: float = 0.5
    longest_s: float = 30.0

    def wait_s(self, attempt: int, error: ExotelError, chance: float) -> float | None:
        """Seconds before the attempt after ``attempt``; None when it is not worth waiting."""
        asked = error.retry_after_s if isinstance(error, Refused) else None
        if asked is not None:
            return asked if asked <= self.longest_s else None
        return float(min(self.longest_s, self.first_s * 2 ** (attempt - 1)) * (0.5 + chance / 2))


class Requester:
    """One pool of connections for one account.

    ``transport`` replaces the network, for tests; ``sleep`` and ``chance`` replace waiting and
    randomness.
    """

    def __init__(
        self,
        account: Account,
        *,
        policy: RetryPolicy | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.account = account
        self._policy = policy or RetryPolicy()
        self._sleep = sleep
        self._chance = chance
        self._log = get_logger("exotel")
        # Its lines at INFO hold whole URLs, and those hold telephone numbers.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        base = httpx.URL(account.api)
        self._http = httpx.AsyncClient(
            auth=httpx.BasicAuth(account.api_key, account.api_token),
            headers={"Accept": "application/json, application/xml;q=0.9"},
            timeout=httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS),
            follow_redirects=False,  # keys go to the host that was named and to no other
            trust_env=not is_loopback(base.host),  # proxies of the environment, not for loopback
            transport=transport,
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def call(self, request: Request, read: Callable[[Request, Answer], T]) -> T:
        """Send ``request``, give the answer to ``read``, repeat what may be repeated.

        Raises an ``ExotelError`` (also the one that ``read`` raised), nothing else.
        """
        attempt = 0
        while True:
            attempt += 1
            try:
                return read(request, await self._once(request))
            except ExotelError as error:
                error.attempt = attempt
                wait_s = self._wait_s(request, error)
                if wait_s is None:
                    raise
                failure = type(error).__name__
            self._log.warning(
                "exotel request repeated",
                operation=request.operation,
                failure=failure,
                attempt=attempt,
                wait_ms=round(wait_s * 1000),
            )
            await self._sleep(wait_s)

    def _wait_s(self, request: Request, error: ExotelError) -> float | None:
        safe = error.repeat is Repeat.ALWAYS or (
            error.repeat is Repeat.IF_IDEMPOTENT and request.method in SAFE_METHODS
        )
        if not safe or error.attempt >= self._policy.attempts:
            return None
        return self._policy.wait_s(error.attempt, error, self._chance())

    async def _once(self, request: Request) -> Answer:
        """One attempt. Causes are not chained: httpx's exceptions hold the whole request."""
        operation = request.operation
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await self._exchange(request)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as e:
            host = httpx.URL(request.url).host
            raise NotSent(operation, f"no connection to {host} ({type(e).__name__})") from None
        except (httpx.TransportError, TimeoutError) as error:
            text = f"no answer came ({type(error).__name__}); it may have been done all the same"
            raise OutcomeUnknown(operation, text) from None
        except httpx.DecodingError:
            raise UnreadableAnswer(operation, "the answer is packed wrongly") from None

    async def _exchange(self, request: Request) -> Answer:
        built = self._http.build_request(
            request.method,
            request.url,
            params=list(request.query) or None,
            json=request.json,
            data=_form(request.form) if request.form else None,
        )
        if request.json is not None:
            built.headers["Content-Type"] = "application/json"  # else 415 (code 1011)
        response = await self._http.send(built, stream=True)
        try:
            body = bytearray()
            async for part in response.aiter_bytes():
                body += part
                if len(body) > MAX_ANSWER_BYTES:
                    text = f"the answer is bigger than {MAX_ANSWER_BYTES} bytes"
                    raise UnreadableAnswer(request.operation, text)
        finally:
            await response.aclose()
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, headers, bytes(body))


def _form(pairs: Pairs) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return values


def retry_after_s(answer: Answer, now: datetime | None = None) -> float | None:
    """Seconds that the answer asks to wait (RFC 9110 section 10.2.3: a number or a date)."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal() and len(text) <= 9:
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())


__all__ = ["Answer", "Request", "Requester", "RetryPolicy", "retry_after_s"]
