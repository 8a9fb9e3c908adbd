"""Providers in YAML: one or a chain, and mistakes told with key and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from sipbot.errors import ConfigError
from sipbot.ops.config_providers import (
    DeepgramSttConfig,
    EspeakTtsConfig,
    LlmChain,
    OpenAiLlmConfig,
    RealtimeChain,
    SttChain,
    TtsChain,
)
from sipbot.ops.load import load as load_config
from sipbot.ops.section import Section
from sipbot.yamlmarks import load, validate


class Agent(Section):
    """As an agent's section has them."""

    stt: SttChain | None = None
    llm: LlmChain | None = None
    tts: TtsChain | None = None
    realtime: RealtimeChain | None = None


def read(tmp_path: Path, text: str) -> Agent:
    file = tmp_path / "agent.yaml"
    file.write_text(text)
    return validate(Agent, load(file))


def problem(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    return str(caught.value).removeprefix(str(tmp_path))


def test_one_provider_and_a_chain(tmp_path: Path) -> None:
    agent = read(
        tmp_path,
        """
stt: {provider: deepgram, api_key: dg-key, language: hi}
llm:
  provider: openai
  model: qwen
  base_url: http://127.0.0.1:11434/v1
  options: {temperature: 0.3}
tts:
  - {provider: elevenlabs, api_key: el-key, voice: v1, patience: {first_s: 1.5}}
  - {provider: espeak, voice: hi}
realtime: {provider: gemini, api_key: g-key}
""",
    )
    assert agent.stt is not None
    assert agent.llm is not None
    assert agent.tts is not None
    assert isinstance(agent.stt[0], DeepgramSttConfig)
    assert isinstance(agent.llm[0], OpenAiLlmConfig)
    assert agent.llm[0].options == {"temperature": 0.3}
    assert [one.provider for one in agent.tts] == ["elevenlabs", "espeak"]
    assert isinstance(agent.tts[1], EspeakTtsConfig)


def test_keys_are_not_shown(tmp_path: Path) -> None:
    agent = read(tmp_path, "stt: {provider: deepgram, api_key: dg-key}")
    assert "dg-key" not in repr(agent)
    assert "dg-key" not in agent.model_dump_json()
    assert "bad key" not in problem(tmp_path, "stt: {provider: deepgram, api_key: bad key}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("stt: {provider: deepgam, api_key: k}", "must be one of"),
        ("stt: {api_key: k}", "this key is required"),
        ("stt: []", "must hold at least one"),
        ("stt: deepgram", "must be"),
        ("stt: {provider: deepgram}", "api_key: this key is required"),
        ("stt: {provider: deepgram, api_key: ''}", "not empty"),
        ("llm: {provider: openai, model: m}", "api_key is required for api.openai.com"),
        ("llm: {provider: openai, model: m, base_url: ftp://x}", "must look like https://"),
        ("tts: {provider: cartesia, api_key: k, voice: v, rate: 44100}", "rate"),
        ("tts: {provider: espeak, vioce: hi}", "did you mean 'voice'?"),
        ("realtime: {provider: openai, api_key: k, base_url: https://x}", "must look like wss://"),
        ("tts: [{provider: espeak}, {provider: espeak, words_per_minute: 9}]", "/agent.yaml:1:"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, told: str) -> None:
    message = problem(tmp_path, text)
    assert told in message
    assert message.startswith("/agent.yaml:1: ")


WHOLE = """\
agents:
  desk:
    type: voice
    prompt: You are the desk.
    stt: {provider: whisper, model: none}
    llm: {provider: openai, model: m, base_url: "http://127.0.0.1:1/v1"}
    tts:
      - {provider: piper, model: nope.onnx}
      - {provider: google, credentials: nope.json}
"""


def whole(tmp_path: Path, text: str) -> list[str]:
    """What is wrong with a whole configuration, from the key on."""
    file = tmp_path / "sipbot.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(file, {})
    return [str(one).removeprefix(f"{file}:") for one in caught.value.problems]


def test_models_that_are_not_there(tmp_path: Path) -> None:
    assert whole(tmp_path, WHOLE) == [
        f"5: agents.desk.stt.model = none: there is no directory {tmp_path / 'none'}",
        f"8: agents.desk.tts[0].model = nope.onnx: there is no file {tmp_path / 'nope.onnx'}",
        f"9: agents.desk.tts[1].credentials = ***: there is no file {tmp_path / 'nope.json'}",
    ]
    (tmp_path / "none").mkdir()
    for name in ("nope.onnx", "nope.json"):
        (tmp_path / name).touch()
    file = tmp_path / "sipbot.yaml"
    assert "desk" in load_config(file, {}).config.agents


def test_unknown_keys_of_providers_of_an_agent(tmp_path: Path) -> None:
    text = WHOLE.replace(
        "{provider: google, credentials: nope.json}", "{provider: espeak, vioce: hi}"
    )
    (problem,) = whole(tmp_path, text)
    assert problem.startswith(
        "9: agents.desk.tts[1].vioce = hi: unknown key; did you mean 'voice'?"
    )
