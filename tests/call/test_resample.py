"""Sample rate conversion: length, level, delay, what must not come through."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipbot.call.leg import Pcm
from sipbot.call.resample import Resampler
from sipbot.testing import level, tone

RATES = (8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000)
PAIRS = [(a, b) for a in RATES for b in RATES if 8_000 in (a, b) and a != b]


def convert(pcm: Pcm, rate_in: int, rate_out: int, chunk: int) -> Pcm:
    resampler = Resampler(rate_in, rate_out)
    parts = [resampler.push(pcm[at : at + chunk]) for at in range(0, len(pcm), chunk)]
    return np.concatenate([*parts, resampler.flush()])


@pytest.mark.parametrize(("rate_in", "rate_out"), PAIRS)
def test_a_tone_keeps_its_length_level_and_place(rate_in: int, rate_out: int) -> None:
    result = convert(tone(500, rate_in, 1_000), rate_in, rate_out, rate_in // 50)
    expected = tone(500, rate_out, 1_000)
    assert abs(len(result) - len(expected)) <= 1
    edge = rate_out // 100
    difference = result[edge : len(expected) - edge - 1].astype(np.int32)
    difference -= expected[edge : len(difference) + edge]
    assert np.abs(difference).max() < 40  # 0.5 % of the level


def test_what_telephones_cannot_carry_does_not_fold_back() -> None:
    for hz in (5_000, 6_000, 7_500):
        result = convert(tone(500, 16_000, hz), 16_000, 8_000, 320)
        assert level(result[200:-200]) < level(tone(500)) / 1_000


def test_speech_frequencies_pass_unchanged() -> None:
    for hz in (100, 1_000, 3_000, 3_400):
        result = convert(tone(500, 16_000, hz), 16_000, 8_000, 320)
        assert level(result[200:-200]) == pytest.approx(level(tone(500)), rel=0.01)


@pytest.mark.parametrize(("rate_in", "rate_out"), [(8_000, 16_000), (16_000, 8_000)])
def test_live_audio_waits_two_milliseconds_and_no_more(rate_in: int, rate_out: int) -> None:
    resampler = Resampler(rate_in, rate_out)
    frame = np.zeros(rate_in // 50, np.int16)
    made = sum(len(resampler.push(frame)) for _ in range(10))
    assert 200 - made * 1_000 / rate_out <= 2.2


def test_loud_audio_is_clipped_and_does_not_wrap() -> None:
    square = np.where(np.arange(8_000) // 8 % 2, 32_767, -32_768).astype(np.int16)
    result = convert(square, 8_000, 16_000, 160).astype(np.int32)
    assert result.max() == 32_767
    assert np.abs(np.diff(result)).max() < 60_000


@given(st.lists(st.integers(0, 400), max_size=20))
def test_chunks_make_no_difference(sizes: list[int]) -> None:
    pcm = tone(1_000, 16_000)[: sum(sizes)]
    whole = convert(pcm, 16_000, 8_000, max(len(pcm), 1))
    resampler, parts, at = Resampler(16_000, 8_000), [], 0
    for size in sizes:
        parts.append(resampler.push(pcm[at : at + size]))
        at += size
    assert np.array_equal(np.concatenate([*parts, resampler.flush()]), whole)


def test_flushing_begins_a_new_stream() -> None:
    resampler = Resampler(8_000, 16_000)
    first = np.concatenate((resampler.push(tone(100)), resampler.flush()))
    second = np.concatenate((resampler.push(tone(100)), resampler.flush()))
    assert np.array_equal(first, second)
    assert len(resampler.flush()) == 0


@pytest.mark.parametrize(("rate_in", "rate_out"), [(0, 8_000), (8_000, 500_000), (7_999, 8_001)])
def test_rates_that_no_audio_has_are_refused(rate_in: int, rate_out: int) -> None:
    with pytest.raises(ValueError, match="Hz"):
        Resampler(rate_in, rate_out)
