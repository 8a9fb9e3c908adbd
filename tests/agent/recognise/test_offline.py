"""The offline recogniser with its real process and model."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import suppress

import numpy as np
import pytest

from sipbot.agent.ports import ListenFor, SpeechToText, Transcript
from sipbot.agent.recognise import OfflineRecogniser
from sipbot.agent.recognise.process import ANSWER_S, DecoderProcess
from sipbot.call.leg import Pcm
from sipbot.errors import ProviderError
from tests.agent.recognise.kit import LINE_RATE, spoken

MENU = (
    "[i want] [to make] an appointment | appointments",
    "[i want to] speak to a person",
    "my number is <digits:3>",
    "yes",
    "no",
)


AUDIO = np.zeros(8_000, "<i2").tobytes()


@pytest.fixture(scope="module")
def recogniser() -> Iterator[OfflineRecogniser]:
    made = OfflineRecogniser()
    yield made
    made.close()


async def understood(
    recogniser: SpeechToText, pcm: Pcm, phrases: Sequence[str] = MENU
) -> Transcript:
    async with recogniser.open(ListenFor(LINE_RATE, phrases=phrases, only=True)) as transcriber:
        for start in range(0, len(pcm), 160):
            await transcriber.push(pcm[start : start + 160])
        await transcriber.finish_utterance()
        return await anext(aiter(transcriber.transcripts()))


@pytest.mark.parametrize(
    ("text", "heard"),
    [
        ("I want to make an appointment", "i want to make an appointment"),
        ("Speak to a person, please", "speak to a person please"),
        ("my number is four two one", "my number is four two one"),
        ("yes", "yes"),
    ],
)
async def test_phrases_are_told_apart(recogniser: OfflineRecogniser, text: str, heard: str) -> None:
    transcript = await understood(recogniser, await spoken(text))
    assert transcript.text == heard
    assert transcript.final
    assert transcript.confidence is not None
    assert transcript.confidence >= 0.5


async def test_what_is_no_phrase_is_no_text(recogniser: OfflineRecogniser) -> None:
    for text in (
        "What is the weather going to be tomorrow",
        "The quick brown fox jumps over the lazy dog",
    ):
        transcript = await understood(recogniser, await spoken(text))
        assert transcript.text == ""
        assert transcript.confidence is not None
        assert transcript.confidence < 0.5


async def test_silence_and_noise_are_no_text(recogniser: OfflineRecogniser) -> None:
    noise = np.random.default_rng(3).normal(0, 3_000, LINE_RATE).astype(np.int16)
    for pcm in (np.zeros(LINE_RATE, np.int16), noise, np.zeros(0, np.int16)):
        assert (await understood(recogniser, pcm)).text == ""


async def test_words_can_be_given_a_pronunciation(recogniser: OfflineRecogniser) -> None:
    knows = recogniser.pronouncing({"zorblat": "Z AO R B L AE T"})
    phrases = ("zorblat", "yes", "no")
    assert (await understood(knows, await spoken("zorblat"), phrases)).text == "zorblat"


async def test_a_grammar_that_the_library_refuses_is_an_error(
    recogniser: OfflineRecogniser,
) -> None:
    with pytest.raises(ProviderError, match="garbage"):
        await understood(recogniser, await spoken("yes"), ("xyzzyqq",))
    with pytest.raises(ProviderError, match="no-phrases"):
        await understood(recogniser, await spoken("yes"), ())


async def test_calls_share_the_process(recogniser: OfflineRecogniser) -> None:
    yes, person = await spoken("yes"), await spoken("speak to a person")
    found = await asyncio.gather(
        *(understood(recogniser, pcm) for pcm in (yes, person, yes, person))
    )
    assert [one.text for one in found] == ["yes", "speak to a person"] * 2


async def test_a_process_that_hangs_is_replaced() -> None:
    process = DecoderProcess()
    try:
        await asyncio.to_thread(process.decode, b"", MENU, {})
        first = process.pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)
        process.answer_s = 0.05
        with pytest.raises(ProviderError, match="timeout"):
            await asyncio.to_thread(process.decode, AUDIO, MENU, {})
        process.answer_s = ANSWER_S
        await asyncio.to_thread(process.decode, AUDIO, MENU, {})
        assert process.pid != first
    finally:
        process.close()


async def test_a_process_that_died_is_replaced() -> None:
    process = DecoderProcess()
    try:
        await asyncio.to_thread(process.decode, AUDIO, MENU, {})
        first = process.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        with suppress(ProviderError):  # its death may be seen only by writing to it
            await asyncio.to_thread(process.decode, AUDIO, MENU, {})
        await asyncio.to_thread(process.decode, AUDIO, MENU, {})
        assert process.pid != first
    finally:
        process.close()
