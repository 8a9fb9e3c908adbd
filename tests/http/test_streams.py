"""Streams over real sockets: from the upgrade to the end of the call."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import pytest
from picows import WSCloseCode, WSHandshakeError, WSMsgType

from sipbot.agent.echo import EchoAgent
from sipbot.call.call import Call
from sipbot.call.events import Dtmf, MarkReached
from sipbot.call.leg import EndReason
from sipbot.runtime import streams
from tests.http.stream_kit import FRAME, WAIT_S, Exotel, Recorder, serving, start_message

LOUD = np.full(FRAME, 5_000, np.int16)


async def next_call(agent: Recorder) -> Call:
    async with asyncio.timeout(WAIT_S):
        return await agent.calls.get()


# --- a conversation -------------------------------------------------------------------------------


async def test_a_conversation_with_audio_keys_and_marks() -> None:
    seen: list[object] = []
    marked = asyncio.Event()

    async def talk(call: Call) -> None:
        await call.play(np.tile(LOUD, 5), 8_000)
        await call.mark("said")
        async for event in call.events():
            seen.append(event)
            if isinstance(event, Dtmf):
                break
            marked.set()

    agent = Recorder(talk)
    async with serving({"mine": agent}) as bot:
        exotel = (await Exotel.dial(bot.ws("/exotel/voicebot/mine/42/x?product=radio"))).start()
        call = await next_call(agent)
        assert (call.caller, call.callee, call.transport) == (
            "09812345678",
            "08064061518",
            "voicebot",
        )
        assert call.parameters == {"product": "radio", "path": "42/x"}
        assert call.headers["x-exotel-callsid"] == "c1"
        await exotel.hear(5 * FRAME)
        await exotel.wait("mark")
        async with asyncio.timeout(WAIT_S):
            await marked.wait()
        exotel.presses("7")
        assert await exotel.end() == (1000, "bot-hung-up")
        await bot.settled()
    assert [type(one) for one in seen] == [MarkReached, Dtmf]
    assert exotel.heard.tolist() == [5_000] * 5 * FRAME
    assert bot.counters.value("calls", trunk="") == 1
    assert bot.counters.value("calls_ended", reason="bot-hung-up") == 1
    assert bot.capacity.calls == 0


async def test_echo() -> None:
    async with serving({"echo": EchoAgent()}) as bot:
        exotel = (await Exotel.dial(bot.ws("/exotel/voicebot/echo"))).start()
        while len(exotel.heard) < 2 * FRAME:
            exotel.speaks(LOUD)
            await asyncio.wait({exotel.closed}, timeout=0.02)
        assert exotel.heard.max() == 5_000
        exotel.stops()
        assert await exotel.end() == (1000, "caller-hung-up")
        await bot.settled()


async def test_a_barge_in_clears_at_once() -> None:
    async def talk(call: Call) -> None:
        await call.say("A long sentence that goes on and on, and that nobody wants to hear out.")
        await call.wait_ended()

    async with serving({"mine": Recorder(talk)}) as bot:
        exotel = (await Exotel.dial(bot.ws("/exotel/voicebot/mine"))).start()
        await exotel.wait("media")
        exotel.presses("1")
        assert await exotel.wait("clear") == {"event": "clear", "stream_sid": "s1"}
        exotel.stops()
        await exotel.end()


@pytest.mark.parametrize(
    "first",
    [
        [{"event": "connected"}, start_message()],
        [{"event": "connected", "protocol": "Call", "version": "1.0.0"}, start_message()],
        [start_message()],
        [{"event": "something-new"}, start_message()],
        [
            {
                "event": "start",
                "sequenceNumber": "1",
                "streamSid": "s1",
                "start": {"streamSid": "s1", "callSid": "c1", "from": "1", "to": "2"},
            }
        ],
    ],
)
async def test_beginnings_of_all_kinds(first: list[dict[str, Any]]) -> None:
    agent = Recorder()
    async with serving({"mine": agent}) as bot:
        exotel = await Exotel.dial(bot.ws("/exotel/voicebot/mine"))
        for message in first:
            exotel.says(message)
        call = await next_call(agent)
        assert call.headers["x-exotel-callsid"] == "c1"
        exotel.stops()
        await exotel.end()


@pytest.mark.parametrize(
    ("query", "audio_format", "rate"),
    [
        ("", {}, 8_000),
        ("?sample-rate=16000", {}, 16_000),
        ("?sample_rate=24000", {}, 24_000),
        ("?sample-rate=16000", {"sample_rate": "24kHz"}, 24_000),
        ("", {"sample_rate": 16_000, "encoding": "raw"}, 16_000),
    ],
)
async def test_rates(query: str, audio_format: dict[str, Any], rate: int) -> None:
    agent = Recorder()
    async with serving({"mine": agent}) as bot:
        exotel = await Exotel.dial(bot.ws(f"/exotel/voicebot/mine{query}"))
        exotel.start(media_format=audio_format)
        call = await next_call(agent)
        assert call._leg.audio.rate == rate
        assert "sample-rate" not in call.parameters
        exotel.stops()
        await exotel.end()


async def test_what_follows_start_at_once_is_not_lost() -> None:
    keys: list[str] = []

    async def talk(call: Call) -> None:
        async for event in call.events():
            if isinstance(event, Dtmf):
                keys.append(event.digit)
                break

    async with serving({"mine": Recorder(talk)}) as bot:
        exotel = (await Exotel.dial(bot.ws("/exotel/voicebot/mine"))).start()
        exotel.presses("5")  # in the same read as start
        assert (await exotel.end())[0] == 1000
    assert keys == ["5"]


async def test_a_message_in_pieces_is_one_message() -> None:
    agent = Recorder()
    async with serving({"mine": agent}) as bot:
        exotel = await Exotel.dial(bot.ws("/exotel/voicebot/mine"))
        text = json.dumps(start_message()).encode()
        assert exotel.transport is not None
        exotel.transport.send(WSMsgType.TEXT, text[:50], fin=False)
        exotel.transport.send_ping(b"between")
        exotel.transport.send(WSMsgType.CONTINUATION, text[50:60], fin=False)
        exotel.transport.send(WSMsgType.CONTINUATION, text[60:])
        assert (await exotel.wait("pong"))["data"] == b"between"
        assert (await next_call(agent)).caller == "09812345678"
        exotel.stops()
        await exotel.end()


# --- the Stream applet ----------------------------------------------------------------------------


async def test_a_listening_stream_hears_and_says_nothing() -> None:
    heard: list[int] = []

    async def listen(call: Call) -> None:
        await call.play(np.tile(LOUD, 10), 8_000)  # as on a line where nobody listens
        await call.drain()
        async for frame in call.audio(8_000):
            heard.append(int(frame.max()))
            break

    agent = Recorder(listen)
    async with serving({"mine": agent}) as bot:
        exotel = (await Exotel.dial(bot.ws("/exotel/stream/mine"))).start()
        assert (await next_call(agent)).transport == "stream"
        while not exotel.closed.done():
            exotel.speaks(LOUD)
            await asyncio.wait({exotel.closed}, timeout=0.02)
        assert await exotel.end() == (1000, "bot-hung-up")
    assert heard == [5_000]
    assert exotel.messages == []


# --- which agent ----------------------------------------------------------------------------------

ROUTES = {
    "routes": [
        {"path": "/exotel/voicebot/clinic/*", "agent": "clinic"},
        {"to": "08064061518", "path": "/exotel/voicebot", "agent": "number"},
        {"from": "nobody", "agent": "bot"},
    ]
}


@pytest.mark.parametrize(
    ("path", "agent"),
    [
        ("/exotel/voicebot/number", "number"),
        ("/exotel/voicebot/num%62er/", "number"),
        ("/exotel/voicebot/clinic/7", "clinic"),
        ("/exotel/voicebot", "number"),
    ],
)
async def test_the_agent_is_named_or_found(path: str, agent: str) -> None:
    agents = {"clinic": Recorder(), "number": Recorder()}
    async with serving(agents, **ROUTES) as bot:
        exotel = (await Exotel.dial(bot.ws(path))).start()
        await next_call(agents[agent])
        exotel.stops()
        await exotel.end()


async def test_a_name_that_is_no_agent_is_refused_before_the_upgrade() -> None:
    async with serving(None, **ROUTES) as bot:
        for path in ("/exotel/voicebot/nobody", "/exotel/voicebot/clinic", "/exotel/stream/x/bot"):
            with pytest.raises(WSHandshakeError) as caught:
                await Exotel.dial(bot.ws(path))
            assert caught.value.response is not None
            assert caught.value.response.status == 404
            assert caught.value.raw_body == b"unknown-agent\n"
        assert bot.counters.value("refused", rule="unknown-agent") == 3


async def test_what_no_route_wants_is_closed_after_start() -> None:
    async with serving(None, **ROUTES) as bot:
        exotel = (await Exotel.dial(bot.ws("/exotel/voicebot"))).start(to="123")
        assert await exotel.end() == (4404, "no-route")
        await bot.settled()
        assert bot.counters.value("refused", rule="no-route") == 1
        assert bot.capacity.calls == 0


# --- limits ---------------------------------------------------------------------------------------


async def refused(url: str) -> tuple[int, str, str]:
    """Status, rule and Retry-After of a refusal."""
    with pytest.raises(WSHandshakeError) as caught:
        await Exotel.dial(url)
    answer = caught.value.response
    assert answer is not None
    assert caught.value.raw_body is not None
    return (
        int(answer.status),
        caught.value.raw_body.decode().strip(),
        answer.headers.get("Retry-After", ""),
    )


async def test_the_house_is_full_and_empty_again() -> None:
    async with serving(limits={"max_calls": 1, "retry_after_s": 7}) as bot:
        url = bot.ws("/exotel/voicebot/bot")
        exotel = (await Exotel.dial(url)).start()
        assert await refused(url) == (503, "max-calls", "7")
        exotel.stops()
        await exotel.end()
        await bot.settled()
        (await Exotel.dial(url)).start()


async def test_calls_of_other_processes_count() -> None:
    trunk = {"allow": ["127.0.0.0/8"], "max_calls": 3}
    async with serving(trunks={"ours": trunk}) as bot:
        bot.capacity.elsewhere = {"ours": 2, "": 5}
        await Exotel.dial(bot.ws("/exotel/voicebot/bot"))
        assert (await refused(bot.ws("/exotel/voicebot/bot")))[1] == "max-calls-per-trunk"


async def test_a_busy_process_refuses() -> None:
    async with serving() as bot:
        bot.forbidden.append("cpu")
        assert await refused(bot.ws("/exotel/voicebot/bot")) == (503, "cpu", "10")
        assert bot.counters.value("refused", rule="cpu") == 1


async def test_draining_refuses_lets_finish_and_closes_at_the_deadline() -> None:
    agent = Recorder()
    async with serving({"mine": agent}) as bot:
        url = bot.ws("/exotel/voicebot/mine")
        finishes, stays = (await Exotel.dial(url)).start(), (await Exotel.dial(url)).start()
        await next_call(agent)
        await next_call(agent)
        waits = await Exotel.dial(url)  # connected, and says nothing yet
        draining = asyncio.create_task(bot.desk.drain(0.2))
        await asyncio.sleep(0)
        assert (await refused(url))[:2] == (503, "shutting-down")
        finishes.stops()
        assert await finishes.end() == (1000, "caller-hung-up")
        waits.start()
        assert await waits.end() == (1001, "shutting-down")
        assert await stays.end() == (1001, "shutdown")
        await draining
        await bot.settled()
        assert bot.counters.value("calls_ended", reason="shutdown") == 1


# --- endings --------------------------------------------------------------------------------------


async def ended(bot: Any, agent: Recorder, exotel: Exotel) -> EndReason:
    call = await next_call(agent)
    async with asyncio.timeout(WAIT_S):
        reason: EndReason = await call.wait_ended()
    await bot.settled()
    return reason


async def test_a_lost_connection_is_a_lost_network() -> None:
    agent = Recorder()
    async with serving({"mine": agent}) as bot:
        exotel = (await Exotel.dial(bot.ws("/exotel/voicebot/mine"))).start()
        call = await next_call(agent)
        assert exotel.transport is not None
        exotel.transport.disconnect(graceful=False)
        async with asyncio.timeout(WAIT_S):
            assert await call.wait_ended() is EndReason.NETWORK
        await bot.settled()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (WSCloseCode.OK, EndReason.CALLER_HUNG_UP),
        (WSCloseCode.GOING_AWAY, EndReason.CALLER_HUNG_UP),
        (WSCloseCode.INTERNAL_ERROR, EndReason.NETWORK),
    ],
)
async def test_a_close_without_stop(code: WSCloseCode, reason: EndReason) -> None:
    agent = Recorder()
    async with serving({"mine": agent}) as bot:
        exotel = (await Exotel.dial(bot.ws("/exotel/voicebot/mine"))).start()
        call = await next_call(agent)
        exotel.leaves(code)
        async with asyncio.timeout(WAIT_S):
            assert await call.wait_ended() is reason
        assert (await exotel.end())[0] == code.value
        await bot.settled()


async def test_an_agent_that_fails_closes_with_1011() -> None:
    async def fail(call: Call) -> None:
        raise RuntimeError("on purpose")

    async with serving({"mine": Recorder(fail)}, call={"apology": ""}) as bot:
        exotel = (await Exotel.dial(bot.ws("/exotel/voicebot/mine"))).start()
        assert await exotel.end() == (1011, "agent-failed")


async def test_no_start_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "START_S", 0.05)
    async with serving() as bot:
        exotel = await Exotel.dial(bot.ws("/exotel/voicebot/bot"))
        exotel.says({"event": "connected"})
        assert await exotel.end() == (4408, "no-start")
        await bot.settled()
        assert bot.counters.value("refused", rule="no-start") == 1


async def test_leaving_before_start_leaves_nothing() -> None:
    async with serving() as bot:
        exotel = await Exotel.dial(bot.ws("/exotel/voicebot/bot"))
        exotel.leaves()
        await exotel.end()
        await bot.settled()
        assert bot.counters.value("refused", rule="closed-before-start") == 1
        assert (bot.capacity.calls, bot.counters.value("calls")) == (0, 0)
