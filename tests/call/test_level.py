"""Levels: what counts as sound, and when somebody speaks."""

from __future__ import annotations

import numpy as np
import pytest

from sipbot.call.leg import Pcm
from sipbot.call.level import LevelFrames, SpeechGate
from sipbot.testing import tone


def silence(ms: int, rate: int = 8_000) -> Pcm:
    return np.zeros(rate * ms // 1000, np.int16)


def test_frames_are_loud_or_not_whatever_the_pieces() -> None:
    audio = np.concatenate((silence(50), tone(50), silence(30)))
    whole = LevelFrames(8_000).push(audio)
    assert whole == [False] * 5 + [True] * 5 + [False] * 3
    frames = LevelFrames(8_000)
    pieces = [frame for piece in np.array_split(audio, 17) for frame in frames.push(piece)]
    assert pieces == whole


def test_an_offset_and_faint_noise_are_no_sound() -> None:
    noise = np.random.default_rng(1).integers(-60, 60, 8_000).astype(np.int16)
    assert not any(LevelFrames(8_000).push(noise + np.int16(900)))


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000])
def test_speech_begins_and_ends_with_hysteresis(rate: int) -> None:
    gate = SpeechGate(rate)
    assert not gate.push(silence(500, rate))
    assert gate.push(tone(100, rate))
    assert gate.speaking
    assert not gate.push(np.concatenate((silence(200, rate), tone(100, rate))))  # a pause
    assert gate.speaking
    gate.push(silence(290, rate))
    assert not gate.push(tone(20, rate))  # it went on all the time
    gate.push(silence(310, rate))
    assert gate.push(tone(100, rate))


def test_a_click_is_no_speech() -> None:
    gate = SpeechGate(8_000)
    for _ in range(5):
        assert not gate.push(np.concatenate((tone(40), silence(200))))
