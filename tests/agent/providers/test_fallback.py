"""Chains: the next provider when one fails, rest for what fails again and again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from sipbot.agent.ports import ListenFor, Message, RealtimeSetup, TextDelta
from sipbot.agent.providers.counts import Tally
from sipbot.agent.providers.fallback import (
    ChainLimits,
    FallbackLanguageModel,
    FallbackRealtimeModel,
    FallbackSynthesizer,
)
from sipbot.agent.providers.fallback_listening import KEPT_S, FallbackSpeechToText
from sipbot.errors import ProviderError, SpeechError
from sipbot.testing.clock import ManualClock
from tests.agent.providers.kit import all_of, text_of
from tests.agent.providers.members import DOWN, WRONG_KEY, Duplex, Ears, Model, Voice

ASKED = (Message("user", "Hello"),)


def chain(
    *models: Model, clock: ManualClock | None = None, tally: Tally | None = None
) -> FallbackLanguageModel:
    members = [(f"m{number}", model) for number, model in enumerate(models)]
    return FallbackLanguageModel(members, tally or Tally(), clock or ManualClock())


async def test_the_first_answers_and_the_others_are_not_asked() -> None:
    spare = Model("no")
    assert text_of(await all_of(chain(Model("yes"), spare).reply(ASKED))) == "yes"
    assert spare.asked == 0


async def test_the_next_answers_when_one_fails_before_its_first_word() -> None:
    tally = Tally()
    models = (Model(error=DOWN), Model(error=WRONG_KEY), Model("yes"))
    assert text_of(await all_of(chain(*models, tally=tally).reply(ASKED))) == "yes"
    assert tally.values["provider_fallbacks", "llm", "m0"] == 1
    assert tally.values["provider_fallbacks", "llm", "m1"] == 1


async def test_what_was_begun_is_not_begun_again() -> None:
    spare = Model("no")
    deltas = chain(Model("I will ", error=DOWN), spare).reply(ASKED)
    assert await anext(deltas) == TextDelta("I will ")
    with pytest.raises(ProviderError, match="unavailable"):
        await anext(deltas)
    assert spare.asked == 0


async def test_when_all_fail_the_last_error_is_told() -> None:
    with pytest.raises(ProviderError, match="unauthorised"):
        await all_of(chain(Model(error=DOWN), Model(error=WRONG_KEY)).reply(ASKED))


async def test_a_member_that_hangs_is_left() -> None:
    hanging = Model(hangs=True)
    limits = ChainLimits(first_s=0.05, between_s=20)
    model = FallbackLanguageModel([("a", hanging), ("b", Model("yes"))], Tally(), None, limits)
    assert text_of(await all_of(model.reply(ASKED))) == "yes"
    assert hanging.closed == 1


async def test_closing_closes_the_member() -> None:
    model = Model("one", hangs=True)
    deltas = chain(model).reply(ASKED)
    await anext(deltas)
    await deltas.aclose()
    assert model.closed == 1


async def test_one_that_fails_again_and_again_rests_and_is_tried_later() -> None:
    clock, bad, good = ManualClock(), Model(error=DOWN), Model("yes")
    both = chain(bad, good, clock=clock)
    for _ in range(5):
        await all_of(both.reply(ASKED))
    assert bad.asked == 3
    clock.advance(30)
    await all_of(both.reply(ASKED))
    await all_of(both.reply(ASKED))
    assert bad.asked == 4  # one use tried it, and failed
    clock.advance(30)
    bad.words, bad.error = ("back",), None
    assert text_of(await all_of(both.reply(ASKED))) == "back"
    assert text_of(await all_of(both.reply(ASKED))) == "back"


async def test_a_wrong_key_rests_at_once_and_success_forgives() -> None:
    clock = ManualClock()
    wrong, flaky, good = Model(error=WRONG_KEY), Model(error=DOWN), Model("yes")
    models = chain(wrong, flaky, good, clock=clock)
    await all_of(models.reply(ASKED))
    await all_of(models.reply(ASKED))
    flaky.words, flaky.error = ("fine",), None
    await all_of(models.reply(ASKED))
    flaky.words, flaky.error = (), DOWN
    for _ in range(2):
        await all_of(models.reply(ASKED))
    assert (wrong.asked, flaky.asked) == (1, 5)


async def test_when_all_rest_they_are_asked_all_the_same() -> None:
    bad = Model(error=WRONG_KEY)
    alone = chain(bad)
    for _ in range(3):
        with pytest.raises(ProviderError):
            await all_of(alone.reply(ASKED))
    assert bad.asked == 3


@pytest.mark.parametrize("error", [DOWN, SpeechError("no such voice")])
async def test_voices_fall_back_and_a_wanted_voice_is_the_first_ones(error: Exception) -> None:
    first, second = Voice(8_000, error), Voice(16_000)
    voices = FallbackSynthesizer([("a", first), ("b", second)], Tally(), ManualClock())
    chunks = await all_of(voices.synthesize("Hello", "nova"))
    assert [chunk.rate for chunk in chunks] == [16_000]
    assert (first.voices, second.voices) == (["nova"], [None])


async def test_without_a_voice_left_it_is_an_error_of_speech() -> None:
    voices = FallbackSynthesizer([("a", Voice(8_000, DOWN))], Tally(), ManualClock())
    with pytest.raises(SpeechError, match="down: unavailable"):
        await all_of(voices.synthesize("Hello"))


async def test_sessions_open_with_the_first_that_can_be_reached() -> None:
    good = Duplex()
    models = FallbackRealtimeModel([("a", Duplex(DOWN)), ("b", good)], Tally(), ManualClock())
    async with models.open(RealtimeSetup("Be kind.")):
        assert good.left == 0
    assert good.left == 1
    nobody = FallbackRealtimeModel([("a", Duplex(WRONG_KEY))], Tally(), ManualClock())
    with pytest.raises(ProviderError, match="unauthorised"):
        await nobody.open(RealtimeSetup("Be kind.")).__aenter__()


# --- recognisers ----------------------------------------------------------------------------------


def part(number: int, seconds: float = 0.02) -> np.ndarray:
    return np.full(round(8_000 * seconds), number, np.int16)


def ears(*members: Ears, tally: Tally | None = None) -> FallbackSpeechToText:
    named = [(one.name, one) for one in members]
    return FallbackSpeechToText(named, tally or Tally(), ManualClock())


WANTED = ListenFor(rate=8_000)


async def final(transcripts: AsyncIterator[object]) -> str:
    return str(getattr(await asyncio.wait_for(anext(transcripts), 20), "text", None))


async def test_the_next_recogniser_hears_the_utterance_from_its_beginning() -> None:
    first, second, tally = Ears("a"), Ears("b"), Tally()
    async with ears(first, second, tally=tally).open(WANTED) as transcriber:
        heard = aiter(transcriber.transcripts())
        await transcriber.push(part(1))
        await transcriber.finish_utterance()
        assert await final(heard) == "a: 1"
        await transcriber.push(part(2))
        await transcriber.push(part(3))
        first.broken.set()
        await transcriber.push(part(4))
        await transcriber.finish_utterance()
        assert await final(heard) == "b: 2 3 4"
        assert first.left == 1
    assert second.left == 1
    assert tally.values["provider_fallbacks", "stt", "a"] == 1


async def test_one_that_breaks_while_its_answer_is_awaited_is_replaced() -> None:
    first, second = Ears("a"), Ears("b")
    first.broken.set()
    async with ears(first, second).open(WANTED) as transcriber:
        reading = asyncio.ensure_future(final(aiter(transcriber.transcripts())))
        await transcriber.push(part(5))
        await transcriber.finish_utterance()
        assert await reading == "b: 5"
    assert (first.opened, second.opened) == (1, 1)


async def test_one_that_cannot_be_opened_is_passed_over() -> None:
    first, second = Ears("a"), Ears("b")
    first.refuses = True
    async with ears(first, second).open(WANTED) as transcriber:
        await transcriber.push(part(1))
        await transcriber.finish_utterance()
        assert await final(aiter(transcriber.transcripts())) == "b: 1"
    second.refuses = True
    with pytest.raises(ProviderError):
        await ears(first, second).open(WANTED).__aenter__()


async def test_the_only_one_is_opened_anew() -> None:
    only = Ears("a")
    async with ears(only).open(WANTED) as transcriber:
        heard = aiter(transcriber.transcripts())
        await transcriber.push(part(1))
        only.heals = True
        only.broken.set()
        await transcriber.push(part(2))
        await transcriber.finish_utterance()
        assert await final(heard) == "a: 1 2"
    assert (only.opened, only.left) == (2, 2)


async def test_when_none_is_left_the_error_is_told_to_who_listens() -> None:
    only = Ears("a")
    async with ears(only).open(WANTED) as transcriber:
        only.broken.set()
        only.refuses = True
        with pytest.raises(ProviderError, match="unavailable"):
            await anext(aiter(transcriber.transcripts()))


async def test_of_a_long_utterance_the_end_is_kept_for_the_next_one() -> None:
    first, second = Ears("a"), Ears("b")
    async with ears(first, second).open(WANTED) as transcriber:
        for number in range(KEPT_S + 10):
            await transcriber.push(part(number, seconds=1))
        first.broken.set()
        await transcriber.finish_utterance()
        heard = await final(aiter(transcriber.transcripts()))
    assert heard == "b: " + " ".join(str(number) for number in range(10, KEPT_S + 10))
