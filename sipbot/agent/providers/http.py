"""One service over HTTP: a warm pool of connections, time-outs, and errors without content."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import ssl
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import httpx

from sipbot.agent.providers.patience import PATIENT, Patience, in_time, refusal
from sipbot.errors import ProviderError

MAX_CONNECTIONS: Final = 200  # to one service, from one process
KEPT_CONNECTIONS: Final = 20  # idle ones that stay open
KEPT_S: Final = 120.0  # seconds that idle ones stay open, so that the next turn finds them
CLOSE_S: Final = 1.0  # seconds to close in order
SUCCESS: Final = 200


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. ``accept`` lists the beginnings of content types that are good answers."""

    path: str
    json: Any = field(default=None, repr=False)
    query: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict, repr=False)
    file: tuple[str, bytes, str] | None = field(default=None, repr=False)  # name, content, type
    accept: tuple[str, ...] = ()


class HttpService:
    """Requests to one base URL. Keys stand in ``headers`` and never in URLs or logs."""

    def __init__(
        self,
        provider: str,
        base_url: str,
        headers: Mapping[str, str],
        patience: Patience = PATIENT,
    ) -> None:
        self.provider, self.patience = provider, patience
        for talkative in ("httpx", "httpcore"):  # they write URLs and headers
            logging.getLogger(talkative).setLevel(logging.WARNING)
        self._base = httpx.URL(base_url.rstrip("/") + "/")
        self._http = httpx.AsyncClient(
            headers=dict(headers),
            timeout=httpx.Timeout(None, connect=patience.connect_s, pool=patience.connect_s),
            limits=httpx.Limits(
                max_connections=MAX_CONNECTIONS,
                max_keepalive_connections=KEPT_CONNECTIONS,
                keepalive_expiry=KEPT_S,
            ),
            follow_redirects=False,  # keys go to the host that was named and to no other
            verify=_trust() if self._base.scheme == "https" else True,
            trust_env=not is_loopback(self._base.host),
        )

    async def warm(self) -> None:
        """Open a connection; what is answered does not matter."""
        try:
            async with asyncio.timeout(self.patience.connect_s):
                await self._http.head(self._base)
        except (httpx.HTTPError, TimeoutError):
            return  # the first use will tell

    async def close(self) -> None:
        await self._http.aclose()

    async def pieces(self, ask: Ask) -> AsyncGenerator[bytes, None]:
        """One attempt: the answer's body as it comes. Raises ProviderError."""
        first_by = asyncio.get_running_loop().time() + self.patience.first_s
        response = await self._begin(ask, first_by)
        body = self._body(response)
        timed = in_time(self.provider, body, first_by, self.patience.between_s)
        try:
            async for piece in timed:
                yield piece
        finally:
            await timed.aclose()
            await body.aclose()
            await _closed(response)

    async def whole(self, ask: Ask, limit: int) -> bytes:
        """One attempt: the whole body, up to ``limit`` bytes. Raises ProviderError."""
        body = bytearray()
        pieces = self.pieces(ask)
        try:
            async for piece in pieces:
                body += piece
                if len(body) > limit:
                    raise ProviderError(self.provider, "babble")
        finally:
            await pieces.aclose()
        return bytes(body)

    async def _begin(self, ask: Ask, first_by: float) -> httpx.Response:
        """Send, and look at status and kind of the answer."""
        files = {"file": ask.file} if ask.file is not None else None
        request = self._http.build_request(
            "POST",
            self._base.join(ask.path),
            params=dict(ask.query) or None,
            json=ask.json,
            data=dict(ask.form) or None,
            files=files,
        )
        try:
            async with asyncio.timeout_at(first_by):
                response = await self._http.send(request, stream=True)
        except (httpx.TransportError, TimeoutError) as error:
            raise self._lost(error) from None
        kind = response.headers.get("content-type", "").lower()
        if response.status_code != SUCCESS:
            wrong = refusal(self.provider, response.status_code, response.headers)
        elif ask.accept and not kind.startswith(ask.accept):
            wrong = ProviderError(self.provider, "garbage")
        else:
            return response
        await _closed(response)
        raise wrong

    async def _body(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        try:
            async for piece in response.aiter_bytes():
                yield piece
        except httpx.DecodingError:
            raise ProviderError(self.provider, "garbage") from None
        except httpx.TransportError:
            raise ProviderError(self.provider, "cut-off", retry=True) from None

    def _lost(self, error: Exception) -> ProviderError:
        """Causes are not chained: httpx's exceptions hold the whole request."""
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
            return ProviderError(self.provider, "unreachable", retry=True)
        if isinstance(error, httpx.PoolTimeout):
            return ProviderError(self.provider, "too-many-requests", retry=False)
        if isinstance(error, TimeoutError | httpx.TimeoutException):
            return ProviderError(self.provider, "timeout", retry=True)
        return ProviderError(self.provider, "cut-off", retry=True)


async def _closed(response: httpx.Response) -> None:
    try:
        async with asyncio.timeout(CLOSE_S):
            await response.aclose()
    except (httpx.HTTPError, TimeoutError):
        return


@cache
def _trust() -> ssl.SSLContext:
    """One set of authorities for all services: reading them takes tens of milliseconds."""
    return httpx.create_ssl_context()


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine, which no proxy is asked for."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
