"""Makes the agents that the configuration names."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from sipbot.agent.echo import EchoAgent
from sipbot.agent.flow import load_flow_agent
from sipbot.agent.loopback import LoopbackAgent
from sipbot.agent.port import Agent
from sipbot.agent.providers.counts import Counts, Tally
from sipbot.agent.python_agent import load_agent
from sipbot.ops.config import (
    AgentConfig,
    EchoAgentConfig,
    FlowAgentConfig,
    LoopbackAgentConfig,
    PythonAgentConfig,
)
from sipbot.ops.config_agents import VoiceAgentConfig
from sipbot.ops.config_realtime import RealtimeAgentConfig
from sipbot.runtime.realtime_agents import make_realtime_agent
from sipbot.runtime.voice_agents import VoiceAgents


def make_agents(
    configured: Mapping[str, AgentConfig], base: Path | None, counts: Counts | None = None
) -> dict[str, Agent]:
    """One agent object for each name; it serves all calls.

    ``base`` is the directory of the configuration file: modules beside it can be imported. Raises
    ConfigError for a flow with mistakes, AgentLoadError for a Python agent that cannot be loaded.
    """
    if base is not None and str(base) not in sys.path:
        sys.path.insert(0, str(base))
    counts = counts or Tally()
    voices = VoiceAgents(counts)
    return {name: _make(config, voices, counts) for name, config in configured.items()}


def _make(config: AgentConfig, voices: VoiceAgents, counts: Counts) -> Agent:
    match config:
        case EchoAgentConfig():
            return EchoAgent()
        case LoopbackAgentConfig():
            return LoopbackAgent()
        case FlowAgentConfig():
            return load_flow_agent(config.file)
        case PythonAgentConfig():
            return load_agent(config.entry, config.settings)
        case VoiceAgentConfig():
            return voices.make(config)
        case RealtimeAgentConfig():
            return make_realtime_agent(config, counts)
