"""The HTTP server in the running loop: answers, limits, a taken port, the end."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sipbot.errors import TransportError
from sipbot.http.app import FRESH_S, make_app
from sipbot.http.listening import bound, url_of
from sipbot.http.server import MAX_CONNECTIONS, HttpParts, HttpServer
from sipbot.ops.logs import get_logger
from sipbot.ops.values import HttpListen
from sipbot.testing.clock import ManualClock
from tests.http.kit import Fixed, get


@asynccontextmanager
async def served(source: Fixed, clock: ManualClock | None = None) -> AsyncIterator[int]:
    """Serve on a free port; yields it."""
    clock, listen = clock or ManualClock(), HttpListen("127.0.0.1", 0)
    listening = bound(listen)
    parts = HttpParts(make_app(source, clock))
    server = HttpServer(listening, parts, clock, get_logger("http"))
    port = int(url_of(listen, listening).rpartition(":")[2])
    await server.start()
    try:
        yield port
    finally:
        await server.close()


async def test_health() -> None:
    async with served(Fixed(now=None, forbidden=("starting",))) as port:
        answer = await get(port, "/health")
        assert (answer.status, answer.json()["status"]) == (200, "alive")


async def test_ready_says_why_not() -> None:
    source = Fixed()
    async with served(source) as port:
        answer = await get(port, "/ready")
        assert (answer.status, answer.json()) == (200, {"ready": True, "reasons": []})
        source.forbidden = ("cpu", "no-worker")
        answer = await get(port, "/ready")
        assert answer.status == 503
        assert answer.json() == {"ready": False, "reasons": ["cpu", "no-worker"]}
        assert answer.headers["cache-control"] == "no-store"


async def test_metrics_are_made_once_however_often_they_are_asked_for() -> None:
    source, clock = Fixed(), ManualClock()
    async with served(source, clock) as port:
        pages = [await get(port, "/metrics") for _ in range(5)]
        assert pages[0].headers["content-type"].startswith("text/plain; version=0.0.4")
        assert 'sipbot_refused_total{rule="cpu"} 3.0' in pages[0].body
        assert source.asked == 1
        clock.advance(FRESH_S)
        await get(port, "/metrics")
        assert source.asked == 2


async def test_other_paths_are_not_found() -> None:
    async with served(Fixed()) as port:
        for path in ("/", "/docs", "/metrics/../../etc/passwd"):
            assert (await get(port, path)).status == 404


async def test_too_many_connections_are_turned_away_and_come_back() -> None:
    async with served(Fixed()) as port:
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MAX_CONNECTIONS)]
        assert (await get(port, "/health")).status == 503
        for _, writer in idle:
            writer.close()
            await writer.wait_closed()
        assert (await get(port, "/health")).status == 200


async def test_a_taken_port_is_told_by_name() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(TransportError, match=f"cannot listen on http://127.0.0.1:{port}: "):
            bound(HttpListen("127.0.0.1", port))


async def test_signals_stay_with_the_process() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    async with served(Fixed()):
        assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


async def test_after_the_end_nobody_answers() -> None:
    async with served(Fixed()) as port:
        pass
    with pytest.raises(ConnectionRefusedError):
        await get(port, "/health")


async def test_an_open_connection_does_not_hold_up_the_end() -> None:
    async with served(Fixed()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
