"""The simulator's WebSocket line against a scripted bot, in real time."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from sipbot.exotel.sim.facts import CallState
from sipbot.exotel.sim.model import CallFacts, StreamManner
from sipbot.runtime.sim.stream_line import StreamLine
from sipbot.testing import tone

from .kit import ScriptedBot, Talk, greeting_bot, scripted_bot

pytestmark = pytest.mark.flaky(reruns=2)


def line_to(
    bot: ScriptedBot,
    faults: list[str] | None = None,
    url: str = "",
    *,
    listen_only: bool = False,
    **manner: Any,
) -> StreamLine:
    found = [] if faults is None else faults
    return StreamLine(
        url or bot.url,
        StreamManner.model_validate(manner),
        CallState(CallFacts(), "sid1", 0.0),
        found.append,
        listen_only=listen_only,
    )


async def ended(line: StreamLine) -> None:
    while not line.ears.closed:
        await line.ears.until(lambda: True if line.ears.closed else None, 60_000)


@pytest.mark.parametrize("cadence_ms", [20, 100])
async def test_a_talk_that_the_bot_ends(cadence_ms: int) -> None:
    async with scripted_bot() as bot:
        greeting_bot(bot)
        line = line_to(bot, url=bot.url + "?a=1&sample-rate=8000", cadence_ms=cadence_ms)
        assert await line.open()
        await line.speak(tone(200))
        await line.press("1#")
        await ended(line)
        await line.close()
        [talk] = bot.talks
    assert [one["event"] for one in talk.heard[:2]] == ["connected", "start"]
    start = talk.heard[1]["start"]
    assert start["call_sid"] == "sid1"
    assert start["custom_parameters"] == {"a": "1"}
    assert [one["dtmf"]["digit"] for one in talk.events("dtmf")] == ["1", "#"]
    assert [one["mark"]["name"] for one in talk.events("mark")] == ["end"]
    media = talk.events("media")
    assert {len(one["media"]["payload"]) for one in media} == {-(-cadence_ms * 16 // 3) * 4}
    stamps = [int(one["media"]["timestamp"]) for one in media]
    assert stamps == list(range(0, len(media) * cadence_ms, cadence_ms))
    heard = talk.audio()
    loud = np.flatnonzero(np.abs(heard) > 1000)
    assert 1500 <= loud[-1] - loud[0] <= 1600
    assert line.ended_by == "bot"
    assert (line.outcome.status, line.outcome.disconnected_by) == ("completed", "bot")
    assert 590 <= line.ears.sound_ms <= 610
    assert line.details()["close_code"] == 1000


async def test_the_caller_leaves_with_stop_and_an_orderly_close() -> None:
    async with scripted_bot() as bot:
        line = line_to(bot)
        assert await line.open()
        speaking = asyncio.create_task(line.speak(tone(60_000)))
        await line.ears.until(lambda: True if line.ears.position > 100 else None, 10_000)
        await line.hang_up()
        await speaking
        [talk] = bot.talks
        await talk.closed.wait()
        await line.press("1")  # nothing happens any more
        await line.close()
    assert talk.heard[-1]["stop"]["reason"] == "callended"
    assert talk.close_code == 1000
    assert line.ended_by == "caller"
    assert (line.outcome.status, line.outcome.disconnected_by) == ("completed", "user")


async def test_clear_cuts_what_has_not_begun() -> None:
    def react(talk: Talk, message: dict[str, Any]) -> None:
        if message["event"] == "start":
            for _ in range(20):
                talk.plays(tone(200))
        elif message["event"] == "dtmf":
            talk.says(event="clear", stream_sid="x")
            talk.says(event="mark", stream_sid="x", mark={"name": "after"})
        elif message["event"] == "mark":
            talk.closes()

    async with scripted_bot() as bot:
        bot.react = react
        line = line_to(bot)
        assert await line.open()
        await line.ears.until(lambda: line.ears.first_sound(0), 5_000)
        await line.press("1")
        await ended(line)
        await line.close()
    assert line.ears.sound_ms < 3_000
    assert line.ears.sound_ms % 200 == 0  # the message that played went on to its end
    assert line.details()["messages_cleared"] == 20 - line.ears.sound_ms // 200
    assert line.details()["clears"] == 1


async def test_one_retry_after_a_failed_handshake() -> None:
    async with scripted_bot() as bot:
        bot.refuse = [503]
        line = line_to(bot)
        assert await line.open()
        assert bot.asked == 2
        await line.close()
        bot.refuse = [401, 401]
        failed = line_to(bot)
        assert not await failed.open()
        assert bot.asked == 4
        await failed.close()
    assert failed.outcome.status == "failed"
    assert failed.outcome.error == "3009 failed to establish ws conn bad handshake: 401"
    assert failed.outcome.disconnected_by == "NA"


async def test_nobody_listens_and_nobody_answers() -> None:
    async with scripted_bot() as bot:
        port = bot.port
    line = line_to(bot)
    assert not await line.open()
    assert line.outcome.error == (
        f"3009 failed to establish ws conn dial tcp 127.0.0.1:{port}: connect: connection refused"
    )
    never = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await never.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        bot.port = server.sockets[0].getsockname()[1]
        line = line_to(bot, connect_within_s=0.1)
        assert not await line.open()
        never.set()
    assert line.outcome.error.startswith("3009 failed to establish ws conn")


async def test_throttled_streams_are_never_connected() -> None:
    async with scripted_bot() as bot:
        line = line_to(bot, throttled=True)
        assert not await line.open()
        assert bot.asked == 0
    assert line.outcome.detailed_status == "Streaming_call_throttled"


async def test_credentials_go_into_a_header_and_nowhere_else() -> None:
    async with scripted_bot() as bot:
        line = line_to(bot, url=f"ws://us%40er:se%3Acret@127.0.0.1:{bot.port}/bot/x?a=b")
        assert await line.open()
        [talk] = bot.talks
        await line.close()
    assert talk.headers["Authorization"] == "Basic dXNAZXI6c2U6Y3JldA=="
    assert talk.path == "/bot/x?a=b"
    assert line.outcome.url == f"ws://127.0.0.1:{bot.port}/bot/x?a=b"


@pytest.mark.parametrize(
    ("end", "by", "status", "code"),
    [
        (lambda talk: talk.closes(1001), "bot", "completed", 1001),
        (lambda talk: talk.closes(1011), "network", "failed", 1011),
        (lambda talk: talk.drops(), "network", "failed", 1006),
    ],
)
async def test_how_a_bot_may_end(end: Any, by: str, status: str, code: int) -> None:
    def react(talk: Talk, message: dict[str, Any]) -> None:
        if message["event"] == "start":
            end(talk)

    async with scripted_bot() as bot:
        bot.react = react
        line = line_to(bot)
        assert await line.open()
        await ended(line)
        await line.close()
    assert (line.ended_by, line.outcome.status, line.close_code) == (by, status, code)


async def test_a_stream_applet_only_listens() -> None:
    faults: list[str] = []
    async with scripted_bot() as bot:
        greeting_bot(bot)
        line = line_to(bot, faults, listen_only=True)
        assert await line.open()
        await line.ears.until(lambda: True if line.messages >= 7 else None, 5_000)
        await line.stop()
        await line.close()
        [talk] = bot.talks
        await talk.closed.wait()
    assert set(faults) == {"a stream that only listens gets messages of the bot"}
    assert line.ears.sound_ms == 0
    assert talk.heard[-1]["stop"]["reason"] == "stopped"


async def test_faults_of_the_bot_are_told() -> None:
    def react(talk: Talk, message: dict[str, Any]) -> None:
        if message["event"] == "start":
            talk.plays(tone(15))
            talk.says(event="stop")
            talk.closes()

    faults: list[str] = []
    async with scripted_bot() as bot:
        bot.react = react
        line = line_to(bot, faults)
        assert await line.open()
        await ended(line)
        await line.close()
    assert faults == ["payload-no-multiple-of-320", "unknown-event"]
