"""One connection to a service over a WebSocket: bounded sending, errors without content."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from sipbot.agent.providers.counts import Counts
from sipbot.agent.providers.http import is_loopback
from sipbot.agent.providers.patience import Patience, insisted, refusal
from sipbot.errors import ProviderError

MAX_MESSAGE: Final = 4_194_304  # bytes
CLOSE_S: Final = 1.0  # seconds to close in order

_log = logging.getLogger("sipbot.websockets")
_log.setLevel(logging.CRITICAL)  # its lines hold headers, and those hold keys


class Socket:
    """A connection that is open."""

    def __init__(self, provider: str, inner: ClientConnection, patience: Patience) -> None:
        self.provider, self._inner, self._patience = provider, inner, patience

    async def send(self, message: Mapping[str, Any] | bytes) -> None:
        """Send JSON or bytes; waits while the service reads slowly. Raises ProviderError."""
        data = message if isinstance(message, bytes) else json.dumps(message)
        try:
            async with asyncio.timeout(self._patience.between_s):
                await self._inner.send(data)
        except TimeoutError:
            raise ProviderError(self.provider, "timeout", retry=True) from None
        except ConnectionClosed as closed:
            raise self._lost(closed) from None

    async def receive(self) -> dict[str, Any]:
        """The next message, which is a JSON object. Raises ProviderError."""
        try:
            data = await self._inner.recv()
        except ConnectionClosed as closed:
            raise self._lost(closed) from None
        try:
            message = json.loads(data)
        except ValueError:
            raise ProviderError(self.provider, "garbage") from None
        if not isinstance(message, dict):
            raise ProviderError(self.provider, "garbage")
        return message

    def _lost(self, closed: ConnectionClosed) -> ProviderError:
        """1008 is what services close with that did not like the key or the model."""
        policy = closed.rcvd is not None and closed.rcvd.code == 1008
        return ProviderError(self.provider, "refused" if policy else "cut-off", retry=not policy)


@asynccontextmanager
async def opened(
    provider: str,
    url: str,
    headers: Mapping[str, str],
    patience: Patience,
    counts: Counts,
    query: Mapping[str, str | list[str]] | None = None,
) -> AsyncGenerator[Socket, None]:
    """Connect, with other attempts where that may help. Raises ProviderError."""
    if query:
        url += ("&" if urlsplit(url).query else "?") + urlencode(query, doseq=True)

    async def attempt() -> ClientConnection:
        return await _connected(provider, url, headers, patience)

    inner = await insisted(patience, counts, attempt)
    try:
        yield Socket(provider, inner, patience)
    finally:
        await inner.close()


async def _connected(
    provider: str, url: str, headers: Mapping[str, str], patience: Patience
) -> ClientConnection:
    try:
        return await connect(
            url,
            additional_headers=dict(headers),
            open_timeout=patience.connect_s,
            close_timeout=CLOSE_S,
            max_size=MAX_MESSAGE,
            compression=None,  # audio does not shrink, and packing it costs time
            proxy=None if is_loopback(urlsplit(url).hostname or "") else True,
            logger=_log,
        )
    except InvalidStatus as error:
        answer = error.response
        raise refusal(provider, answer.status_code, answer.headers) from None
    except TimeoutError:
        raise ProviderError(provider, "timeout", retry=True) from None
    except OSError:
        raise ProviderError(provider, "unreachable", retry=True) from None
    except WebSocketException:
        raise ProviderError(provider, "garbage") from None


@asynccontextmanager
async def alongside(work: Coroutine[Any, Any, None]) -> AsyncGenerator[None, None]:
    """Run ``work`` as a task as long as the body runs."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
