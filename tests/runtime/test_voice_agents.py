"""Voice agents made from YAML, and mistakes told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from sipbot.agent.listening.holds import TextHolds
from sipbot.agent.providers.counts import Tally
from sipbot.agent.python_agent import AgentLoadError
from sipbot.agent.voice.agent import VoiceAgent
from sipbot.agent.voice.settings import BargeIn
from sipbot.ops.config import Config
from sipbot.ops.config_agents import VoiceAgentConfig
from sipbot.runtime.agents import make_agents
from sipbot.runtime.voice_agents import VoiceAgents

WHOLE = """
type: voice
prompt: You are the desk of a clinic.
stt: {provider: openai, base_url: "http://127.0.0.1:1/v1"}
llm:
  - {provider: openai, model: small, base_url: "http://127.0.0.1:1/v1"}
  - {provider: openai, model: other, base_url: "http://127.0.0.1:2/v1"}
tts: {provider: espeak}
language: en-IN
hints: [Rao, cardiology]
phrases: {greeting: Welcome., filler: ""}
barge_in: {policy: after-ms, ms: 400}
end_of_speech: {usual_ms: 600, short_ms: 200, long_ms: 900}
tools:
  transfer: {desk: front-desk}
  press_keys: true
  python: {slots: "tests.runtime.voice_tools:slots"}
  http:
    weather:
      description: The weather of a city.
      url: http://127.0.0.1:9/weather/{city}
      parameters: {properties: {city: {type: string}}, required: [city]}
max_silence_s: 3
give_up_transfer: desk
"""


def made(**changed: Any) -> VoiceAgent:
    config = VoiceAgentConfig.model_validate({**yaml.safe_load(WHOLE), **changed})
    return VoiceAgents(Tally()).make(config)


def test_all_settings_arrive() -> None:
    settings = made().settings
    assert settings.phrases.greeting == "Welcome."
    assert settings.phrases.filler == ""
    assert (settings.barge_in, settings.barge_in_ms) == (BargeIn.AFTER_MS, 400)
    assert settings.holds == TextHolds(600, 200, 900)
    assert (settings.language, settings.hints) == ("en-IN", ("Rao", "cardiology"))
    assert (settings.max_silence_s, settings.give_up_transfer) == (3, "desk")


def test_tools_are_told_to_the_model() -> None:
    tools = {one.name: one for one in made().tools}
    assert list(tools) == ["transfer_call", "hang_up", "press_keys", "slots", "weather"]
    assert tools["transfer_call"].parameters["properties"]["to"]["enum"] == ["desk"]
    assert tools["slots"].description == "Free slots of a day."
    assert tools["slots"].parameters["required"] == ["day"]


def test_agents_of_one_process_share_voice_activity() -> None:
    config = Config.model_validate({"agents": {n: yaml.safe_load(WHOLE) for n in ("a", "b")}})
    agents = make_agents(config.agents, Path.cwd())
    vads = {id(agent.vad) for agent in agents.values() if isinstance(agent, VoiceAgent)}
    assert len(vads) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"tools": {"python": {"f": "no.such.module:f"}}},
        {"tools": {"python": {"f": "tests.runtime.voice_tools:not_async"}}},
        {"tools": {"http": {"x": {"description": "d", "url": "http://h/{missing}"}}}},
        {"end_of_speech": {"detector": "tests.runtime.voice_tools:NoRule"}},
        {"end_of_speech": {"detector": "no.such.module:Rule"}},
    ],
)
def test_what_cannot_be_loaded_is_told(changed: dict[str, object]) -> None:
    with pytest.raises(AgentLoadError):
        made(**changed)


def test_a_rule_of_ones_own_decides_about_the_end_of_speech() -> None:
    agent = made(end_of_speech={"detector": "tests.runtime.voice_tools:Quick"})
    assert agent.holds.hold_ms("anything", 100) == 120


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"prompt": ""}, "prompt"),
        ({"barge_in": {"policy": "sometimes"}}, "barge_in.policy"),
        ({"end_of_speech": {"usual_ms": 100}}, "end_of_speech"),
        ({"tools": {"python": {"hang_up": "a.b:c"}}}, "tools"),
        ({"tools": {"python": {"f": "nonsense"}}}, "tools.python.f"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_mistakes_name_their_place(changed: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        VoiceAgentConfig.model_validate({**yaml.safe_load(WHOLE), **changed})
    places = {".".join(map(str, one["loc"])) for one in caught.value.errors()}
    assert told in places
