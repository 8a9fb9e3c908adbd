"""The voice agent of the benchmark of turns: real ears, services with known delays."""

from __future__ import annotations

from typing import Final

from sipbot.agent.listening.holds import TextHolds
from sipbot.agent.voice.agent import VoiceAgent
from sipbot.agent.voice.settings import Phrases, VoiceSettings
from sipbot.testing.providers import ScriptedLlm, ScriptedStt, ScriptedTts

HOLD_MS: Final = 500
STT_S: Final = 0.15
LLM_S: Final = 0.2
TTS_S: Final = 0.1
ANSWER: Final = "Certainly, let me tell you all about it, and then some more, until you stop me. "


def make() -> VoiceAgent:
    """Answers every turn at length."""
    return VoiceAgent(
        stt=ScriptedStt(delay_s=STT_S, otherwise="tell me about it"),
        llm=ScriptedLlm(delay_s=LLM_S, otherwise=ANSWER * 3),
        tts=ScriptedTts(delay_s=TTS_S),
        settings=VoiceSettings(
            phrases=Phrases(greeting="", follow_up=""),
            holds=TextHolds(usual_ms=HOLD_MS, short_ms=HOLD_MS, long_ms=HOLD_MS),
            follow_up_s=600,
        ),
    )
