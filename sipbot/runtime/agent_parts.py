"""Makes what agents need from the configuration, in the processes that run them."""

from __future__ import annotations

from pathlib import Path

from sipbot.agent.providers.espeak import EspeakSynthesizer, EspeakVoice
from sipbot.agent.runner import AgentRunner, RunnerSettings
from sipbot.clock import Clock
from sipbot.ops.config import Config
from sipbot.ops.counters import Counters
from sipbot.ops.logs import get_logger
from sipbot.runtime.agents import make_agents
from sipbot.runtime.host import HostParts
from sipbot.runtime.voice_agents import load_voices


def host_parts(config: Config, base: Path | None, clock: Clock, counters: Counters) -> HostParts:
    """Everything that agents need.

    Raises ConfigError or AgentLoadError for an agent that cannot be made.
    """
    speech = config.speech
    voice = EspeakVoice(speech.voice, speech.words_per_minute, speech.volume, speech.pitch)
    agents = make_agents(config.agents, base, counters)
    load_voices(agents.values())
    return HostParts(
        agents=agents,
        runner=AgentRunner(_runner_settings(config)),
        synthesizer=EspeakSynthesizer(voice),
        clock=clock,
        counters=counters,
        log=get_logger("call"),
    )


def _runner_settings(config: Config) -> RunnerSettings:
    return RunnerSettings(
        min_ring_s=config.call.ring.min_ms / 1000,
        prepare_timeout_s=config.call.prepare_timeout_s,
        max_duration_s=config.call.max_duration_s,
        drain_timeout_s=config.call.drain_timeout_s,
        show_errors=config.logging.agent_errors,
        apology=config.call.apology,
    )
