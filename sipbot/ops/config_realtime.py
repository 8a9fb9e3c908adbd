"""Agents whose model hears and speaks itself: ``type: realtime``."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from sipbot.ops.config_agents import Phrase, ToolsConfig
from sipbot.ops.config_providers import Language, RealtimeChain
from sipbot.ops.section import Seconds, Section


class RealtimeAgentConfig(Section):
    """A model that hears and speaks itself, see `docs/providers.md`."""

    type: Literal["realtime"]
    """Always `realtime`."""
    model: RealtimeChain
    """The model, or a list of which the next is used when one cannot be reached."""
    prompt: str = Field(min_length=1, max_length=50_000)
    """Who the bot is and what it shall do."""
    voice: str | None = Field(default=None, max_length=128)
    """Its voice. Absent: that of the model's section."""
    language: Language | None = None
    """Language of the conversation."""
    greeting: Phrase = "Greet the caller in one short sentence."
    """What the model is told to begin with. Empty: the caller begins."""
    follow_up: Phrase = "Ask briefly whether the caller is still there."
    """What it is told when the caller is silent for `follow_up_s`."""
    goodbye: Phrase = "Say a short goodbye; the call ends now."
    """What it is told at a limit of the call."""
    give_up: Phrase = "I am sorry, I have a technical problem."
    """Spoken, with the voice of the section `speech`, when the model is lost or cannot be
    reached."""
    give_up_transfer: str | None = None
    """Where the caller goes then: a name of `transfers`, a number or a SIP URI. Absent: the call
    ends."""
    tools: ToolsConfig = ToolsConfig()
    """What the model may do."""
    max_silence_s: float = Field(default=6.0, ge=1, le=60)
    """Longest silence while an answer is owed, in seconds; then the model counts as lost."""
    follow_up_s: Seconds = 10.0
    """Silence after which the caller is asked whether they are there, in seconds."""
    max_follow_ups: int = Field(default=2, ge=0, le=20)
    """How often in a row; then the bot says goodbye."""
    max_call_s: Seconds = 1_800.0
    """Longest conversation, in seconds."""
    tool_timeout_s: Seconds = 10.0
    """Longest time that a tool may take, in seconds."""

    empty_means_defaults: ClassVar[bool] = False
