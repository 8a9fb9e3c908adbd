"""Clients that talk to the stand-in, within the process or over loopback."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import httpx
import uvicorn

from sipbot.exotel.rest.account import Account
from sipbot.exotel.rest.calls import Format
from sipbot.exotel.rest.client import ExotelClient
from sipbot.exotel.rest.requester import RetryPolicy
from sipbot.testing.exotel_api import FakeExotel

ACCOUNT = Account("acme1", "key1", "token1")
NUMBER = "+918012345678"
OTHER_NUMBER = "+918012345679"
START_LIMIT_S = 10.0


class Waits(list[float]):
    """Stands in for sleeping: notes how long."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


class Cutting(httpx.AsyncBaseTransport):
    """Loses connections by script: the next requests fail with these errors, before or after
    the stand-in carried them out. None lets a request through."""

    def __init__(self, fake: FakeExotel, *script: httpx.TransportError | None) -> None:
        self._inner = httpx.ASGITransport(fake)
        self.script = deque(script)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        error = self.script.popleft() if self.script else None
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            raise error
        response = await self._inner.handle_async_request(request)
        if error is not None:
            raise error
        return response


def client(
    fake: FakeExotel,
    *,
    account: Account = ACCOUNT,
    waits: Waits | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    v1_answers: Format = "json",
    policy: RetryPolicy | None = None,
) -> ExotelClient:
    return ExotelClient(
        account,
        v1_answers=v1_answers,
        policy=policy,
        transport=transport or httpx.ASGITransport(fake),
        sleep=Waits() if waits is None else waits,
        chance=lambda: 1.0,
    )


class Current:
    """The stand-in of the moment at an address that stays."""

    def __init__(self) -> None:
        self.fake = FakeExotel()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.fake(scope, receive, send)


@contextlib.contextmanager
def served(fake: FakeExotel | Current) -> Iterator[str]:
    """The stand-in on a loopback port; its base URL."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        config = uvicorn.Config(fake, log_config=None, ws="none", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        try:
            deadline = time.monotonic() + START_LIMIT_S
            while not server.started:
                assert time.monotonic() < deadline, "the stand-in did not start"
                time.sleep(0.01)
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(START_LIMIT_S)
