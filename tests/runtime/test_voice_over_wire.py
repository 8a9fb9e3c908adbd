"""A voice agent from YAML whose services are reached over their wire protocols, in real time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import yaml

from sipbot.agent.listening.vad import VadService
from sipbot.agent.providers.counts import Tally
from sipbot.agent.providers.fallback import close_all
from sipbot.agent.providers.pcm import to_bytes
from sipbot.agent.voice.agent import VoiceAgent
from sipbot.agent.voice.settings import VoiceSettings
from sipbot.ops.config_providers import LlmChain, SttChain, TtsChain
from sipbot.ops.section import Section
from sipbot.runtime.providers import make_llm, make_stt, make_tts
from sipbot.testing.simulate import SimulatedCaller, simulate
from sipbot.testing.speech import tone
from tests.agent.providers.servers.http import refusing, serving
from tests.agent.providers.servers.openai import hello, speech
from tests.agent.providers.servers.websocket import Talk, talking
from tests.agent.providers.test_deepgram import results
from tests.agent.voice.kit import LoudModel

PATIENCE_S = 30.0
SERVICES = """
stt:
  - {provider: deepgram, api_key: k, base_url: STT0}
  - {provider: deepgram, api_key: k, base_url: STT1}
llm:
  - {provider: openai, model: a, base_url: LLM0}
  - {provider: openai, model: b, base_url: LLM1}
tts: {provider: cartesia, api_key: k, voice: v, rate: 8000, base_url: TTS}
"""
SETTINGS = VoiceSettings(
    prompt="You are the desk of a clinic.",
    stt_timeout_s=10,
    llm_timeout_s=10,
    tts_timeout_s=10,
    max_silence_s=20,
)


class Services(Section):
    """As the section of a voice agent has them."""

    stt: SttChain
    llm: LlmChain
    tts: TtsChain


@asynccontextmanager
async def made(tally: Tally, **addresses: str) -> AsyncGenerator[VoiceAgent, None]:
    text = SERVICES
    for name, url in addresses.items():
        text = text.replace(name, url.replace("ws://", "http://"))
    config = Services.model_validate(yaml.safe_load(text))
    stt, llm = make_stt(config.stt, tally), make_llm(config.llm, tally)
    tts = make_tts(config.tts, tally)
    vad = VadService(model=LoudModel())
    try:
        yield VoiceAgent(stt=stt, llm=llm, tts=tts, settings=SETTINGS, vad=vad)
    finally:
        await close_all((stt, llm, tts))


async def until_heard(caller: SimulatedCaller) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not any(frame.any() for frame in caller.leg.audio.heard):
            await caller.waits(0.02)


async def test_a_turn_over_the_wire_with_a_spare_for_what_fails() -> None:
    said = asyncio.Event()

    async def recognise(talk: Talk) -> None:
        await talk.next()
        await talk.say(results("A room"))
        await talk.until("Finalize")
        await talk.say(results("A room, please.", final=True, from_finalize=True))
        said.set()

    async def never(_: Talk) -> None:
        raise AssertionError("nobody gets this far")

    tally = Tally()
    sound = to_bytes(tone(500))
    async with (
        talking(never, 401, 401) as broken_ears,
        talking(recognise) as ears,
        serving(refusing(503)) as broken_model,
        serving(hello()) as model,
        serving(speech(sound)) as voice,
        made(
            tally,
            STT0=broken_ears.url,
            STT1=ears.url,
            LLM0=broken_model.url,
            LLM1=model.url,
            TTS=voice.url,
        ) as bot,
        simulate(bot) as caller,
    ):
        caller.says(tone(800, hz=300))
        await asyncio.wait_for(said.wait(), PATIENCE_S)
        await until_heard(caller)
        caller.hangs_up()
        await caller.ended()
    asked = model.requests[0].json["messages"]
    assert [(one["role"], one["content"]) for one in asked] == [
        ("system", "You are the desk of a clinic."),
        ("user", "A room, please."),
    ]
    assert "Good morning." in [one.json["transcript"] for one in voice.requests]
    assert tally.values["provider_fallbacks", "stt", "deepgram"] == 1
    assert tally.values["provider_fallbacks", "llm", "openai"] == 1
