"""What agents need of speech and language services: small ports that providers implement.

Text to speech is ``sipbot.call.speech.Synthesizer``. Audio is mono ``numpy.int16`` at the rate that
is named. Everything streams, and everything can be cancelled by closing what was opened: an
``async with`` that is left, a generator that is closed. Errors are ``ProviderError``; their text
holds nothing that a caller said and no secret.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from sipbot.call.leg import Pcm


@dataclass(frozen=True, slots=True)
class Usage:
    """What one use of a service consumed: ``unit`` is for example ``input-tokens``, ``seconds``,
    ``characters``."""

    provider: str
    unit: str
    amount: float


# --- speech to text -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was understood so far of one utterance, or with ``final`` all of it.

    ``confidence`` is between 0 and 1, None where the provider tells none. A final transcript with
    an empty text says that nothing was understood.
    """

    text: str
    final: bool
    confidence: float | None = None


class Transcriber(Protocol):
    """One caller's audio on its way into text."""

    async def push(self, pcm: Pcm) -> None:
        """Audio that follows what was pushed before. Bounded: waits while the service is behind."""
        ...

    async def finish_utterance(self) -> None:
        """The caller stopped speaking: a final transcript shall come now."""
        ...

    def transcripts(self) -> AsyncIterator[Transcript]:
        """Everything that is understood, until the transcriber is closed. Raises ProviderError."""
        ...


@dataclass(frozen=True, slots=True)
class ListenFor:
    """Hints for a recogniser. ``phrases`` are likely; with ``only`` nothing else may be heard."""

    rate: int = 16_000  # Hz of the audio that will be pushed
    language: str | None = None  # BCP 47
    phrases: Sequence[str] = ()
    only: bool = False


class SpeechToText(Protocol):
    """Opens transcribers."""

    def open(self, wanted: ListenFor) -> AbstractAsyncContextManager[Transcriber]:
        """Connect for one call. Entering raises ProviderError; leaving stops all work."""
        ...


# --- language models ------------------------------------------------------------------------------

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model wants a tool to be run. ``arguments`` is JSON as the model wrote it."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of a conversation. ``tool_call_id`` names what a ``tool`` message answers."""

    role: Role
    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call; ``parameters`` is a JSON Schema object."""

    name: str
    description: str
    parameters: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of an answer."""

    text: str


Delta: TypeAlias = TextDelta | ToolCall | Usage


class LanguageModel(Protocol):
    """Answers a conversation."""

    def reply(
        self, messages: Sequence[Message], tools: Sequence[Tool] = ()
    ) -> AsyncGenerator[Delta, None]:
        """The answer as it is made; tool calls come whole. Closing it stops the work.

        Raises ProviderError, also in the middle.
        """
        ...


# --- speech to speech -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SpokenAudio:
    """A piece of the model's speech."""

    pcm: Pcm
    rate: int


class Moment(Enum):
    """What happened without content."""

    CALLER_SPEAKS = "caller-speaks"
    CALLER_STOPPED = "caller-stopped"
    ANSWER_DONE = "answer-done"


@dataclass(frozen=True, slots=True)
class Heard:
    """Text of one side, for the record: ``role`` is ``user`` or ``assistant``."""

    role: Role
    text: str
    final: bool


RealtimeEvent: TypeAlias = SpokenAudio | Moment | Heard | ToolCall | Usage


class RealtimeSession(Protocol):
    """A conversation with a model that hears and speaks itself."""

    async def push(self, pcm: Pcm) -> None: ...

    async def interrupt(self, heard_ms: int) -> None:
        """The caller heard only so much of the current answer: forget the rest of it."""
        ...

    async def tool_result(self, call_id: str, output: str) -> None: ...

    async def say(self, instruction: str) -> None:
        """Have the model speak now, for example a greeting."""
        ...

    def events(self) -> AsyncIterator[RealtimeEvent]:
        """Everything that comes, until the session ends. Raises ProviderError."""
        ...


@dataclass(frozen=True, slots=True)
class RealtimeSetup:
    """What a session begins with. Audio is pushed at ``rate`` Hz."""

    instructions: str
    rate: int = 24_000
    voice: str | None = None
    language: str | None = None
    tools: Sequence[Tool] = ()


class RealtimeModel(Protocol):
    """Opens speech-to-speech sessions."""

    def open(self, setup: RealtimeSetup) -> AbstractAsyncContextManager[RealtimeSession]:
        """Connect for one call. Entering raises ProviderError."""
        ...


# --- connections ----------------------------------------------------------------------------------


@runtime_checkable
class Service(Protocol):
    """What providers that are reached over a network offer beside their port.

    Not part of the ports above: ask with ``isinstance(provider, Service)``.
    """

    async def warm(self) -> None:
        """Open connections before they are needed. Raises nothing: the first use tells."""
        ...

    async def close(self) -> None:
        """Close idle connections, at the end of the process."""
        ...
