"""Agents that listen and speak by themselves: ``type: voice``."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from pydantic import Field, model_validator

from sipbot.ops.config_providers import Language, LlmChain, SttChain, TtsChain
from sipbot.ops.section import Seconds, Section, matching

ENTRY_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*$"
Entry = Annotated[
    str,
    matching(ENTRY_PATTERN, "must look like package.module:name"),
    Field(json_schema_extra={"pattern": ENTRY_PATTERN}),
]
ToolName = Annotated[
    str, matching(r"^[A-Za-z_][A-Za-z0-9_]{0,63}$", "a tool's name has letters, digits and _")
]
HttpUrl = Annotated[str, matching(r"https?://[^\s]+", "must look like https://HOST/PATH")]
Phrase: TypeAlias = Annotated[str, Field(max_length=500)]
BUILT_IN: Final = frozenset({"transfer_call", "hang_up", "press_keys"})


class PhrasesConfig(Section):
    """What a voice agent says that does not come from the model. Empty texts are not said."""

    greeting: Phrase = ""
    """Said first. Its sound is made while it rings. Empty: the caller begins."""
    follow_up: Phrase = "Are you still there?"
    """Said when the caller is silent for `follow_up_s`."""
    filler: Phrase = "One moment, please."
    """Said when a tool runs for longer than a second."""
    apology: Phrase = "Sorry, I did not get that. Could you say it again?"
    """Said when a service failed or took too long."""
    give_up: Phrase = "I am sorry, I have a technical problem."
    """Said before the call is handed on or ended, after too many failures."""
    goodbye: Phrase = "Goodbye."
    """Said when a limit of the call is reached."""


class EndOfSpeechConfig(Section):
    """How long the bot waits after the caller stopped speaking before it answers."""

    usual_ms: int = Field(default=500, ge=100, le=5_000)
    """Usually, in ms."""
    short_ms: int = Field(default=300, ge=100, le=5_000)
    """After complete answers ("yes", "no thanks", "haan ji") and questions, in ms."""
    long_ms: int = Field(default=1_200, ge=100, le=10_000)
    """In the middle of a number, and after words such as "and", "um", "aur", in ms."""
    detector: Entry | None = None
    """A rule of your own, for example a model that detects ends of turns: `package.module:Class`
    with a method `hold_ms(text, speech_ms)`. Absent: the rules above."""

    @model_validator(mode="after")
    def _in_order(self) -> EndOfSpeechConfig:
        if not self.short_ms <= self.usual_ms <= self.long_ms:
            raise ValueError("short_ms must not exceed usual_ms, nor that long_ms")
        return self


class BargeInConfig(Section):
    """When a caller who speaks stops the bot. What turns out to be a cough, "ok" or "haan" lets it
    go on where it was."""

    policy: Literal["off", "at-once", "after-ms", "after-words"] = "at-once"
    """`off`: only keys do. `at-once`: any speech. `after-ms`: speech of `ms`. `after-words`: once
    `words` were understood; needs a recogniser with interim texts."""
    ms: int = Field(default=300, ge=50, le=5_000)
    """For `after-ms`, in ms."""
    words: int = Field(default=2, ge=1, le=20)
    """For `after-words`."""


class HttpToolConfig(Section):
    """An HTTP request that the model may make."""

    description: str = Field(min_length=1, max_length=1_000)
    """When to use it, for the model."""
    url: HttpUrl
    """Address. `{name}` in its path or query is filled with a parameter; the other parameters
    become the query, or a JSON body."""
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    """Method."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Headers; keys are best written `${NAME}`."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """JSON Schema of an object: `{properties: {day: {type: string}}, required: [day]}`."""
    timeout_s: float = Field(default=5.0, gt=0, le=60)
    """Longest time, in seconds."""

    empty_means_defaults: ClassVar[bool] = False


class ToolsConfig(Section):
    """What the model may do."""

    transfer: dict[ToolName, str] = Field(default_factory=dict)
    """Whom it may hand the caller to: a name for the model, and a destination, which is a name of
    `transfers`, a number or a SIP URI. Empty: it cannot."""
    hang_up: bool = True
    """Whether it may end the call."""
    press_keys: bool = False
    """Whether it may press keys towards the other side."""
    python: dict[ToolName, Entry] = Field(default_factory=dict)
    """Python functions, `package.module:function`: `async def book(call, day: str) -> str`. Their
    docstrings and annotations are told to the model."""
    http: dict[ToolName, HttpToolConfig] = Field(default_factory=dict)
    """HTTP requests."""

    @model_validator(mode="after")
    def _names_differ(self) -> ToolsConfig:
        twice = (self.python.keys() & self.http.keys()) | (
            BUILT_IN & (self.python.keys() | self.http.keys())
        )
        if twice:
            raise ValueError(f"the name stands for two tools: {', '.join(sorted(twice))}")
        return self


class VoiceAgentConfig(Section):
    """Listens, thinks with a language model and speaks, see `docs/voice-agents.md`."""

    type: Literal["voice"]
    """Always `voice`."""
    prompt: str = Field(min_length=1, max_length=50_000)
    """Who the bot is and what it shall do, for the model."""
    stt: SttChain
    """Recogniser, or a list of which the next is used when one fails: see `docs/providers.md`."""
    llm: LlmChain
    """Language model, or a list."""
    tts: TtsChain | None = None
    """Voice, or a list. Absent: that of the section `speech`, which is also the last resort."""
    voice: str | None = Field(default=None, max_length=128)
    """Which voice of `tts`. Absent: its own."""
    language: Language | None = None
    """Language of the caller, for the recogniser."""
    hints: tuple[str, ...] = ()
    """Words that are likely, for the recogniser: names, places."""
    listen_rate: Literal[8_000, 16_000] = 8_000
    """Rate of the audio for the recogniser, in Hz. Telephones have 8000."""
    phrases: PhrasesConfig = PhrasesConfig()
    """Fixed texts."""
    barge_in: BargeInConfig = BargeInConfig()
    """Interruptions."""
    end_of_speech: EndOfSpeechConfig = EndOfSpeechConfig()
    """End of a turn."""
    tools: ToolsConfig = ToolsConfig()
    """What the model may do."""
    max_silence_s: float = Field(default=4.0, ge=1, le=60)
    """Longest silence while an answer is owed, in seconds; then the bot apologises."""
    max_failures: int = Field(default=2, ge=0, le=20)
    """Failures in a row that are apologised for; at the next the bot gives up."""
    give_up_transfer: str | None = None
    """Where the caller goes then: a name of `transfers`, a number or a SIP URI. Absent: the call
    ends."""
    follow_up_s: Seconds = 8.0
    """Silence after which the caller is asked whether they are there, in seconds."""
    max_follow_ups: int = Field(default=2, ge=0, le=20)
    """How often in a row; then the bot says goodbye."""
    max_call_s: Seconds = 1_800.0
    """Longest conversation, in seconds."""
    max_turns: int = Field(default=200, ge=1, le=10_000)
    """Most turns of the caller."""
    stt_timeout_s: Seconds = 2.0
    """Longest time from the end of speech to its text, in seconds."""
    llm_timeout_s: Seconds = 6.0
    """Longest time to the first piece of an answer, and between two, in seconds."""
    tts_timeout_s: Seconds = 2.5
    """Longest time to the first sound of a clause, and between two pieces, in seconds."""
    tool_timeout_s: Seconds = 10.0
    """Longest time that a tool may take, in seconds."""

    empty_means_defaults: ClassVar[bool] = False
