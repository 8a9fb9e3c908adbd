"""What is played, stopped and resumed, sample by sample."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

from sipbot.agent.voice.utterance import Utterance
from sipbot.call.call import Call
from sipbot.call.leg import Pcm
from sipbot.call.speech import SpeechChunk
from sipbot.testing.clock import virtual_time
from sipbot.testing.leg import FakeLeg
from sipbot.testing.speech import tone

RATE = 8_000


@asynccontextmanager
async def talking() -> AsyncIterator[tuple[FakeLeg, Call, Utterance]]:
    leg = FakeLeg()
    call = Call(leg, call_id="test")
    await call.answer()
    utterance = Utterance(call)
    task = asyncio.create_task(utterance.run())
    try:
        yield leg, call, utterance
    finally:
        task.cancel()
        await asyncio.wait({task})
        leg.hang_up()


def counting(seconds: float) -> Pcm:
    """Every sample is different from its neighbours, and none is silent."""
    return (np.arange(round(seconds * RATE)) % 20_000 + 1).astype(np.int16)


def with_stops(pcm: Pcm, stops: list[int]) -> Pcm:
    """What a caller hears of ``pcm`` that was stopped before these samples and went on there."""
    down = np.linspace(1, 0, 80, dtype=np.float32)
    up = np.linspace(0, 1, 80, dtype=np.float32)
    parts, place = [], 0
    for stop in stops:
        parts += [pcm[place:stop], (pcm[stop : stop + 80] * down).astype(np.int16)]
        parts.append((pcm[stop : stop + 80] * up).astype(np.int16))
        place = stop + 80
    whole = np.concatenate([*parts, pcm[place:]])
    heard: Pcm = whole[whole != 0]
    return heard


@pytest.mark.parametrize("stops_ms", [[], [500], [333], [40], [200, 700, 1_250], [1_900]])
@virtual_time
async def test_it_goes_on_with_the_very_next_sample(stops_ms: list[int]) -> None:
    pcm, stops = counting(2.0), list[int]()
    async with talking() as (leg, _, utterance):
        utterance.begin("text")
        await utterance.add(SpeechChunk(pcm, RATE))
        utterance.end_clause()
        utterance.finish()
        done = 0
        for stop in stops_ms:
            await asyncio.sleep((stop - done) / 1000)
            await utterance.hush()
            stops.append(utterance.heard)
            await asyncio.sleep(0.3)
            assert utterance.heard == stops[-1]
            assert not leg.heard[-RATE // 10 :].any()  # silence, after the fade
            utterance.resume()
            done = stop
        await asyncio.sleep(3.0)
        assert utterance.heard == len(pcm)
    assert all(at > 0 for at in stops)
    np.testing.assert_array_equal(leg.heard[leg.heard != 0], with_stops(pcm, stops))


@virtual_time
async def test_it_fades_over_10_ms_instead_of_breaking_off() -> None:
    async with talking() as (leg, _, utterance):
        utterance.begin("text")
        await utterance.add(SpeechChunk(np.full(RATE, 10_000, np.int16), RATE))
        await asyncio.sleep(0.5)
        await utterance.hush()
        await asyncio.sleep(0.1)
        sound = leg.heard[: np.flatnonzero(leg.heard)[-1] + 1]
        tail = sound[-79:].astype(int)
        assert (np.diff(tail) <= 0).all()
        assert (sound[-81], tail[-1] < 300) == (10_000, True)
        utterance.resume()
        await asyncio.sleep(0.1)
        again = leg.heard[len(sound) :]
        first = np.flatnonzero(again)[0]
        assert (np.diff(again[first : first + 80].astype(int)) >= 0).all()


@virtual_time
async def test_other_rates_are_resampled() -> None:
    async with talking() as (_, _, utterance):
        utterance.begin("text")
        await utterance.add(SpeechChunk(tone(500, 24_000), 24_000))
        await utterance.add(SpeechChunk(tone(500, 24_000), 24_000))
        utterance.end_clause()
        utterance.finish()
        await asyncio.sleep(2.0)
        assert utterance.heard == RATE


@virtual_time
async def test_texts_are_heard_as_far_as_their_sound() -> None:
    async with talking() as (_, _, utterance):
        for part, text in enumerate(("One two three four.", "Five six seven eight.")):
            utterance.begin(text, part)
            await utterance.add(SpeechChunk(tone(1_000), RATE))
            utterance.end_clause()
        await asyncio.sleep(1.55)
        await utterance.hush()
        assert utterance.heard_texts() == {0: "One two three four.", 1: "Five six"}


@virtual_time
async def test_the_moment_of_the_first_sound() -> None:
    async with talking() as (_, _, utterance):
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0.5)
        assert _audible(utterance) is None
        utterance.begin("text")
        await utterance.add(SpeechChunk(tone(100), RATE))
        asked = loop.time()
        await asyncio.sleep(0.1)
        first = _audible(utterance)
        assert first is not None
        assert 0 < first - asked <= 0.021


def _audible(utterance: Utterance) -> float | None:
    return utterance.audible_at
