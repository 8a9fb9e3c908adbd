"""Makes voice agents from their configuration."""

from __future__ import annotations

import importlib
from collections.abc import Iterable

from sipbot.agent.listening.holds import HoldRule, TextHolds
from sipbot.agent.listening.vad import VadService
from sipbot.agent.providers.counts import Counts
from sipbot.agent.python_agent import AgentLoadError
from sipbot.agent.tools.builtin import hang_up_tool, press_keys_tool, transfer_tool
from sipbot.agent.tools.functions import load_function_tool
from sipbot.agent.tools.http import HttpTool
from sipbot.agent.tools.toolbox import RunnableTool
from sipbot.agent.voice.agent import VoiceAgent
from sipbot.agent.voice.settings import BargeIn, Phrases, VoiceSettings
from sipbot.ops.config_agents import EndOfSpeechConfig, ToolsConfig, VoiceAgentConfig
from sipbot.runtime.providers import make_llm, make_stt, make_tts


class VoiceAgents:
    """Those of one process; they share what hears voice activity."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._vad: dict[int, VadService] = {}  # by rate

    def make(self, config: VoiceAgentConfig) -> VoiceAgent:
        """One agent. Raises AgentLoadError for a function or a rule that cannot be loaded."""
        counts, rate = self._counts, config.listen_rate
        return VoiceAgent(
            stt=make_stt(config.stt, counts),
            llm=make_llm(config.llm, counts),
            tts=None if config.tts is None else make_tts(config.tts, counts),
            settings=_settings(config),
            tools=make_tools(config.tools),
            vad=self._vad.setdefault(rate, VadService(rate)),
            holds=_detector(config.end_of_speech),
            counts=counts,
        )


def load_voices(agents: Iterable[object]) -> None:
    """Load what takes longer than a packet may wait, before there are calls."""
    for agent in agents:
        if isinstance(agent, VoiceAgent):
            agent.load()


def _settings(config: VoiceAgentConfig) -> VoiceSettings:
    holds = config.end_of_speech
    return VoiceSettings(
        prompt=config.prompt,
        voice=config.voice,
        language=config.language,
        listen_rate=config.listen_rate,
        hints=config.hints,
        phrases=Phrases(**config.phrases.model_dump()),
        barge_in=BargeIn(config.barge_in.policy),
        barge_in_ms=config.barge_in.ms,
        barge_in_words=config.barge_in.words,
        holds=TextHolds(holds.usual_ms, holds.short_ms, holds.long_ms),
        stt_timeout_s=config.stt_timeout_s,
        llm_timeout_s=config.llm_timeout_s,
        tts_timeout_s=config.tts_timeout_s,
        tool_timeout_s=config.tool_timeout_s,
        max_silence_s=config.max_silence_s,
        max_failures=config.max_failures,
        give_up_transfer=config.give_up_transfer,
        follow_up_s=config.follow_up_s,
        max_follow_ups=config.max_follow_ups,
        max_call_s=config.max_call_s,
        max_turns=config.max_turns,
    )


def make_tools(config: ToolsConfig) -> list[RunnableTool]:
    """What a model may do. Raises AgentLoadError for a function that cannot be loaded."""
    tools = []
    if config.transfer:
        tools.append(transfer_tool(config.transfer))
    if config.hang_up:
        tools.append(hang_up_tool())
    if config.press_keys:
        tools.append(press_keys_tool())
    tools += [load_function_tool(entry, name) for name, entry in config.python.items()]
    for name, http in config.http.items():
        try:
            tools.append(HttpTool(name, **http.model_dump()).runnable())
        except ValueError as error:
            raise AgentLoadError(f"tool {name!r}: {error}") from error
    return tools


def _detector(config: EndOfSpeechConfig) -> HoldRule | None:
    if config.detector is None:
        return None
    module, _, name = config.detector.partition(":")
    try:
        rule: HoldRule = getattr(importlib.import_module(module), name)()
    except Exception as error:
        kind = type(error).__name__
        raise AgentLoadError(f"{config.detector!r} cannot be made: {kind}: {error}") from error
    if not callable(getattr(rule, "hold_ms", None)):
        raise AgentLoadError(f"{config.detector!r} has no method hold_ms(text, speech_ms)")
    return rule
