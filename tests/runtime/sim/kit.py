"""A bot's WebSocket server that does what the test says, and answers HTTP requests beside it."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import numpy as np
from picows import (
    WSCloseCode,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

from sipbot.call.leg import Pcm
from sipbot.testing import tone

BOUND_S: Final = 20.0  # no wait in these tests may last longer
HOST: Final = "127.0.0.1"


class Talk(WSListener):
    """One connection. ``heard`` has all messages; ``react`` is called with each."""

    def __init__(self, bot: ScriptedBot, request: WSUpgradeRequest) -> None:
        self.bot = bot
        self.path = request.path.decode()
        self.headers = dict(request.headers)
        self.heard: list[dict[str, Any]] = []
        self.closed = asyncio.Event()
        self.close_code: int | None = None
        self.transport: WSTransport | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self.bot.talks.append(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            self.close_code = int.from_bytes(frame.get_payload_as_bytes()[:2], "big")
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()
            return
        message = json.loads(frame.get_payload_as_bytes())
        self.heard.append(message)
        self.bot.react(self, message)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.closed.set()

    def says(self, **message: Any) -> None:
        assert self.transport is not None
        self.transport.send(WSMsgType.TEXT, json.dumps(message).encode())

    def plays(self, pcm: Pcm) -> None:
        payload = base64.b64encode(pcm.astype("<i2").tobytes()).decode()
        self.says(event="media", stream_sid="x", media={"payload": payload})

    def closes(self, code: int = 1000) -> None:
        assert self.transport is not None
        self.transport.send(WSMsgType.CLOSE, code.to_bytes(2, "big"))
        self.transport.disconnect()

    def drops(self) -> None:
        """Let go of the connection without a word."""
        assert self.transport is not None
        self.transport.underlying_transport.abort()

    def events(self, name: str) -> list[dict[str, Any]]:
        return [one for one in self.heard if one["event"] == name]

    def audio(self) -> Pcm:
        """Everything that the caller said."""
        parts = [base64.b64decode(one["media"]["payload"]) for one in self.events("media")]
        return np.frombuffer(b"".join(parts), "<i2")


class ScriptedBot:
    """``react(talk, message)`` is the bot. ``refuse`` lists statuses for the next handshakes."""

    def __init__(self) -> None:
        self.talks: list[Talk] = []
        self.asked = 0  # handshakes
        self.refuse: list[int] = []
        self.react: Callable[[Talk, dict[str, Any]], None] = lambda talk, message: None
        self.port = 0

    @property
    def url(self) -> str:
        return f"ws://{HOST}:{self.port}/bot"

    def listener(self, request: WSUpgradeRequest) -> Talk | WSUpgradeResponseWithListener:
        self.asked += 1
        if self.refuse:
            response = WSUpgradeResponse.create_error_response(self.refuse.pop(0))
            return WSUpgradeResponseWithListener(response, None)
        return Talk(self, request)


@asynccontextmanager
async def scripted_bot() -> AsyncIterator[ScriptedBot]:
    bot = ScriptedBot()
    server = await ws_create_server(bot.listener, HOST, 0)
    bot.port = server.sockets[0].getsockname()[1]
    try:
        async with asyncio.timeout(BOUND_S):
            yield bot
    finally:
        server.close()
        for talk in bot.talks:
            if talk.transport is not None:
                talk.transport.disconnect(graceful=False)
        await server.wait_closed()


class Web:
    """Answers GETs from ``replies`` (path -> status and body, in turn); ``asked`` has them all."""

    def __init__(self) -> None:
        self.replies: dict[str, list[tuple[int, str]]] = {}
        self.asked: list[tuple[str, dict[str, str], dict[str, str]]] = []  # path, query, headers
        self.port = 0

    @property
    def base(self) -> str:
        return f"http://{HOST}:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = request.split("\r\n")
        target = urlsplit(first.split(" ")[1])
        headers = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
        self.asked.append((target.path, dict(parse_qsl(target.query)), headers))
        waiting = self.replies.get(target.path, [(404, "")])
        status, body = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write((head + body).encode())
        await writer.drain()
        writer.close()


@asynccontextmanager
async def web() -> AsyncIterator[Web]:
    found = Web()
    server = await asyncio.start_server(found.serve, HOST, 0)
    found.port = server.sockets[0].getsockname()[1]
    async with server:
        yield found


def greeting_bot(bot: ScriptedBot, ms: int = 600) -> None:
    """Speaks for so long when the stream starts, and closes when its mark comes back."""

    def react(talk: Talk, message: dict[str, Any]) -> None:
        if message["event"] == "start":
            for piece in np.array_split(tone(ms), max(ms // 100, 1)):
                talk.plays(piece)
            talk.says(event="mark", stream_sid="x", mark={"name": "end"})
        elif message["event"] == "mark":
            talk.closes()

    bot.react = react
