"""Speech by the real library; it takes milliseconds."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from sipbot.agent.providers import espeak
from sipbot.agent.providers.espeak import EspeakSynthesizer, EspeakVoice
from sipbot.call.call import Call
from sipbot.call.leg import Pcm
from sipbot.errors import SpeechError
from sipbot.testing import FakeLeg, level, virtual_time

TEXT = "Namaste, and welcome to the clinic. Press one for appointments."


async def spoken(speech: EspeakSynthesizer, text: str, voice: str | None = None) -> Pcm:
    parts = [chunk.pcm async for chunk in speech.synthesize(text, voice)]
    return np.concatenate(parts)


async def test_speech_has_a_sane_length_and_level_and_does_not_clip() -> None:
    speech = EspeakSynthesizer()
    assert await speech.check() == 22_050
    pcm = await spoken(speech, TEXT)
    assert 3.0 < len(pcm) / 22_050 < 6.0
    assert 1_500 < level(pcm) < 6_000
    assert np.abs(pcm.astype(np.int32)).max() < 32_767


async def test_speech_comes_in_chunks() -> None:
    speech = EspeakSynthesizer()
    chunks = [chunk async for chunk in speech.synthesize(TEXT)]
    assert len(chunks) > 10
    assert {chunk.rate for chunk in chunks} == {22_050}


async def test_the_same_text_is_made_once() -> None:
    speech = EspeakSynthesizer()
    first, second = await spoken(speech, TEXT), await spoken(speech, TEXT)
    assert np.array_equal(first, second)
    assert (speech.hits, speech.misses) == (1, 1)


async def test_the_cache_is_bounded() -> None:
    speech = EspeakSynthesizer(cache_bytes=400_000)
    for number in range(30):
        await spoken(speech, f"number {number}")
    assert speech._cached_bytes <= 400_000
    await spoken(speech, "number 29")
    await spoken(speech, "number 0")
    assert (speech.hits, speech.misses) == (1, 31)


async def test_voices_differ_and_do_not_leak_into_each_other() -> None:
    speech = EspeakSynthesizer(cache_bytes=0)
    default = await spoken(speech, "good morning")
    hindi = await spoken(speech, "नमस्ते", "hi")
    indian = await spoken(speech, "good morning", "en-in+f3")
    assert len(hindi) > 5_000
    assert not np.array_equal(default[:5_000], indian[:5_000])
    again = await spoken(speech, "good morning")
    assert len(again) == pytest.approx(len(default), abs=200)  # the library varies a little


async def test_the_manner_is_the_synthesisers_own() -> None:
    slow = EspeakSynthesizer(EspeakVoice(words_per_minute=100))
    quick = EspeakSynthesizer(EspeakVoice(words_per_minute=250))
    assert len(await spoken(slow, TEXT)) > 1.5 * len(await spoken(quick, TEXT))


async def test_an_unknown_voice_is_named() -> None:
    speech = EspeakSynthesizer(EspeakVoice(name="xx-nowhere"))
    with pytest.raises(SpeechError, match="no voice 'xx-nowhere'"):
        await speech.check()
    with pytest.raises(SpeechError, match="no voice 'xx-nowhere'"):
        await spoken(speech, TEXT)
    assert len(await spoken(speech, TEXT, "en")) > 0


async def test_texts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpeechError, match="characters"):
        await spoken(EspeakSynthesizer(), "x" * 5_001)
    monkeypatch.setattr(espeak, "MAX_SPEECH_S", 1)
    with pytest.raises(SpeechError, match="1 s to speak"):
        await spoken(EspeakSynthesizer(), TEXT)
    monkeypatch.setattr(espeak, "MAX_WAITING_TEXTS", 0)
    with pytest.raises(SpeechError, match="too many"):
        await spoken(EspeakSynthesizer(), TEXT)


async def test_leaving_early_stops_the_work_and_caches_nothing() -> None:
    speech = EspeakSynthesizer()
    chunks = speech.synthesize(TEXT)
    assert len((await anext(chunks)).pcm) > 0
    await chunks.aclose()
    assert await spoken(speech, TEXT) is not None
    assert (speech.hits, speech.misses) == (0, 2)


async def test_many_at_once_each_get_their_own_words() -> None:
    speech = EspeakSynthesizer(cache_bytes=0)
    texts = ["one. " * count for count in range(1, 11)]
    alone = [len(await spoken(speech, text)) for text in texts]
    together = await asyncio.gather(*(spoken(speech, text) for text in texts))
    assert [len(pcm) for pcm in together] == pytest.approx(alone, rel=0.02)
    assert alone == sorted(alone)


async def test_a_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(espeak, "_library", None)
    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(SpeechError, match="install the Python package espeakng-loader"):
        await EspeakSynthesizer().check()


@virtual_time
async def test_a_call_speaks() -> None:
    leg = FakeLeg()
    call = Call(leg, call_id="c1", synthesizer=EspeakSynthesizer())
    await call.prepare(TEXT)
    await call.answer()
    said = await call.say(TEXT)
    assert 3_000 < said.heard_ms == said.total_ms < 6_000
    assert 1_000 < level(leg.heard) < 6_000
    await call.hangup()
