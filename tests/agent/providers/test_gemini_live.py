"""Gemini Live against a server that speaks its messages."""

from __future__ import annotations

import asyncio
import base64
import json
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
from sipbot.agent.providers.gemini_live import PATH, GeminiLive
from sipbot.agent.providers.patience import Patience
from sipbot.agent.providers.pcm import to_bytes
from sipbot.call.leg import Pcm
from sipbot.errors import ProviderError
from tests.agent.providers.kit import HASTY, KEY, QUICK, all_of, ramp
from tests.agent.providers.servers.websocket import Handler, Talk, mute, talking

SETUP = RealtimeSetup(
    "Be kind.",
    rate=16_000,
    language="en-IN",
    tools=(Tool("find", "Find a slot", {"type": "object"}),),
)


def binary(message: Any) -> bytes:
    """Gemini sends JSON in binary frames."""
    return json.dumps(message).encode()


def content(**parts: Any) -> bytes:
    return binary({"serverContent": parts})


def audio(pcm: Pcm) -> dict[str, Any]:
    data = base64.b64encode(to_bytes(pcm)).decode()
    return {"parts": [{"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": data}}]}


def model(url: str, patience: Patience = QUICK, tally: Tally | None = None) -> GeminiLive:
    return GeminiLive(
        url, KEY, tally or Tally(), model="gemini-live", voice="Kore", patience=patience
    )


def agreed(then: Handler | None = None) -> Handler:
    async def handle(talk: Talk) -> None:
        await talk.next()
        await talk.say(binary({"setupComplete": {}}))
        if then is not None:
            await then(talk)

    return handle


async def until_done(events: AsyncIterator[RealtimeEvent]) -> list[RealtimeEvent]:
    got = []
    async for event in events:
        got.append(event)
        if event is Moment.ANSWER_DONE:
            break
    return got


async def test_a_turn() -> None:
    async def turn(talk: Talk) -> None:
        await talk.next()
        await talk.say(
            content(inputTranscription={"text": " A "}),
            content(inputTranscription={"text": "room."}),
            content(modelTurn=audio(ramp(480)), outputTranscription={"text": "Su"}),
            content(modelTurn=audio(ramp(240)), outputTranscription={"text": "re."}),
            binary({"usageMetadata": {"promptTokenCount": 20, "responseTokenCount": 10}}),
            content(generationComplete=True),
            content(turnComplete=True),
        )

    tally = Tally()
    async with (
        talking(agreed(turn)) as server,
        model(server.url, tally=tally).open(SETUP) as session,
    ):
        await session.push(ramp(320))
        events = await until_done(aiter(session.events()))
    sounds = [event for event in events if isinstance(event, SpokenAudio)]
    assert [len(sound.pcm) for sound in sounds] == [480, 240]
    assert np.array_equal(sounds[0].pcm, ramp(480))
    assert [event for event in events if not isinstance(event, SpokenAudio)] == [
        Heard("user", " A ", False),
        Heard("user", "room.", False),
        Heard("user", "A room.", True),
        Heard("assistant", "Su", False),
        Heard("assistant", "re.", False),
        Usage("gemini", "input-tokens", 20),
        Usage("gemini", "output-tokens", 10),
        Heard("assistant", "Sure.", True),
        Moment.ANSWER_DONE,
    ]
    assert tally.values["provider_usage", "gemini", "input-tokens"] == 20
    talk = server.talks[0]
    assert (talk.path, talk.query) == (f"/v1/{PATH}", {})
    assert talk.headers["x-goog-api-key"] == KEY
    setup = talk.got[0]["setup"]
    assert setup["model"] == "models/gemini-live"
    assert setup["systemInstruction"] == {"parts": [{"text": "Be kind."}]}
    assert setup["generationConfig"]["responseModalities"] == ["AUDIO"]
    assert setup["generationConfig"]["speechConfig"] == {
        "voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}},
        "languageCode": "en-IN",
    }
    assert setup["tools"][0]["functionDeclarations"][0]["name"] == "find"
    sent = talk.got[1]["realtimeInput"]["audio"]
    assert sent["mimeType"] == "audio/pcm;rate=16000"
    assert base64.b64decode(sent["data"]) == to_bytes(ramp(320))


async def test_an_interrupted_answer_is_not_heard_further() -> None:
    async def turn(talk: Talk) -> None:
        await talk.say(content(modelTurn=audio(ramp(480))))
        await talk.next()
        await talk.say(content(modelTurn=audio(ramp(240))), content(interrupted=True))
        await talk.say(content(modelTurn=audio(ramp(120))), content(turnComplete=True))

    async with talking(agreed(turn)) as server, model(server.url).open(SETUP) as session:
        events = aiter(session.events())
        await anext(events)
        await session.interrupt(heard_ms=5)
        await session.push(ramp(320))
        assert await until_done(events) == [Moment.CALLER_SPEAKS, Moment.ANSWER_DONE]
        after = await until_done(events)
        assert [len(one.pcm) for one in after if isinstance(one, SpokenAudio)] == [120]


async def test_tools_and_speaking() -> None:
    async def turn(talk: Talk) -> None:
        call = {"id": "c1", "name": "find", "args": {"day": "friday"}}
        await talk.say(binary({"toolCall": {"functionCalls": [call]}}))
        await talk.next()
        await talk.next()
        await talk.say(content(turnComplete=True))

    async with talking(agreed(turn)) as server, model(server.url).open(SETUP) as session:
        events = aiter(session.events())
        assert await anext(events) == ToolCall("c1", "find", '{"day": "friday"}')
        await session.tool_result("c1", "at nine")
        await session.say("Greet.")
        await until_done(events)
    response, greeting = server.talks[0].got[1:]
    assert response["toolResponse"]["functionResponses"] == [
        {"id": "c1", "name": "find", "response": {"output": "at nine"}}
    ]
    assert greeting["clientContent"]["turns"][0]["parts"] == [{"text": "Greet."}]
    assert greeting["clientContent"]["turnComplete"] is True


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (b"\xff\xfe", "garbage"),
        (content(modelTurn={"parts": [{"inlineData": {"data": "*"}}]}), "garbage"),
        (binary({"toolCall": {"functionCalls": [{}]}}), "garbage"),
        (None, "cut-off"),
    ],
)
async def test_faults(words: bytes | None, reason: str) -> None:
    async def turn(talk: Talk) -> None:
        if words is None:
            talk.cut()
        else:
            await talk.say(words)

    async with talking(agreed(turn)) as server, model(server.url).open(SETUP) as session:
        with pytest.raises(ProviderError) as caught:
            await all_of(session.events())
    assert caught.value.reason == reason


async def closing(talk: Talk) -> None:
    await talk.next()
    await talk.socket.close(1008, "models/SECRET is not found")


@pytest.mark.parametrize(
    ("handler", "statuses", "reason"),
    [(mute, (403,), "unauthorised"), (mute, (), "timeout"), (closing, (), "refused")],
)
async def test_sessions_that_do_not_begin(
    handler: Handler, statuses: tuple[int, ...], reason: str
) -> None:
    async with talking(handler, *statuses) as server:
        with pytest.raises(ProviderError) as caught:
            await model(server.url, HASTY).open(SETUP).__aenter__()
    assert caught.value.reason == reason
    assert "SECRET" not in str(caught.value)


async def test_leaving_ends_the_events() -> None:
    async with talking(agreed()) as server:
        async with model(server.url).open(SETUP) as session:
            reading = asyncio.ensure_future(all_of(session.events()))
            await asyncio.sleep(0)
        assert await asyncio.wait_for(reading, 20) == []
