"""OpenAI's Realtime interface against a server that speaks its events."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from sipbot.agent.ports import (
    Heard,
    Moment,
    RealtimeEvent,
    RealtimeSetup,
    SpokenAudio,
    Tool,
    ToolCall,
    Usage,
)
from sipbot.agent.providers.counts import Tally
from sipbot.agent.providers.openai_realtime import OpenAiRealtime
from sipbot.agent.providers.patience import Patience
from sipbot.agent.providers.pcm import to_bytes
from sipbot.call.leg import Pcm
from sipbot.errors import ProviderError
from tests.agent.providers.kit import HASTY, KEY, QUICK, all_of, ramp
from tests.agent.providers.servers.websocket import Handler, Talk, mute, talking

SETUP = RealtimeSetup(
    "Be kind.", language="hi-IN", tools=(Tool("find", "Find a slot", {"type": "object"}),)
)
USAGE = {"total_tokens": 30, "input_tokens": 20, "output_tokens": 10}
CREATED = {"type": "response.created", "response": {"id": "r1", "status": "in_progress"}}


def done(status: str = "completed", **more: Any) -> dict[str, Any]:
    return {"type": "response.done", "response": {"id": "r1", "status": status, **more}}


def audio(pcm: Pcm, item: str = "i1") -> dict[str, Any]:
    data = base64.b64encode(to_bytes(pcm)).decode()
    return {"type": "response.output_audio.delta", "item_id": item, "delta": data}


def error(code: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": "x", "code": code, "message": "SECRET"}}


def model(url: str, patience: Patience = QUICK, tally: Tally | None = None) -> OpenAiRealtime:
    return OpenAiRealtime(
        url,
        KEY,
        tally or Tally(),
        model="gpt-realtime",
        voice="marin",
        transcription="whisper-1",
        patience=patience,
    )


def agreed(then: Handler | None = None) -> Handler:
    """The beginning of all sessions, then ``then``."""

    async def handle(talk: Talk) -> None:
        await talk.say({"type": "session.created", "session": {}})
        await talk.until("session.update")
        await talk.say({"type": "session.updated", "session": {}})
        if then is not None:
            await then(talk)

    return handle


async def until(events: AsyncIterator[RealtimeEvent], last: object) -> list[RealtimeEvent]:
    got = []
    async for event in events:
        got.append(event)
        if event == last:
            return got
    raise AssertionError("the events ended")


async def test_a_turn() -> None:
    async def turn(talk: Talk) -> None:
        await talk.until("input_audio_buffer.append")
        await talk.say(
            {"type": "input_audio_buffer.speech_started", "audio_start_ms": 10},
            {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 900},
            CREATED,
            {
                "type": "conversation.item.input_audio_transcription.completed",
                "transcript": " A room. ",
            },
            audio(ramp(480)),
            {"type": "response.output_audio_transcript.delta", "delta": "Sure"},
            audio(ramp(240)),
            {"type": "response.output_audio_transcript.done", "transcript": "Sure."},
            {"type": "rate_limits.updated", "rate_limits": []},
            done(usage=USAGE),
        )

    tally = Tally()
    async with (
        talking(agreed(turn)) as server,
        model(server.url, tally=tally).open(SETUP) as session,
    ):
        await session.push(ramp(480))
        events = await until(aiter(session.events()), Moment.ANSWER_DONE)
    sounds = [event for event in events if isinstance(event, SpokenAudio)]
    assert [len(sound.pcm) for sound in sounds] == [480, 240]
    assert np.array_equal(sounds[0].pcm, ramp(480))
    assert sounds[0].rate == 24_000
    assert [event for event in events if not isinstance(event, SpokenAudio)] == [
        Moment.CALLER_SPEAKS,
        Moment.CALLER_STOPPED,
        Heard("user", "A room.", True),
        Heard("assistant", "Sure", False),
        Heard("assistant", "Sure.", True),
        Usage("openai", "input-tokens", 20),
        Usage("openai", "output-tokens", 10),
        Moment.ANSWER_DONE,
    ]
    assert tally.values["provider_usage", "openai", "output-tokens"] == 10
    talk = server.talks[0]
    assert (talk.path, talk.query) == ("/v1/realtime", {"model": ["gpt-realtime"]})
    assert talk.headers["authorization"] == f"Bearer {KEY}"
    asked = talk.got[0]["session"]
    assert asked["instructions"] == "Be kind."
    assert asked["audio"]["output"]["voice"] == "marin"
    assert asked["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24_000}
    assert asked["audio"]["input"]["transcription"] == {"model": "whisper-1", "language": "hi"}
    assert asked["tools"][0]["name"] == "find"
    assert base64.b64decode(talk.got[1]["audio"]) == to_bytes(ramp(480))


async def test_audio_of_other_rates_is_converted() -> None:
    async with talking(agreed()) as server:
        async with model(server.url).open(RealtimeSetup("x", rate=8_000)) as session:
            for _ in range(50):
                await session.push(np.zeros(160, np.int16))
            await session.say("Greet.")
            talk = server.talks[0]
            await asyncio.wait_for(talk.until("response.create"), 20)
        sound = [len(base64.b64decode(one["audio"])) // 2 for one in talk.got[1:-1]]
    assert 23_500 < sum(sound) <= 24_000


async def test_an_interrupted_answer_is_cut_where_it_was_heard() -> None:
    async def turn(talk: Talk) -> None:
        await talk.say(CREATED, audio(ramp(24_000)))
        await talk.until("response.cancel")
        await talk.until("conversation.item.truncate")
        await talk.say(audio(ramp(480)), done("cancelled"), error("response_cancel_not_active"))
        await talk.say({**CREATED}, audio(ramp(240), "i2"), done())

    async with talking(agreed(turn)) as server, model(server.url).open(SETUP) as session:
        events = aiter(session.events())
        first = await anext(events)
        assert isinstance(first, SpokenAudio)
        await session.interrupt(heard_ms=400)
        assert await until(events, Moment.ANSWER_DONE) == [Moment.ANSWER_DONE]
        rest = await until(events, Moment.ANSWER_DONE)
        assert [len(one.pcm) for one in rest if isinstance(one, SpokenAudio)] == [240]
    assert server.talks[0].got[-1] == {
        "type": "conversation.item.truncate",
        "item_id": "i1",
        "content_index": 0,
        "audio_end_ms": 400,
    }


async def test_no_more_is_said_to_be_heard_than_was_made() -> None:
    async def turn(talk: Talk) -> None:
        await talk.say(CREATED, audio(ramp(2_400)), done())
        await talk.until("conversation.item.truncate")
        await talk.say(CREATED, done())

    async with talking(agreed(turn)) as server, model(server.url).open(SETUP) as session:
        events = aiter(session.events())
        await until(events, Moment.ANSWER_DONE)
        await session.interrupt(heard_ms=5_000)
        await until(events, Moment.ANSWER_DONE)
    assert [one["type"] for one in server.talks[0].got[1:]] == ["conversation.item.truncate"]
    assert server.talks[0].got[-1]["audio_end_ms"] == 100


async def test_tools_are_answered_before_the_model_goes_on() -> None:
    def call(number: int) -> dict[str, Any]:
        item = {"type": "function_call", "name": "find", "arguments": "{}"}
        item["call_id"] = f"c{number}"
        return {"type": "response.output_item.done", "item": item}

    async def turn(talk: Talk) -> None:
        await talk.say(CREATED, call(1), call(2), done())
        await talk.until("response.create")
        await talk.say(CREATED, done())

    async with talking(agreed(turn)) as server, model(server.url).open(SETUP) as session:
        events = aiter(session.events())
        got = await until(events, Moment.ANSWER_DONE)
        assert got[:2] == [ToolCall("c1", "find", "{}"), ToolCall("c2", "find", "{}")]
        await session.tool_result("c2", "none")
        await session.tool_result("c1", "friday")
        await until(events, Moment.ANSWER_DONE)
    kinds = [(one["type"], one.get("item", {}).get("call_id")) for one in server.talks[0].got[1:]]
    assert kinds == [
        ("conversation.item.create", "c2"),
        ("conversation.item.create", "c1"),
        ("response.create", None),
    ]


async def test_a_tool_that_is_quicker_than_the_next_call_does_not_go_on_alone() -> None:
    def call(number: int) -> dict[str, Any]:
        item = {"type": "function_call", "name": "find", "arguments": "{}"}
        item["call_id"] = f"c{number}"
        return {"type": "response.output_item.done", "item": item}

    async def turn(talk: Talk) -> None:
        await talk.say(CREATED, call(1))
        await talk.until("conversation.item.create")
        await talk.say(call(2), done())
        await talk.until("response.create")
        await talk.say(CREATED, done())

    async with talking(agreed(turn)) as server, model(server.url).open(SETUP) as session:
        events = aiter(session.events())
        assert await anext(events) == ToolCall("c1", "find", "{}")
        await session.tool_result("c1", "friday")
        await until(events, Moment.ANSWER_DONE)
        await session.tool_result("c2", "none")
        await until(events, Moment.ANSWER_DONE)
    assert [one["type"] for one in server.talks[0].got[1:]] == [
        "conversation.item.create",
        "conversation.item.create",
        "response.create",
    ]


async def test_speaking_waits_for_the_answer_that_runs() -> None:
    async def turn(talk: Talk) -> None:
        await talk.say(CREATED, audio(ramp(240)))
        await talk.until("input_audio_buffer.append")
        await talk.say(done())
        await talk.until("response.create")
        await talk.say(CREATED, done())

    async with talking(agreed(turn)) as server, model(server.url).open(SETUP) as session:
        events = aiter(session.events())
        await anext(events)
        await session.say("Ask whether they are there.")
        await session.push(ramp(240))
        await until(events, Moment.ANSWER_DONE)
        await until(events, Moment.ANSWER_DONE)
    assert [one["type"] for one in server.talks[0].got[1:]] == [
        "input_audio_buffer.append",
        "response.create",
    ]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (error("server_error"), "failed"),
        (done("failed"), "failed"),
        ("no json", "garbage"),
        ({"type": "response.output_audio.delta", "item_id": "i", "delta": "*"}, "garbage"),
        ({"type": "response.done"}, "garbage"),
        (None, "cut-off"),
    ],
)
async def test_faults(words: Any, reason: str) -> None:
    async def turn(talk: Talk) -> None:
        if words is None:
            talk.cut()
        else:
            await talk.say(words)

    async with talking(agreed(turn)) as server, model(server.url).open(SETUP) as session:
        with pytest.raises(ProviderError) as caught:
            await all_of(session.events())
    assert caught.value.reason == reason
    assert "SECRET" not in str(caught.value)


async def refusing(talk: Talk) -> None:
    await talk.until("session.update")
    await talk.say(error("invalid_value"))


@pytest.mark.parametrize(
    ("handler", "statuses", "reason"),
    [(mute, (401,), "unauthorised"), (mute, (), "timeout"), (refusing, (), "refused")],
)
async def test_sessions_that_do_not_begin(
    handler: Handler, statuses: tuple[int, ...], reason: str
) -> None:
    async with talking(handler, *statuses) as server:
        with pytest.raises(ProviderError) as caught:
            await model(server.url, HASTY).open(SETUP).__aenter__()
    assert caught.value.reason == reason


async def test_leaving_ends_the_events() -> None:
    async with talking(agreed()) as server:
        async with model(server.url).open(SETUP) as session:
            reading = asyncio.ensure_future(all_of(session.events()))
            await asyncio.sleep(0)
        assert await asyncio.wait_for(reading, 20) == []
        await asyncio.wait_for(server.ended.wait(), 20)
