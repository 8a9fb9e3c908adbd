"""What the configuration names is made, and each provider gets its own keys and limits."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from sipbot.agent.ports import Message, Service, TextDelta
from sipbot.agent.providers.counts import Tally
from sipbot.agent.providers.espeak import EspeakSynthesizer
from sipbot.agent.providers.fallback import FallbackSynthesizer
from sipbot.agent.providers.fallback_listening import FallbackSpeechToText
from sipbot.agent.providers.google_cloud import GoogleVoice
from sipbot.agent.providers.openai_chat import OpenAiChat
from sipbot.agent.providers.patience import Patience
from sipbot.agent.providers.speaking import HttpSynthesizer
from sipbot.ops.config_providers import LlmChain, RealtimeChain, SttChain, TtsChain
from sipbot.ops.counters import Counters
from sipbot.runtime.providers import make_llm, make_realtime, make_stt, make_tts
from tests.agent.providers.servers.http import hanging, refusing, serving
from tests.agent.providers.servers.openai import hello

LLM: TypeAdapter[Any] = TypeAdapter(LlmChain)
STT: TypeAdapter[Any] = TypeAdapter(SttChain)
TTS: TypeAdapter[Any] = TypeAdapter(TtsChain)
REALTIME: TypeAdapter[Any] = TypeAdapter(RealtimeChain)
KEYED = {"api_key": "k"}


@pytest.mark.parametrize(
    "section",
    [
        {"provider": "openai", **KEYED},
        {"provider": "deepgram", **KEYED},
        {"provider": "elevenlabs", "voice": "v", **KEYED},
        {"provider": "cartesia", "voice": "v", **KEYED},
        {"provider": "sarvam", **KEYED},
    ],
)
async def test_voices_of_services(section: dict[str, str]) -> None:
    voice = make_tts(TTS.validate_python(section), Tally())
    assert isinstance(voice, HttpSynthesizer)
    assert isinstance(voice, Service)
    await voice.close()


async def test_other_voices_and_chains() -> None:
    assert isinstance(
        make_tts(TTS.validate_python({"provider": "espeak"}), Tally()), EspeakSynthesizer
    )
    google = make_tts(TTS.validate_python({"provider": "google"}), Tally())
    assert isinstance(google, GoogleVoice)
    sections = [{"provider": "piper", "model": "/none.onnx"}, {"provider": "espeak"}]
    chain = make_tts(TTS.validate_python(sections), Tally())
    assert isinstance(chain, FallbackSynthesizer)
    assert {chunk.rate async for chunk in chain.synthesize("Hello.")} == {22_050}
    await chain.close()


@pytest.mark.parametrize(
    "section",
    [
        {"provider": "openai", **KEYED},
        {"provider": "deepgram", **KEYED},
        {"provider": "sarvam", **KEYED},
        {"provider": "google"},
        {"provider": "whisper", "model": "/none"},
    ],
)
async def test_recognisers(section: dict[str, str]) -> None:
    ears = make_stt(STT.validate_python(section), Tally())
    assert isinstance(ears, FallbackSpeechToText)
    await ears.close()


@pytest.mark.parametrize("provider", ["openai", "gemini"])
def test_speech_to_speech(provider: str) -> None:
    section = {"provider": provider, **KEYED}
    single = make_realtime(REALTIME.validate_python(section), Tally())
    chain = make_realtime(REALTIME.validate_python([section, section]), Tally())
    assert type(single) is not type(chain)


async def test_a_chain_of_language_models_counts_in_the_counters_of_the_process() -> None:
    counters = Counters()
    async with serving(refusing(401)) as first, serving(hello()) as second:
        sections = [
            {"provider": "openai", "model": "a", "base_url": first.url, "api_key": "wrong"},
            {"provider": "openai", "model": "b", "base_url": second.url},
        ]
        model = make_llm(LLM.validate_python(sections), counters)
        deltas = [delta async for delta in model.reply([Message("user", "Hello")])]
        assert TextDelta("morning.") in deltas
        assert first.requests[0].headers["authorization"] == "Bearer wrong"
        assert "authorization" not in second.requests[0].headers
        assert isinstance(model, Service)
        await model.close()
    shown = counters.snapshot()
    assert shown['provider_failures{provider="openai",reason="unauthorised"}'] == 1
    assert shown['provider_fallbacks{kind="llm",provider="openai"}'] == 1
    assert shown['provider_usage{provider="openai",unit="input-tokens"}'] == 21


async def test_a_single_model_is_no_chain() -> None:
    section = {"provider": "openai", "model": "m", "base_url": "http://127.0.0.1:1/v1"}
    model = make_llm(LLM.validate_python(section), Tally())
    assert isinstance(model, OpenAiChat)
    await model.close()


async def test_in_a_chain_one_that_hangs_is_asked_once_and_in_a_hurry() -> None:
    counters = Counters()
    async with serving(hanging) as first, serving(hello()) as second:
        sections: list[dict[str, Any]] = [
            {"provider": "openai", "model": "a", "base_url": first.url},
            {"provider": "openai", "model": "b", "base_url": second.url},
        ]
        sections[0]["patience"] = {"first_s": 0.2}
        model = make_llm(LLM.validate_python(sections), counters)
        assert TextDelta("morning.") in [one async for one in model.reply([Message("user", "x")])]
        assert len(first.requests) == 1
        assert isinstance(model, Service)
        await model.close()


@pytest.mark.parametrize(
    ("said", "patience"),
    [
        ({}, Patience(1.0, 2.0, 3.0, attempts=1)),
        ({"attempts": 3, "first_s": 9}, Patience(1.0, 9.0, 3.0, attempts=3)),
    ],
)
async def test_what_is_said_of_patience_counts(said: dict[str, float], patience: Patience) -> None:
    section = {"provider": "cartesia", "voice": "v", "patience": said, **KEYED}
    chain = make_tts(TTS.validate_python([section, {**section, "patience": {}}]), Tally())
    assert isinstance(chain, FallbackSynthesizer)
    found = [one.patience for one in chain.members if isinstance(one, HttpSynthesizer)]
    assert found == [patience, Patience()]
    await chain.close()
