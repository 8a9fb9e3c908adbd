"""A server of streams in this process, and Exotel on the other side of real sockets."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from sipbot.agent.port import Agent
from sipbot.call.call import Call
from sipbot.call.leg import Pcm
from sipbot.clock import SystemClock
from sipbot.http.app import make_app
from sipbot.http.server import HttpParts, HttpServer
from sipbot.ops.config import Config
from sipbot.ops.counters import Counters
from sipbot.ops.logs import get_logger
from sipbot.runtime.agent_parts import host_parts
from sipbot.runtime.assembly import admission, trunk_limits
from sipbot.runtime.capacity import Capacity
from sipbot.runtime.doorkeeper import Doorkeeper
from sipbot.runtime.host import LocalHost
from sipbot.runtime.stream_parts import server_tls, stream_rules
from sipbot.runtime.streams import StreamDesk
from sipbot.runtime.web import http_socket, http_urls
from tests.http.kit import Fixed

WAIT_S = 10.0  # bound of every wait for the other side
FRAME = 160  # samples of 20 ms at 8 kHz


class Recorder:
    """An agent that remembers its calls and does what the test says."""

    def __init__(self, script: Callable[[Call], Any] | None = None) -> None:
        self.calls: asyncio.Queue[Call] = asyncio.Queue()
        self._script = script

    async def run(self, call: Call) -> None:
        self.calls.put_nowait(call)
        if self._script is None:
            await call.wait_ended()
        else:
            await self._script(call)


@dataclass
class Bot:
    """What serves, seen from inside."""

    desk: StreamDesk
    host: LocalHost
    server: HttpServer
    counters: Counters
    capacity: Capacity
    url: str  # http://127.0.0.1:PORT
    forbidden: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def ws(self, path: str) -> str:
        return self.url.replace("http", "ws", 1) + path

    async def settled(self) -> None:
        """Wait until nothing is left of any stream."""
        async with asyncio.timeout(WAIT_S):
            await self.desk.wait_empty()
            await self.host.wait_empty()


@asynccontextmanager
async def serving(agents: Mapping[str, Agent] | None = None, **document: Any) -> AsyncIterator[Bot]:
    """Serve ``agents``, by default one that only waits, as ``bot``; plus what is configured."""
    named = {"bot": Recorder(), **(agents or {})}
    document.setdefault("agents", {})
    document["agents"] |= {name: {"type": "echo"} for name in named}
    document.setdefault("http", {"listen": "http://127.0.0.1:0"})
    config, clock, counters = Config.model_validate(document), SystemClock(), Counters()
    parts = host_parts(config, None, clock, counters)
    parts.agents.update(named)  # type: ignore[attr-defined]  # a dictionary as it is made
    listening = http_socket(config)
    assert listening is not None
    (url,) = http_urls(config, listening)
    forbidden: list[str] = []
    async with asyncio.TaskGroup() as tasks:
        host = LocalHost(parts, tasks)
        capacity = Capacity(config.limits.max_calls, trunk_limits(config))
        desk = StreamDesk(
            stream_rules(config),
            host,
            capacity,
            lambda: forbidden,
            counters,
            get_logger("streams"),
            tasks,
        )
        door = Doorkeeper(admission(config), counters, get_logger("http"))
        served = HttpParts(
            app=make_app(Fixed(), clock),
            door=desk,
            trusted=config.http.trusted_proxies,
            tls=server_tls(config.http.tls),
            dropped=door.dropped,
        )
        server = HttpServer(listening, served, clock, get_logger("http"))
        await server.start()
        try:
            yield Bot(desk, host, server, counters, capacity, url, forbidden)
        finally:
            await desk.drain(0.0)
            await server.close()
            async with asyncio.timeout(WAIT_S):
                await host.wait_empty()


class Exotel(WSListener):
    """One stream, Exotel's side. ``heard`` grows with the bot's audio."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.heard: Pcm = np.zeros(0, np.int16)
        self.closed: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self.returns_marks = True
        self.transport: WSTransport | None = None
        self._news = asyncio.Event()

    @classmethod
    async def dial(
        cls,
        url: str,
        headers: Mapping[str, str] | None = None,
        context: ssl.SSLContext | None = None,
    ) -> Self:
        """Connect; raises WSHandshakeError with the answer when that is refused."""
        _, listener = await ws_connect(
            cls,
            url,
            extra_headers=dict(headers or {}),
            ssl_context=context,
            websocket_handshake_timeout=WAIT_S,
        )
        assert isinstance(listener, cls)
        return listener

    # What picows tells

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            code = int(frame.get_close_code())  # type: ignore[call-overload]  # one of C
            self._over(code, frame.get_close_reason() or "")
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()
        elif frame.msg_type == WSMsgType.PONG:
            self._note({"event": "pong", "data": frame.get_payload_as_bytes()})
        else:
            self._note(json.loads(frame.get_payload_as_utf8_text()))

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._over(1006, "")

    # What Exotel does

    def says(self, message: Mapping[str, Any] | str | bytes) -> None:
        assert self.transport is not None
        text = message if isinstance(message, str | bytes) else json.dumps(message)
        self.transport.send(WSMsgType.TEXT, text)

    def start(self, **more: Any) -> Self:
        """Say connected and start."""
        self.says({"event": "connected"})
        self.says(start_message(**more))
        return self

    def speaks(self, pcm: Pcm) -> None:
        payload = base64.b64encode(pcm.astype("<i2").tobytes()).decode()
        self.says({"event": "media", "stream_sid": "s1", "media": {"payload": payload}})

    def presses(self, digit: str) -> None:
        self.says({"event": "dtmf", "stream_sid": "s1", "dtmf": {"digit": digit}})

    def stops(self, reason: str = "callended") -> None:
        self.says({"event": "stop", "stream_sid": "s1", "stop": {"reason": reason}})

    def leaves(self, code: WSCloseCode = WSCloseCode.OK) -> None:
        assert self.transport is not None
        self.transport.send_close(code)

    async def wait(self, event: str, count: int = 1) -> dict[str, Any]:
        """Wait for so many messages of this kind; returns the last of them."""
        async with asyncio.timeout(WAIT_S):
            while len(found := self.of(event)) < count:
                self._news.clear()
                await self._news.wait()
        return found[count - 1]

    async def hear(self, samples: int) -> Pcm:
        """Wait for so much audio; returns all of it."""
        async with asyncio.timeout(WAIT_S):
            while len(self.heard) < samples:
                self._news.clear()
                await self._news.wait()
        return self.heard

    async def end(self) -> tuple[int, str]:
        """Wait for the end: close code and reason."""
        async with asyncio.timeout(WAIT_S):
            return await self.closed

    def of(self, event: str) -> list[dict[str, Any]]:
        return [one for one in self.messages if one["event"] == event]

    def _note(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        if message["event"] == "media":
            payload = base64.b64decode(message["media"]["payload"])
            self.heard = np.concatenate((self.heard, np.frombuffer(payload, "<i2")))
        elif message["event"] == "mark" and self.returns_marks:
            self.says(message)
        self._news.set()

    def _over(self, code: int, reason: str) -> None:
        if not self.closed.done():
            self.closed.set_result((code, reason))


def start_message(**more: Any) -> dict[str, Any]:
    """Exotel's start; ``more`` replaces parts of what is inside."""
    inside = {
        "stream_sid": "s1",
        "call_sid": "c1",
        "account_sid": "a1",
        "from": "09812345678",
        "to": "08064061518",
        "custom_parameters": {},
        "media_format": {"encoding": "base64", "sample_rate": "8000", "bit_rate": "128kbps"},
    }
    return {"event": "start", "sequence_number": 1, "stream_sid": "s1", "start": inside | more}


def basic(user: str, password: str) -> dict[str, str]:
    """The header that Exotel makes of ``wss://user:password@host``."""
    coded = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {coded}"}


async def raw(port: int, data: bytes) -> bytes:
    """Send these bytes; returns all that comes until the other side closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    async with asyncio.timeout(WAIT_S):
        answer = await reader.read()
    writer.close()
    return answer


def upgrade(path: str = "/exotel/voicebot/bot", **headers: str) -> bytes:
    """A request for a WebSocket; ``None`` as a value leaves a header out."""
    given = {
        "Host": "x",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"
