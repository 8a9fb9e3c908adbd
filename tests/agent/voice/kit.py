"""Voice agents whose services follow a script, on a clock that jumps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final

import numpy as np

from sipbot.agent.listening.silero import Floats
from sipbot.agent.listening.vad import VadService
from sipbot.agent.ports import LanguageModel, Message, SpeechToText
from sipbot.agent.providers.counts import Tally
from sipbot.agent.tools.toolbox import RunnableTool
from sipbot.agent.voice.agent import VoiceAgent
from sipbot.agent.voice.settings import Phrases, VoiceSettings
from sipbot.call.leg import TransferResult
from sipbot.call.speech import Synthesizer
from sipbot.testing.providers import ScriptedLlm, ScriptedStt, ScriptedTts
from sipbot.testing.simulate import SimulatedCaller, simulate
from sipbot.testing.speech import tone

QUIET: Final = Phrases(greeting="")
LONG: Final = "This is quite a long sentence that takes several seconds to be spoken in full."


class LoudModel:
    """Takes everything loud for speech."""

    def run(self, windows: Floats, states: Floats) -> tuple[Floats, Floats]:
        loud = np.sqrt(np.mean(np.square(windows), axis=1)) > 0.02
        return np.where(loud, 0.99, 0.01).astype(np.float32), states


class Bot:
    """An agent and its services."""

    def __init__(
        self,
        *,
        stt: SpeechToText | None = None,
        llm: LanguageModel | None = None,
        tts: Synthesizer | None = None,
        tools: Sequence[RunnableTool] = (),
        phrases: Phrases = QUIET,
        **settings: Any,
    ) -> None:
        self.counts = Tally()
        self.stt = stt or ScriptedStt()
        self.llm = llm or ScriptedLlm()
        self.tts = tts or ScriptedTts()
        self.agent = VoiceAgent(
            stt=self.stt,
            llm=self.llm,
            tts=self.tts,
            tools=tools,
            settings=replace(VoiceSettings(phrases=phrases), **settings),
            vad=VadService(model=LoudModel()),
            counts=self.counts,
        )

    @asynccontextmanager
    async def call(
        self, transfer_result: TransferResult | None = None
    ) -> AsyncIterator[SimulatedCaller]:
        async with simulate(
            self.agent, transfer_result=transfer_result or TransferResult(True)
        ) as caller:
            for _ in range(500):
                if caller.call.answered:
                    break
                await caller.waits(0.02)
            yield caller


async def says(caller: SimulatedCaller, seconds: float = 1.0) -> float:
    """The caller makes a sound; returns when it has ended (loop time)."""
    caller.says(tone(round(seconds * 1000), hz=300))
    await asyncio.sleep(seconds + 0.02)
    return asyncio.get_running_loop().time()


def now() -> float:
    return asyncio.get_running_loop().time()


def loud_ms(caller: SimulatedCaller, since: float = 0.0, until: float = 1e9) -> int:
    """How many milliseconds of sound the caller heard, between two moments of loop time."""
    frames = caller.leg.audio.heard
    began = now() - len(frames) / 50
    first, last = (max(round((at - began) * 50), 0) for at in (since, until))
    return 20 * sum(bool(np.any(frame)) for frame in frames[first:last])


def texts(messages: Sequence[Message]) -> list[tuple[str, str]]:
    """Roles and texts, without the prompt."""
    return [(one.role, one.text) for one in messages if one.role != "system"]


def numbers(stats: Mapping[str, Any], *names: str) -> list[Any]:
    return [stats[name] for name in names]
