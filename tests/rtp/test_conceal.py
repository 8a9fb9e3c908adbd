from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sipbot.rtp.conceal import HISTORY, Concealer

FRAME = 160  # samples
Pcm = NDArray[np.int16]


def tone(hertz: float, samples: int = 1600, level: float = 8000.0) -> Pcm:
    return np.rint(level * np.sin(2 * np.pi * hertz * np.arange(samples) / 8000)).astype(np.int16)


def voice(pitch: float, samples: int = 1600) -> Pcm:
    """Something like a vowel: many harmonics of ``pitch`` Hz with a falling spectrum."""
    time = np.arange(samples) / 8000
    parts = [np.sin(2 * np.pi * pitch * k * time + k) / k for k in range(1, int(3400 / pitch))]
    pcm: Pcm = np.rint(4000 * np.sum(parts, axis=0)).astype(np.int16)
    return pcm


def noise(samples: int = 1600) -> Pcm:
    return np.random.default_rng(5).normal(0, 3000, samples).astype(np.int16)


def level(pcm: Pcm) -> float:
    return float(np.sqrt(np.mean(pcm.astype(float) ** 2)))


def widest_step(pcm: Pcm) -> int:
    return int(np.abs(np.diff(pcm.astype(int))).max())


def heard(signal: Pcm, lost: range) -> Pcm:
    """``signal`` in 20 ms frames, those with an index in ``lost`` concealed."""
    concealer, out = Concealer(), []
    for index, start in enumerate(range(0, len(signal), FRAME)):
        frame = signal[start : start + FRAME]
        out.append(concealer.conceal(FRAME) if index in lost else concealer.push(frame))
    return np.concatenate(out)


SIGNALS = {
    "tone 100 Hz": tone(100),
    "tone 440 Hz": tone(440),
    "tone 1 kHz": tone(1000),
    "low voice": voice(80),
    "high voice": voice(190),
    "noise": noise(),
}


@pytest.mark.parametrize("name", SIGNALS)
def test_energy_goes_on_through_one_lost_frame(name: str) -> None:
    signal = SIGNALS[name]
    out = heard(signal, range(5, 6))
    made_up, good = out[800:880], signal[720:800]  # 10 ms each side of the seam
    assert 0.5 < level(made_up) / level(good) < 2.0
    assert level(out[800:960]) > 0.4 * level(signal[640:800])


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("frames", [1, 2, 3, 6])
def test_no_clicks_at_any_seam(name: str, frames: int) -> None:
    signal = SIGNALS[name]
    out = heard(signal, range(4, 4 + frames))
    assert widest_step(out) <= 1.3 * widest_step(signal) + 200


@pytest.mark.parametrize("pitch", [70, 85, 100, 125, 160, 200])
def test_a_steady_voice_is_continued_in_phase(pitch: int) -> None:
    signal = voice(pitch)
    made_up, wanted = heard(signal, range(5, 6))[800:880].astype(float), signal[800:880]
    error = level((made_up - wanted).astype(np.int16)) / level(wanted)
    assert error < 0.25


def test_silence_after_sixty_milliseconds() -> None:
    out = heard(voice(120, 3200), range(5, 12))
    gap = out[800 : 800 + 7 * FRAME]
    assert level(gap[400:440]) > 0  # 50 ms: nearly silent
    assert not gap[480:].any()


def test_the_level_falls_all_the_way() -> None:
    gap = heard(tone(400, 3200), range(5, 9))[800:1280]
    levels = [level(gap[start : start + 80]) for start in range(0, 480, 80)]
    assert levels[0] == pytest.approx(level(tone(400)), rel=0.02)  # held for 10 ms
    assert all(after < before for before, after in pairwise(levels))
    assert levels[-1] < 0.15 * levels[0]


def test_good_frames_pass_untouched() -> None:
    signal = voice(100)
    out = heard(signal, range(5, 6))
    assert np.array_equal(out[:800], signal[:800])
    assert np.array_equal(out[960 + 80 :], signal[960 + 80 :])  # cross-fade of 10 ms at most
    assert not np.array_equal(out[960:1000], signal[960:1000])


def test_the_first_frame_after_silence_fades_in() -> None:
    signal = tone(400, 3200)
    out = heard(signal, range(5, 12))
    back = out[12 * FRAME : 12 * FRAME + 80].astype(int)
    assert abs(back[0]) <= abs(int(signal[12 * FRAME])) // 40
    assert np.all(np.abs(back) <= np.abs(signal[12 * FRAME : 12 * FRAME + 80].astype(int)))


def test_state_is_visible() -> None:
    concealer, states = Concealer(), []
    for step in (concealer.push, lambda _: concealer.conceal(FRAME), concealer.push):
        step(voice(100)[:FRAME])
        states.append(concealer.active)
    assert states == [False, True, False]


def test_an_empty_frame_does_not_end_a_gap() -> None:
    concealer = Concealer()
    concealer.push(voice(100))
    concealer.conceal(FRAME)
    assert len(concealer.push(np.zeros(0, dtype=np.int16))) == 0
    assert concealer.active


def test_seeding_is_as_good_as_pushing() -> None:
    signal = voice(110)
    pushed, seeded = Concealer(), Concealer()
    for start in range(0, 800, FRAME):
        pushed.push(signal[start : start + FRAME])
    seeded.seed(signal[800 - HISTORY : 800])
    assert np.array_equal(pushed.conceal(FRAME), seeded.conceal(FRAME))
    again = signal[960:1120]
    assert np.array_equal(pushed.push(again), seeded.push(again))


def test_a_short_seed_replaces_what_was_there() -> None:
    concealer = Concealer()
    concealer.push(tone(1000))
    concealer.seed(np.zeros(HISTORY, dtype=np.int16))
    assert not concealer.conceal(FRAME).any()


def test_nothing_heard_gives_silence() -> None:
    concealer = Concealer()
    assert not concealer.conceal(FRAME).any()
    concealer.reset()
    concealer.push(tone(440))
    concealer.reset()
    assert not concealer.conceal(FRAME).any()


def test_a_stream_of_a_few_samples() -> None:
    concealer = Concealer()
    concealer.push(np.full(3, 8000, dtype=np.int16))
    made_up = concealer.conceal(FRAME)
    assert widest_step(np.concatenate((np.full(1, 8000, dtype=np.int16), made_up))) <= 8200


def test_pieces_of_a_gap_fit_together() -> None:
    whole, pieces = Concealer(), Concealer()
    for concealer in (whole, pieces):
        concealer.push(voice(130))
    parts = [pieces.conceal(samples) for samples in (80, 1, 0, 79, 240)]
    assert [len(part) for part in parts] == [80, 1, 0, 79, 240]
    assert np.array_equal(np.concatenate(parts), whole.conceal(400))


def test_loudest_signals_do_not_wrap_around() -> None:
    loud = np.where(np.arange(1600) // 37 % 2, 32_767, -32_768).astype(np.int16)
    out = heard(loud, range(4, 6))
    assert out.min() >= -32_768
    assert widest_step(out[:720]) <= 65_535
    assert level(out[640:720]) > 20_000


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 480)), max_size=12),
    st.floats(50, 3000),
)
def test_any_script_gives_as_many_samples_as_asked_for(
    script: list[tuple[bool, int]], hertz: float
) -> None:
    concealer, signal = Concealer(), tone(hertz, 480)
    for good, samples in script:
        out = concealer.push(signal[:samples]) if good else concealer.conceal(samples)
        assert len(out) == samples
        assert out.dtype == np.dtype(np.int16)
        assert level(out) <= 3 * 8000 if samples else True
