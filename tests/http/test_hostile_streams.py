"""Clients that are malformed, huge, slow, strangers, or gone."""

from __future__ import annotations

import asyncio
import json
import os
import struct

import pytest
from picows import WSHandshakeError, WSMsgType

from sipbot.call.call import Call
from sipbot.exotel.wire import MAX_MESSAGE_BYTES
from sipbot.http import front
from sipbot.http import socket as sockets
from sipbot.legs import voicebot
from sipbot.runtime import streams
from tests.http.kit import get
from tests.http.stream_kit import (
    WAIT_S,
    Bot,
    Exotel,
    Recorder,
    basic,
    raw,
    serving,
    start_message,
    upgrade,
)

KEY = {"stream": {"user": "key", "password": "token"}}


async def status_of(url: str, headers: dict[str, str]) -> tuple[int, str]:
    with pytest.raises(WSHandshakeError) as caught:
        await Exotel.dial(url, headers)
    answer = caught.value.response
    assert answer is not None
    return int(answer.status), answer.headers.get("WWW-Authenticate", "")


# --- strangers ------------------------------------------------------------------------------------


async def test_credentials_open_the_door() -> None:
    async with serving(trunks={"exotel": KEY}) as bot:
        url = bot.ws("/exotel/voicebot/bot")
        assert await status_of(url, {}) == (401, 'Basic realm="sipbot", charset="UTF-8"')
        assert (await status_of(url, basic("key", "wrong")))[0] == 401
        assert bot.counters.value("refused", rule="no-credentials") == 1
        assert bot.counters.value("refused", rule="wrong-credentials") == 1
        exotel = (await Exotel.dial(url, basic("key", "token"))).start()
        exotel.stops()
        await exotel.end()
        await bot.settled()
        assert bot.counters.value("calls", trunk="exotel") == 1


async def test_names_of_agents_are_not_told_to_strangers() -> None:
    async with serving(trunks={"exotel": {"allow": ["203.0.113.0/24"]}}) as bot:
        for agent in ("bot", "nobody"):
            assert (await status_of(bot.ws(f"/exotel/voicebot/{agent}"), {}))[0] == 403
        assert bot.counters.value("refused", rule="not-a-trunk") == 2


async def test_behind_a_proxy_the_clients_address_counts() -> None:
    trunks = {"exotel": {"allow": ["203.0.113.0/24"]}}
    http = {"listen": "http://127.0.0.1:0", "trusted_proxies": ["127.0.0.1"]}
    agent = Recorder()
    async with serving({"mine": agent}, trunks=trunks, http=http) as bot:
        url = bot.ws("/exotel/voicebot/mine")
        assert (await status_of(url, {"X-Forwarded-For": "198.51.100.1"}))[0] == 403
        exotel = (await Exotel.dial(url, {"X-Forwarded-For": "203.0.113.9"})).start()
        async with asyncio.timeout(WAIT_S):
            call = await agent.calls.get()
        assert call._leg.info.peer.startswith("203.0.113.9:")
        exotel.stops()
        await exotel.end()


# --- bytes that are no request --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (upgrade(Sec_WebSocket_Version="12"), b"426"),
        (upgrade(Upgrade="nothing"), b"426"),
        (upgrade("/exotel/voicebot/bot%00"), b"400"),
        (upgrade().replace(b"GET", b"PUT"), b"405"),
        (b"GET /exotel/voicebot/bot HTTP/1.1\r\nbroken\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 20_000, b"431"),
    ],
)
async def test_what_cannot_be_upgraded_is_told_why(data: bytes, status: bytes) -> None:
    async with serving() as bot:
        assert (await raw(bot.port, data)).split(b" ")[1] == status
        assert bot.capacity.calls == 0
        assert (await get(bot.port, "/health")).status == 200


@pytest.mark.parametrize("data", [b"\x16\x03\x01\x02\x00\x01", b"\r\n\r\n", os.urandom(1) + b"\0"])
async def test_what_is_no_http_is_dropped(data: bytes) -> None:
    async with serving() as bot:
        assert await raw(bot.port, b"\0" + data) == b""
        assert bot.counters.value("dropped", rule="not-http") == 1


async def test_a_slow_head_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "HEAD_S", 0.05)
    async with serving() as bot:
        assert await raw(bot.port, upgrade()[:40]) == b""
        assert bot.counters.value("dropped", rule="slow-head") == 1


async def test_a_head_in_single_bytes_is_read() -> None:
    async with serving() as bot:
        reader, writer = await asyncio.open_connection("127.0.0.1", bot.port)
        for byte in upgrade():
            writer.write(bytes([byte]))
            await writer.drain()
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 101 ")
        writer.close()
        await bot.settled()


async def test_one_address_cannot_take_all_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "MAX_UNREAD_PER_ADDRESS", 3)
    async with serving() as bot:
        held = [await asyncio.open_connection("127.0.0.1", bot.port) for _ in range(3)]
        assert await raw(bot.port, b"") == b""
        assert bot.counters.value("dropped", rule="too-many-connections") == 1
        for _, writer in held:
            writer.close()
            await writer.wait_closed()
        assert (await get(bot.port, "/health")).status == 200


# --- streams that break the rules -----------------------------------------------------------------


async def talking(bot: Bot) -> Exotel:
    return (await Exotel.dial(bot.ws("/exotel/voicebot/bot"))).start()


async def test_garbage_is_borne_for_a_while() -> None:
    async with serving() as bot:
        exotel = await talking(bot)
        for _ in range(voicebot.MAX_ERRORS + 1):
            exotel.says("{garbage")
        assert await exotel.end() == (1002, "network")
        await bot.settled()


async def test_garbage_before_start_is_not() -> None:
    async with serving() as bot:
        exotel = await Exotel.dial(bot.ws("/exotel/voicebot/bot"))
        exotel.says("{garbage")
        assert await exotel.end() == (1002, "not-json")
        await bot.settled()
        assert bot.counters.value("refused", rule="not-json") == 1


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"media_format": {"sample_rate": "11025"}}, "unknown-rate"),
        ({"custom_parameters": {f"n{n}": "x" for n in range(65)}}, "too-many-parameters"),
    ],
)
async def test_a_start_that_cannot_be(change: dict[str, object], rule: str) -> None:
    async with serving() as bot:
        exotel = (await Exotel.dial(bot.ws("/exotel/voicebot/bot"))).start(**change)
        assert await exotel.end() == (1002, rule)


async def test_a_huge_message_ends_the_stream() -> None:
    async with serving() as bot:
        exotel = await talking(bot)
        exotel.says(b" " * (MAX_MESSAGE_BYTES + 1))
        assert (await exotel.end())[0] in (1009, 1006)  # it may be gone before it reads why
        await bot.settled()


async def test_a_message_of_endless_pieces_ends_the_stream() -> None:
    async with serving() as bot:
        exotel = await talking(bot)
        assert exotel.transport is not None
        exotel.transport.send(WSMsgType.TEXT, b"{", fin=False)
        for _ in range(MAX_MESSAGE_BYTES // 50_000 + 1):
            exotel.transport.send(WSMsgType.CONTINUATION, b" " * 50_000, fin=False)
        assert (await exotel.end())[0] in (1009, 1006)
        await bot.settled()


@pytest.mark.parametrize(
    "frames",
    [
        [(WSMsgType.CONTINUATION, True)],
        [(WSMsgType.TEXT, False), (WSMsgType.TEXT, True)],
    ],
)
async def test_pieces_in_a_wrong_order(frames: list[tuple[WSMsgType, bool]]) -> None:
    async with serving() as bot:
        exotel = await talking(bot)
        assert exotel.transport is not None
        for kind, fin in frames:
            exotel.transport.send(kind, b"{}", fin=fin)
        assert (await exotel.end())[0] == 1002
        await bot.settled()


async def test_an_unmasked_frame_is_a_broken_rule() -> None:
    async with serving() as bot:
        reader, writer = await asyncio.open_connection("127.0.0.1", bot.port)
        text = json.dumps(start_message()).encode()
        writer.write(upgrade() + b"\x81\x7e" + struct.pack("!H", len(text)) + text)
        async with asyncio.timeout(WAIT_S):
            answer = await reader.read()
        assert b"\x88" in answer.partition(b"\r\n\r\n")[2]  # a close frame
        assert struct.pack("!H", 1002) in answer
        writer.close()
        await bot.settled()


async def test_more_before_start_than_anybody_needs() -> None:
    async with serving() as bot:
        exotel = await Exotel.dial(bot.ws("/exotel/voicebot/bot"))
        for _ in range(streams.MAX_BEFORE_START + 1):
            exotel.says({"event": "media", "media": {"payload": ""}})
        assert await exotel.end() == (1002, "no-start")
        await bot.settled()


async def test_who_reads_nothing_is_left_and_costs_no_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(voicebot, "WATCH_S", 0.02)
    monkeypatch.setattr(voicebot, "SEND_TIMEOUT_S", 0.05)
    monkeypatch.setattr(voicebot, "CLOSE_TIMEOUT_S", 0.05)
    seen: list[sockets.ServerSocket] = []
    enter = streams.StreamDesk.enter

    def watched(self: streams.StreamDesk, ticket: object, socket: sockets.ServerSocket) -> None:
        seen.append(socket)
        enter(self, ticket, socket)

    monkeypatch.setattr(streams.StreamDesk, "enter", watched)
    async with serving() as bot:
        reader, writer = await asyncio.open_connection("127.0.0.1", bot.port, limit=1_024)
        exotel = _Deaf(writer)
        writer.write(upgrade())
        exotel.says(json.dumps(start_message()).encode())
        call = await bot_call(bot)
        (socket,) = seen
        socket.pause_writing()  # as the transport says when its buffer is full
        await call.play(bytes(16_000), 8_000)
        async with asyncio.timeout(WAIT_S):
            assert (await call.wait_ended()).value == "network"
        await bot.settled()
        async with asyncio.timeout(WAIT_S):
            while await reader.read(65_536):
                pass
        writer.close()


class _Deaf:
    """Writes frames and reads nothing."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    def says(self, text: bytes) -> None:
        mask = bytes(4)
        self._writer.write(b"\x81\xfe" + struct.pack("!H", len(text)) + mask + text)


async def bot_call(bot: Bot) -> Call:
    agent = bot.host._parts.agents["bot"]
    assert isinstance(agent, Recorder)
    async with asyncio.timeout(WAIT_S):
        return await agent.calls.get()


async def test_a_flood_of_pings_is_answered_within_bounds() -> None:
    async with serving() as bot:
        exotel = await talking(bot)
        assert exotel.transport is not None
        for number in range(500):
            exotel.transport.send_ping(b"%d" % number)
        await exotel.wait("pong", 500)
        exotel.stops()
        await exotel.end()
        await bot.settled()


async def test_nothing_is_left_of_many_streams() -> None:
    async with serving() as bot:
        for _ in range(3):
            crowd = [await talking(bot) for _ in range(20)]
            for number, exotel in enumerate(crowd):
                assert exotel.transport is not None
                match number % 4:
                    case 0:
                        exotel.stops()
                    case 1:
                        exotel.leaves()
                    case 2:
                        exotel.transport.disconnect(graceful=False)
                    case _:
                        exotel.says("x" * 1_000)
                        exotel.stops()
            for exotel in crowd:
                await exotel.end()
            await bot.settled()
        assert bot.capacity.calls == 0
        assert bot.counters.value("calls") == 60
        assert bot.counters.value("calls_ended") == 60
        assert bot.counters.value("faults") == 0
        assert not bot.server._hall.unread
