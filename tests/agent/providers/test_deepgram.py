"""Deepgram's streaming recognition and speech against servers that speak its protocols."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from sipbot.agent.ports import ListenFor, Transcript
from sipbot.agent.providers.counts import Tally
from sipbot.agent.providers.deepgram import DeepgramEars, DeepgramVoice
from sipbot.agent.providers.patience import Patience
from sipbot.agent.providers.pcm import to_bytes
from sipbot.errors import ProviderError
from tests.agent.providers.kit import HASTY, KEY, QUICK, all_of, ramp, samples_of, service
from tests.agent.providers.servers.http import serving
from tests.agent.providers.servers.openai import speech
from tests.agent.providers.servers.websocket import Handler, Talk, mute, talking

WANTED = ListenFor(rate=8_000, language="hi", phrases=("Kaveri", "idli"))


def results(text: str, *, final: bool = False, confidence: float = 0.9, **more: Any) -> Any:
    return {
        "type": "Results",
        "channel_index": [0, 1],
        "is_final": final,
        "speech_final": False,
        "channel": {"alternatives": [{"transcript": text, "confidence": confidence}]},
        **more,
    }


def ears(
    url: str, patience: Patience = QUICK, tally: Tally | None = None, keep_alive_s: float = 4.0
) -> DeepgramEars:
    return DeepgramEars(
        url, KEY, tally or Tally(), model="nova-3", patience=patience, keep_alive_s=keep_alive_s
    )


async def until_final(transcripts: AsyncIterator[Transcript]) -> list[Transcript]:
    got = []
    async for transcript in transcripts:
        got.append(transcript)
        if transcript.final:
            break
    return got


async def test_an_utterance_with_interim_texts_and_several_parts() -> None:
    async def handle(talk: Talk) -> None:
        await talk.next()
        await talk.say({"type": "Metadata", "request_id": "x"}, results(""), results("I want"))
        await talk.say(results("I want a", final=True), results("room"))
        await talk.until("Finalize")
        await talk.say(results("room.", final=True, confidence=0.7, from_finalize=True))

    tally = Tally()
    async with talking(handle) as server, ears(server.url, tally=tally).open(WANTED) as heard:
        await heard.push(ramp(8_000))
        await heard.finish_utterance()
        got = await until_final(heard.transcripts())
    assert got == [
        Transcript("I want", False, None),
        Transcript("I want a", False, 0.9),
        Transcript("I want a room", False, 0.9),
        Transcript("I want a room.", True, 0.7),
    ]
    talk = server.talks[0]
    assert talk.got[0] == to_bytes(ramp(8_000))
    assert talk.path == "/v1/listen"
    assert talk.headers["authorization"] == f"Token {KEY}"
    assert talk.query["sample_rate"] == ["8000"]
    assert talk.query["language"] == ["hi"]
    assert talk.query["keyterm"] == ["Kaveri", "idli"]
    assert tally.values["provider_usage", "deepgram", "audio-ms"] == 1_000


async def test_finalize_without_an_answer_gives_what_was_certain() -> None:
    async def handle(talk: Talk) -> None:
        await talk.next()
        await talk.say(results("Yes.", final=True))

    async with talking(handle) as server, ears(server.url).open(WANTED) as heard:
        transcripts = aiter(heard.transcripts())
        await heard.push(ramp())
        assert await anext(transcripts) == Transcript("Yes.", False, 0.9)
        await heard.finish_utterance()
        assert await anext(transcripts) == Transcript("Yes.", True, 0.9)


async def test_a_cough_is_nothing_understood_and_a_dead_service_is_an_error() -> None:
    async with talking(mute) as server, ears(server.url, HASTY).open(WANTED) as heard:
        transcripts = aiter(heard.transcripts())
        await heard.finish_utterance()
        assert await anext(transcripts) == Transcript("", True)
        await heard.finish_utterance()
        with pytest.raises(ProviderError, match="deepgram: timeout"):
            await anext(transcripts)


async def test_speech_that_is_never_finished_is_an_error() -> None:
    async def handle(talk: Talk) -> None:
        await talk.next()
        await talk.say(results("I wa"))

    async with talking(handle) as server, ears(server.url, HASTY).open(WANTED) as heard:
        transcripts = aiter(heard.transcripts())
        await heard.push(ramp())
        await anext(transcripts)
        await heard.finish_utterance()
        with pytest.raises(ProviderError, match="timeout"):
            await anext(transcripts)


async def test_a_silent_connection_is_kept_alive() -> None:
    alive = asyncio.Event()

    async def handle(talk: Talk) -> None:
        await talk.until("KeepAlive")
        alive.set()

    async with talking(handle) as server, ears(server.url, keep_alive_s=0.01).open(WANTED):
        await asyncio.wait_for(alive.wait(), 20)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("not json", "garbage"),
        ("[1, 2]", "garbage"),
        ({"type": "Results", "channel": {"alternatives": []}}, "garbage"),
        ({"type": "Error", "description": "SECRET"}, "failed"),
        (None, "cut-off"),
    ],
)
async def test_faults_in_the_middle(words: Any, reason: str) -> None:
    async def handle(talk: Talk) -> None:
        if words is None:
            talk.cut()
        else:
            await talk.say(words)

    async with talking(handle) as server, ears(server.url).open(WANTED) as heard:
        with pytest.raises(ProviderError) as caught:
            await until_final(heard.transcripts())
    assert caught.value.reason == reason
    assert "SECRET" not in str(caught.value)


async def never(_: Talk) -> None:
    raise AssertionError("nobody gets this far")


@pytest.mark.parametrize(
    ("statuses", "reason"),
    [((401,), "unauthorised"), ((429, 429), "rate-limited"), ((503, 500), "unavailable")],
)
async def test_connections_that_are_refused(statuses: tuple[int, ...], reason: str) -> None:
    handler: Handler = never
    async with talking(handler, *statuses) as server:
        with pytest.raises(ProviderError) as caught:
            await ears(server.url).open(WANTED).__aenter__()
    assert caught.value.reason == reason
    assert KEY not in str(caught.value)
    assert "SECRET" not in str(caught.value)


async def test_a_connection_that_is_refused_once_is_tried_again() -> None:
    tally = Tally()
    async with (
        talking(mute, 429, Retry_After="0") as server,
        ears(server.url, tally=tally).open(WANTED),
    ):
        assert len(server.talks) == 1
    assert tally.values["provider_failures", "deepgram", "rate-limited"] == 1


async def test_leaving_closes_the_connection_and_ends_the_transcripts() -> None:
    async with talking(mute) as server:
        async with ears(server.url).open(WANTED) as heard:
            reading = asyncio.ensure_future(until_final(heard.transcripts()))
            await asyncio.sleep(0)
        assert await asyncio.wait_for(reading, 20) == []
        await asyncio.wait_for(server.ended.wait(), 20)


async def test_pushing_into_a_connection_that_is_gone() -> None:
    async def handle(talk: Talk) -> None:
        talk.cut()

    async with talking(handle) as server, ears(server.url).open(WANTED) as heard:
        with pytest.raises(ProviderError, match="cut-off"):
            await until_final(heard.transcripts())
        with pytest.raises(ProviderError, match="cut-off"):
            await heard.push(ramp())


async def test_speech() -> None:
    async with serving(speech(to_bytes(ramp()), kind="audio/l16;rate=16000")) as server:
        voice = DeepgramVoice(service(server.url), Tally(), "aura-2-thalia-en", 16_000)
        chunks = await all_of(voice.synthesize("Hello."))
        request = server.requests[0]
    assert np.array_equal(samples_of(chunks), ramp())
    assert {chunk.rate for chunk in chunks} == {16_000}
    assert request.path == "/v1/speak"
    assert request.json == {"text": "Hello."}
    assert request.query == {
        "model": ["aura-2-thalia-en"],
        "encoding": ["linear16"],
        "container": ["none"],
        "sample_rate": ["16000"],
    }


async def test_nothing_is_logged_of_what_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    async with talking(mute) as server, ears(server.url).open(WANTED) as heard:
        await heard.push(ramp())
        sent_by_us = [one for one in caplog.records if "server" not in one.name]
    assert all(KEY not in one.getMessage() for one in sent_by_us)
    assert server.talks[0].headers["authorization"] == f"Token {KEY}"
