"""A small HTTP/1.1 server whose answers a test writes by hand, so that it can also break them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Answer:
    """Writes one answer. Without ``end`` the body was cut when the handler returns."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.ended = False

    async def begin(self, content_type: str, status: int = 200, **headers: str) -> None:
        lines = [f"HTTP/1.1 {status} X", f"Content-Type: {content_type}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        lines += ["Transfer-Encoding: chunked", "", ""]
        self._writer.write("\r\n".join(lines).encode())
        await self._writer.drain()

    async def piece(self, data: bytes | str) -> None:
        raw = data.encode() if isinstance(data, str) else data
        self._writer.write(b"%x\r\n%s\r\n" % (len(raw), raw))
        await self._writer.drain()

    async def end(self) -> None:
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()
        self.ended = True

    async def whole(self, content_type: str, data: bytes | str, status: int = 200) -> None:
        await self.begin(content_type, status)
        await self.piece(data)
        await self.end()

    async def refuse(self, status: int, **headers: str) -> None:
        await self.begin("application/json", status, **headers)
        await self.piece('{"error": {"message": "no, because you said SECRET WORDS"}}')
        await self.end()


Handler = Callable[[Request, Answer], Awaitable[None]]


@dataclass
class Service:
    """What a test sees: the address, what was asked, and how often somebody connected."""

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    gone: asyncio.Event = field(default_factory=asyncio.Event)  # a client left before the end

    def of(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncGenerator[Service, None]:
    """Answers POST by ``handler`` and HEAD by 404."""
    service = Service()
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        service.connections += 1
        try:
            while await _serve(service, handler, reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            service.gone.set()  # the client went, or the test is over
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    service.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield service
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _serve(
    service: Service,
    handler: Handler,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> bool:
    """One request; whether the connection goes on."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    parts = urlsplit(target)
    request = Request(method, parts.path, parse_qs(parts.query), headers, body)
    if method == "HEAD":
        writer.write(b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        return True
    service.requests.append(request)
    answer = Answer(writer)
    leaving = asyncio.create_task(reader.read(1))  # nothing comes but the end
    handling = asyncio.ensure_future(handler(request, answer))
    try:
        await asyncio.wait({leaving, handling}, return_when=asyncio.FIRST_COMPLETED)
        if not handling.done():
            service.gone.set()
            return False
        await handling
    finally:
        for one in (leaving, handling):
            one.cancel()
        await asyncio.gather(leaving, handling, return_exceptions=True)
    return answer.ended


def script(*handlers: Handler) -> Handler:
    """Each request gets the next of ``handlers``; the last one serves all others."""
    left = list(handlers)

    async def handle(request: Request, answer: Answer) -> None:
        chosen = left.pop(0) if len(left) > 1 else left[0]
        await chosen(request, answer)

    return handle


def refusing(status: int, **headers: str) -> Handler:
    async def handle(_: Request, answer: Answer) -> None:
        await answer.refuse(status, **headers)

    return handle


async def hanging(_: Request, __: Answer) -> None:
    """Takes the request and never says anything."""
    await asyncio.Event().wait()
