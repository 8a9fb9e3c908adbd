"""What a voice agent can be told. Times in seconds unless the name says ms."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from sipbot.agent.listening.endpointing import Thresholds
from sipbot.agent.listening.holds import TextHolds

MAX_BACK_CHANNEL_WORDS: Final = 3
FADE_MS: Final = 10  # milliseconds over which speech fades when it is stopped


BACK_CHANNELS: Final = frozenset(
    {
        *("ok", "okay", "hmm", "hm", "mhm", "mm", "mmm", "uh", "huh", "uhhuh", "aha", "ah", "oh"),
        *("yeah", "yes", "yep", "right", "sure", "good", "great", "fine", "cool", "i", "see"),
        *("haan", "han", "haa", "ji", "achha", "accha", "acha", "theek", "thik", "hai", "sahi"),
        *("हाँ", "हां", "जी", "अच्छा", "ठीक", "है", "सही", "हम्म"),
    }
)


class BargeIn(Enum):
    """When a caller who speaks stops the bot."""

    OFF = "off"
    AT_ONCE = "at-once"
    AFTER_MS = "after-ms"  # once they have spoken for so long
    AFTER_WORDS = "after-words"  # once so many words were understood


@dataclass(frozen=True, slots=True)
class Phrases:
    """Texts that do not come from the language model. Empty ones are not said."""

    greeting: str = ""
    follow_up: str = "Are you still there?"
    filler: str = "One moment, please."
    apology: str = "Sorry, I did not get that. Could you say it again?"
    give_up: str = "I am sorry, I have a technical problem."
    goodbye: str = "Goodbye."


@dataclass(frozen=True, slots=True)
class VoiceSettings:
    """How conversations are led."""

    prompt: str = "You are a helpful telephone assistant. Answer in one or two short sentences."
    voice: str | None = None
    language: str | None = None  # BCP 47, for the recogniser
    listen_rate: int = 8_000  # Hz of the audio for the recogniser and for voice activity
    hints: tuple[str, ...] = ()  # likely phrases, for the recogniser
    phrases: Phrases = Phrases()
    barge_in: BargeIn = BargeIn.AT_ONCE
    barge_in_ms: float = 300  # for ``AFTER_MS``
    barge_in_words: int = 2  # for ``AFTER_WORDS``
    cough_ms: float = 300  # silence after a sound without words that makes it a cough
    answer_tail_ms: float = 700  # of our speech; "yes" into the last of it is an answer
    thresholds: Thresholds = field(default_factory=Thresholds)
    holds: TextHolds = field(default_factory=TextHolds)
    stt_timeout_s: float = 2.0  # from the end of speech to the final transcript
    llm_timeout_s: float = 6.0  # to the first piece of an answer, and between two
    tts_timeout_s: float = 2.5  # to the first audio of a clause, and between two chunks
    tool_timeout_s: float = 10.0
    filler_after_s: float = 1.0  # that a tool runs until a filler is said
    max_silence_s: float = 4.0  # while an answer is owed
    max_failures: int = 2  # in a row, then the bot gives up
    give_up_transfer: str | None = None  # where to; None: hang up
    follow_up_s: float = 8.0  # of silence on both sides
    max_follow_ups: int = 2  # in a row, then goodbye
    max_call_s: float = 1_800.0
    max_turns: int = 200
    max_speech_s: float = 60.0  # of one turn of the caller
    max_tool_rounds: int = 5  # in one answer
    max_history: int = 60  # messages
    key_gap_s: float = 2.0  # after the last key until the keys count
    back_channels: frozenset[str] = BACK_CHANNELS
