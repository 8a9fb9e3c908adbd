"""Interruptions with real ears: back-channels and coughs over speech of the bot, in noise."""

from __future__ import annotations

import asyncio
from typing import Final

import numpy as np
import pytest

from sipbot.agent.listening.vad import VadService
from sipbot.agent.voice.agent import VoiceAgent
from sipbot.agent.voice.settings import VoiceSettings
from sipbot.call.leg import Pcm
from sipbot.testing.clock import virtual_time
from sipbot.testing.providers import ScriptedLlm, ScriptedStt, ScriptedTts
from sipbot.testing.simulate import simulate
from tests.agent.listening.sounds import SECOND, cough, crowd, level, model, noisy, silence, spoken
from tests.agent.voice.kit import LONG, QUIET, loud_ms, now

WORDS: Final = ("haan", "achha", "ok", "hmm", "yes", "okay", "theek hai", "right", "uh huh", "ji")
COUGHS: Final = tuple(range(10))
QUESTION: Final = "I would like to know"


def line(sounds: list[tuple[float, Pcm]], seconds: float, background: str) -> Pcm:
    """The caller's audio: ``sounds`` at their times over a background at -10 dB."""
    pcm = silence(seconds).astype(np.int32)
    for at, sound in sounds:
        first = round(at * SECOND)
        pcm[first : first + len(sound)] += sound
    if background == "babble":
        people = crowd(len(pcm))
        pcm += (people * (level(spoken(QUESTION)) / level(people)) * 10 ** (-10 / 20)).astype(int)
    clipped: Pcm = np.clip(pcm, -32_768, 32_767).astype(np.int16)
    return noisy(clipped, 400) if background == "noise" else clipped


@pytest.mark.parametrize("background", ["silence", "noise", "babble"])
@pytest.mark.parametrize("clip", [*WORDS, *COUGHS])
@virtual_time
async def test_the_answer_goes_on(clip: str | int, background: str) -> None:
    sound = spoken(clip) if isinstance(clip, str) else cough(clip)
    question = spoken(QUESTION)
    asked = 4.0 + len(question) / SECOND
    at = asked + 2.5
    heard = clip if isinstance(clip, str) else ""
    stt = ScriptedStt([QUESTION, heard])
    llm = ScriptedLlm([LONG * 2])
    agent = VoiceAgent(
        stt=stt,
        llm=llm,
        tts=ScriptedTts(),
        settings=VoiceSettings(phrases=QUIET, follow_up_s=60),
        vad=VadService(model=model()),
    )
    async with simulate(agent) as caller:
        while not caller.call.answered:
            await caller.waits(0.02)
        began = now()
        caller.says(line([(4.0, question), (at, sound)], 20.0, background))
        spoke = await caller.hears("quite a long")
        assert now() - began > asked  # not something in the background was answered
        ended = began + at + len(sound) / SECOND
        await asyncio.sleep(ended + 0.45 - now())
        assert loud_ms(caller, ended + 0.38, ended + 0.44) > 0  # it speaks, or speaks again
        while spoke.said is None:
            await caller.waits(0.1)
        assert (spoke.said.interrupted, spoke.said.heard_ms) == (False, spoke.said.total_ms)
    assert len(llm.asked) == 1


@pytest.mark.parametrize("background", ["silence", "noise", "babble"])
@pytest.mark.parametrize("text", ["stop, that is wrong", "no thank you", "wait a moment"])
@virtual_time
async def test_words_stop_it_within_150_ms(text: str, background: str) -> None:
    question, sound = spoken(QUESTION), spoken(text)
    at = 4.0 + len(question) / SECOND + 2.5
    llm = ScriptedLlm([LONG * 2])
    agent = VoiceAgent(
        stt=ScriptedStt([QUESTION], otherwise=text),
        llm=llm,
        tts=ScriptedTts(),
        settings=VoiceSettings(phrases=QUIET, follow_up_s=60),
        vad=VadService(model=model()),
    )
    async with simulate(agent) as caller:
        while not caller.call.answered:
            await caller.waits(0.02)
        began = now()
        caller.says(line([(4.0, question), (at, sound)], 20.0, background))
        await caller.hears("quite a long")
        loud = np.flatnonzero(np.abs(sound) > 3_000)[0] / SECOND  # of the word, not of its breath
        onset = began + at + loud
        await asyncio.sleep(onset + 0.4 - now())
        assert loud_ms(caller, onset - 0.3, onset - 0.1) > 100
        assert loud_ms(caller, onset + 0.15, onset + 0.4) == 0
        await caller.hears("all right")
    assert text in llm.asked[1][-1].text  # once for each pause in it
