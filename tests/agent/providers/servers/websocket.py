"""A WebSocket server whose conversation a test writes by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response


@dataclass
class Talk:
    """One connection, as the server sees it."""

    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    socket: ServerConnection
    got: list[Any] = field(default_factory=list)  # JSON of texts, bytes as they are

    async def next(self) -> Any:
        """The next message: bytes, or what the JSON holds. Raises ConnectionClosed."""
        data = await self.socket.recv()
        self.got.append(data if isinstance(data, bytes) else json.loads(data))
        return self.got[-1]

    async def until(self, kind: str) -> Any:
        """Messages up to the JSON whose ``type`` is ``kind``."""
        while True:
            message = await self.next()
            if isinstance(message, dict) and message.get("type") == kind:
                return message

    async def say(self, *messages: Any) -> None:
        for message in messages:
            await self.socket.send(
                message if isinstance(message, str | bytes) else json.dumps(message)
            )

    def cut(self) -> None:
        """Break the connection without a word."""
        self.socket.transport.abort()


Handler = Callable[[Talk], Awaitable[None]]


@dataclass
class Service:
    url: str = ""
    talks: list[Talk] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)  # a client closed


@asynccontextmanager
async def talking(
    handler: Handler, *refusals: int, **headers: str
) -> AsyncGenerator[Service, None]:
    """Serves ``handler``; the first connections are refused with these HTTP statuses."""
    service, left = Service(), list(refusals)

    def refuse(socket: ServerConnection, _: Request) -> Response | None:
        if not left:
            return None
        response = socket.respond(HTTPStatus(left.pop(0)), "SECRET WORDS")
        for name, value in headers.items():
            response.headers[name.replace("_", "-")] = value
        return response

    async def connected(socket: ServerConnection) -> None:
        assert socket.request is not None
        parts = urlsplit(socket.request.path)
        named = {name.lower(): value for name, value in socket.request.headers.raw_items()}
        talk = Talk(parts.path, parse_qs(parts.query), named, socket)
        service.talks.append(talk)
        try:
            await handler(talk)
            await socket.wait_closed()
        except ConnectionClosed:
            pass
        service.ended.set()

    async with serve(connected, "127.0.0.1", 0, process_request=refuse, close_timeout=1) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        service.url = f"ws://127.0.0.1:{port}/v1"
        yield service
        server.close(close_connections=True)


async def mute(_: Talk) -> None:
    """Accepts the connection, and reads and says nothing."""
