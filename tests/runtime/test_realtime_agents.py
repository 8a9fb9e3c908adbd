"""Speech-to-speech agents made from YAML, up to a call that is led over the wire."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from sipbot.agent.providers.counts import Tally
from sipbot.agent.realtime.agent import RealtimeAgent
from sipbot.ops.config import Config
from sipbot.ops.config_realtime import RealtimeAgentConfig
from sipbot.runtime.agents import make_agents
from sipbot.runtime.realtime_agents import make_realtime_agent
from sipbot.testing.simulate import SimulatedCaller, simulate
from tests.agent.providers.kit import ramp
from tests.agent.providers.servers.websocket import Talk, talking
from tests.agent.providers.test_openai_realtime import CREATED, agreed, audio, done

WHOLE = """
type: realtime
model: {provider: openai, api_key: k, base_url: "ws://127.0.0.1:1/v1"}
prompt: You are the desk of a clinic.
voice: cedar
language: hi-IN
greeting: Say namaste.
max_silence_s: 5
give_up_transfer: desk
tools: {transfer: {desk: front-desk}, hang_up: false}
"""
PATIENCE_S = 20.0


def made(**changed: Any) -> RealtimeAgent:
    config = RealtimeAgentConfig.model_validate({**yaml.safe_load(WHOLE), **changed})
    return make_realtime_agent(config, Tally())


def test_all_settings_arrive() -> None:
    agent = made()
    settings = agent.settings
    assert (settings.voice, settings.language) == ("cedar", "hi-IN")
    assert (settings.greeting, settings.max_silence_s) == ("Say namaste.", 5)
    assert settings.give_up_transfer == "desk"
    assert [tool.name for tool in agent.tools] == ["transfer_call"]


def test_it_stands_in_the_configuration() -> None:
    config = Config.model_validate({"agents": {"desk": yaml.safe_load(WHOLE)}})
    assert isinstance(make_agents(config.agents, Path())["desk"], RealtimeAgent)
    with pytest.raises(ValidationError, match="prompt"):
        made(prompt="")


async def test_a_call_over_the_wire() -> None:
    over = asyncio.Event()

    async def turn(talk: Talk) -> None:
        asked = await talk.until("response.create")
        assert asked["response"]["instructions"] == "Say namaste."
        await talk.say(CREATED, audio(ramp(4_800)), done())
        await talk.until("input_audio_buffer.append")
        over.set()

    async with talking(agreed(turn)) as server:
        agent = made(model={"provider": "openai", "api_key": "k", "base_url": server.url})
        async with simulate(agent) as caller:
            await asyncio.wait_for(over.wait(), PATIENCE_S)
            async with asyncio.timeout(PATIENCE_S):
                await until_heard(caller)
            caller.hangs_up()
            await caller.ended()
        await asyncio.wait_for(server.ended.wait(), PATIENCE_S)


async def until_heard(caller: SimulatedCaller) -> None:
    while not any(frame.any() for frame in caller.leg.audio.heard):
        await caller.waits(0.02)
