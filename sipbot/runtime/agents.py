"""Makes the agents that the configuration names."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
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
    maker = _Maker(counts or Tally())
    return {name: maker.make(config) for name, config in configured.items()}


class _Maker:
    """What agents speak and think with is imported only where there is such an agent: it takes time
    and memory in each process."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._voices: VoiceAgents | None = None

    def make(self, config: AgentConfig) -> Agent:
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
                return self._voice_agents().make(config)
            case RealtimeAgentConfig():
                from sipbot.runtime.realtime_agents import make_realtime_agent

                return make_realtime_agent(config, self._counts)

    def _voice_agents(self) -> VoiceAgents:
        if self._voices is None:
            from sipbot.runtime.voice_agents import VoiceAgents

            self._voices = VoiceAgents(self._counts)
        return self._voices
