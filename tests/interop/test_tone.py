from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from .tone import (
    level_db,
    main_frequency_hz,
    measure_tone,
    read_wav,
    sine,
    tone_level_db,
    write_wav,
)


def test_level_of_a_sine_is_its_rms() -> None:
    assert level_db(sine(440, 1, 32767)) == pytest.approx(-3.01, abs=0.02)
    assert level_db(sine(440, 1, 3277)) == pytest.approx(-23.01, abs=0.02)


def test_tone_level_ignores_another_tone() -> None:
    both = sine(440, 1, 5000) + sine(1000, 1, 15000)
    assert tone_level_db(both, 440) == pytest.approx(level_db(sine(440, 1, 5000)), abs=0.05)


@pytest.mark.parametrize("frequency", [440.0, 447.3, 1004.0])
def test_frequency(frequency: float) -> None:
    assert main_frequency_hz(sine(frequency, 1)) == pytest.approx(frequency, abs=0.5)


def test_clean_tone_between_silence() -> None:
    quiet = np.zeros(1200, dtype=np.int16)
    report = measure_tone(np.concatenate((quiet, sine(440, 2), quiet)), 440)
    assert report.seconds == pytest.approx(2.0, abs=0.02)
    assert report.longest_gap_ms <= 5
    assert report.jumps == 0
    assert report.level_db == pytest.approx(level_db(sine(440, 2)), abs=0.1)


@pytest.mark.parametrize("gap_ms", [20, 45, 120])
def test_gap_is_measured(gap_ms: int) -> None:
    tone = sine(440, 2)
    tone[8000 : 8000 + gap_ms * 8] = 0
    assert measure_tone(tone, 440).longest_gap_ms == pytest.approx(gap_ms, abs=5)


def test_cut_out_audio_is_a_jump() -> None:
    tone = sine(440, 2)
    cut = np.concatenate((tone[:8000], tone[8100:]))
    report = measure_tone(cut, 440)
    assert report.jumps == 1
    assert report.longest_gap_ms == 0


def test_silence_is_refused() -> None:
    with pytest.raises(AssertionError, match="hardly any sound"):
        measure_tone(np.zeros(16000, dtype=np.int16), 440)


def test_wav_round_trip_and_unfinished_header(tmp_path: Path) -> None:
    tone = sine(440, 0.1)
    path = write_wav(tmp_path / "a.wav", tone)
    assert np.array_equal(read_wav(path), tone)
    data = bytearray(path.read_bytes())
    data[40:44] = b"\0\0\0\0"  # length of the data chunk
    path.write_bytes(bytes(data))
    assert np.array_equal(read_wav(path), tone)
