"""What a speech-to-speech agent can be told. Times in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RealtimeSettings:
    """How conversations are led. ``greeting``, ``follow_up`` and ``goodbye`` are instructions to
    the model; ``give_up`` is a text that is spoken without it."""

    prompt: str
    voice: str | None = None
    language: str | None = None  # BCP 47
    listen_rate: int = 16_000  # Hz of the audio for the model
    greeting: str = "Greet the caller in one short sentence."  # empty: the caller begins
    follow_up: str = "Ask briefly whether the caller is still there."
    goodbye: str = "Say a short goodbye; the call ends now."
    give_up: str = "I am sorry, I have a technical problem."
    give_up_transfer: str | None = None
    max_silence_s: float = 6.0  # while an answer is owed
    follow_up_s: float = 10.0
    max_follow_ups: int = 2
    max_call_s: float = 1_800.0
    tool_timeout_s: float = 10.0
