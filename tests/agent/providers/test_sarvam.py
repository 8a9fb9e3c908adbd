"""Sarvam's recognition and speech against servers that speak its protocols."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from sipbot.agent.ports import ListenFor, Transcript
from sipbot.agent.providers.counts import Tally
from sipbot.agent.providers.patience import Patience
from sipbot.agent.providers.pcm import to_bytes
from sipbot.agent.providers.sarvam import SarvamEars, SarvamVoice, language_code
from sipbot.errors import LocalProtocolError, ProviderError
from tests.agent.providers.kit import HASTY, KEY, QUICK, all_of, ramp, samples_of, service
from tests.agent.providers.servers.http import serving
from tests.agent.providers.servers.openai import speech
from tests.agent.providers.servers.websocket import Talk, mute, talking


def data(text: str) -> dict[str, object]:
    metrics = {"audio_duration": 1.2, "processing_latency": 0.1}
    return {"type": "data", "data": {"request_id": "r", "transcript": text, "metrics": metrics}}


def ears(url: str, patience: Patience = QUICK) -> SarvamEars:
    return SarvamEars(url, KEY, Tally(), model="saarika:v2.5", patience=patience)


async def test_utterances_end_when_we_say_so() -> None:
    async def handle(talk: Talk) -> None:
        await talk.next()
        await talk.say({"type": "events", "data": {"signal_type": "START_SPEECH"}}, data("नमस्ते"))
        await talk.until("flush")
        await talk.say(data("जी"))

    wanted = ListenFor(rate=8_000, language="hi")
    async with talking(handle) as server, ears(server.url).open(wanted) as heard:
        transcripts = aiter(heard.transcripts())
        await heard.push(ramp(800))
        assert await anext(transcripts) == Transcript("नमस्ते", False)
        await heard.finish_utterance()
        assert await anext(transcripts) == Transcript("नमस्ते जी", True)
    talk = server.talks[0]
    audio = talk.got[0]["audio"]
    assert base64.b64decode(audio["data"]) == to_bytes(ramp(800))
    assert (audio["sample_rate"], audio["encoding"]) == ("8000", "audio/wav")
    assert talk.path == "/v1/speech-to-text/ws"
    assert talk.headers["api-subscription-key"] == KEY
    assert talk.query["language-code"] == ["hi-IN"]
    assert talk.query["flush_signal"] == ["true"]
    assert talk.query["input_audio_codec"] == ["pcm_s16le"]


async def test_when_all_was_said_before_the_flush_it_is_final_soon() -> None:
    async def handle(talk: Talk) -> None:
        await talk.next()
        await talk.say(data("हाँ"))

    wanted = ListenFor(rate=16_000)
    async with talking(handle) as server, ears(server.url).open(wanted) as heard:
        transcripts = aiter(heard.transcripts())
        await heard.push(ramp())
        assert await anext(transcripts) == Transcript("हाँ", False)
        await heard.finish_utterance()
        assert await anext(transcripts) == Transcript("हाँ", True)
    assert server.talks[0].query["language-code"] == ["unknown"]


async def test_faults() -> None:
    async def handle(talk: Talk) -> None:
        await talk.say({"type": "error", "data": {"error": "SECRET", "code": "x"}})

    async with talking(handle) as server, ears(server.url).open(ListenFor()) as heard:
        with pytest.raises(ProviderError, match="sarvam: failed"):
            await anext(aiter(heard.transcripts()))
    async with talking(mute, 403) as server:
        with pytest.raises(ProviderError, match="unauthorised"):
            await ears(server.url).open(ListenFor()).__aenter__()
    async with talking(mute) as server, ears(server.url, HASTY).open(ListenFor()) as heard:
        transcripts = aiter(heard.transcripts())
        await heard.finish_utterance()
        assert await anext(transcripts) == Transcript("", True)
        await heard.finish_utterance()
        with pytest.raises(ProviderError, match="timeout"):
            await anext(transcripts)


async def test_rates_that_sarvam_does_not_take() -> None:
    with pytest.raises(LocalProtocolError):
        await ears("ws://127.0.0.1:1").open(ListenFor(rate=24_000)).__aenter__()


@pytest.mark.parametrize(
    ("language", "code"),
    [("hi", "hi-IN"), ("en-IN", "en-IN"), ("or", "od-IN"), ("or-IN", "od-IN"), ("ta", "ta-IN")],
)
def test_language_codes(language: str, code: str) -> None:
    assert language_code(language) == code


async def test_speech() -> None:
    async with serving(speech(to_bytes(ramp()), kind="audio/wav")) as server:
        voice = SarvamVoice(
            service(server.url), Tally(), "bulbul:v2", "anushka", language="hi", rate=8_000
        )
        chunks = await all_of(voice.synthesize("नमस्ते"))
        request = server.requests[0]
    assert np.array_equal(samples_of(chunks), ramp())
    assert request.path == "/v1/text-to-speech/stream"
    assert request.json == {
        "model": "bulbul:v2",
        "target_language_code": "hi-IN",
        "speech_sample_rate": 8_000,
        "output_audio_codec": "linear16",
        "text": "नमस्ते",
        "speaker": "anushka",
    }
