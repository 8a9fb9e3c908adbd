"""Makes speech-to-speech agents from their configuration."""

from __future__ import annotations

from sipbot.agent.providers.counts import Counts
from sipbot.agent.realtime.agent import RealtimeAgent
from sipbot.agent.realtime.settings import RealtimeSettings
from sipbot.ops.config_realtime import RealtimeAgentConfig
from sipbot.runtime.providers import make_realtime
from sipbot.runtime.voice_agents import make_tools


def make_realtime_agent(config: RealtimeAgentConfig, counts: Counts) -> RealtimeAgent:
    """One agent. Raises AgentLoadError for a function that cannot be loaded."""
    settings = RealtimeSettings(
        config.prompt,
        voice=config.voice,
        language=config.language,
        greeting=config.greeting,
        follow_up=config.follow_up,
        goodbye=config.goodbye,
        give_up=config.give_up,
        give_up_transfer=config.give_up_transfer,
        max_silence_s=config.max_silence_s,
        follow_up_s=config.follow_up_s,
        max_follow_ups=config.max_follow_ups,
        max_call_s=config.max_call_s,
        tool_timeout_s=config.tool_timeout_s,
    )
    return RealtimeAgent(make_realtime(config.model, counts), settings, make_tools(config.tools))
