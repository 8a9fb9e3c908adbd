"""WAV files of every kind that people have."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from sipbot.call.wav import WavError, read_wav, writing

SAMPLES = np.array([0, 1_000, -1_000, 32_000, -32_000] * 40, np.int16)


def write(path: Path, data: bytes, *, width: int = 2, channels: int = 1, rate: int = 8_000) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(data)
    return path


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_every_width_comes_out_as_16_bits(tmp_path: Path, width: int) -> None:
    wide = SAMPLES.astype("<i4") << 16
    data = {
        1: ((SAMPLES.astype(int) >> 8) + 128).astype(np.uint8).tobytes(),
        2: SAMPLES.tobytes(),
        3: wide.view(np.uint8).reshape(-1, 4)[:, 1:].tobytes(),
        4: wide.tobytes(),
    }[width]
    wav = read_wav(write(tmp_path / "a.wav", data, width=width, rate=16_000))
    assert wav.rate == 16_000
    assert np.abs(wav.pcm.astype(int) - SAMPLES).max() < (256 if width == 1 else 1)


def test_channels_are_averaged(tmp_path: Path) -> None:
    stereo = np.column_stack((SAMPLES, np.zeros_like(SAMPLES)))
    wav = read_wav(write(tmp_path / "a.wav", stereo.tobytes(), channels=2))
    assert np.array_equal(wav.pcm, (SAMPLES / 2).astype(np.int16))


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with writing(path, 8_000) as writer:
        writer.write(SAMPLES[:100])
        writer.write(SAMPLES[100:])
        assert writer.samples == len(SAMPLES)
    assert np.array_equal(read_wav(path).pcm, SAMPLES)


@pytest.mark.parametrize("length", range(0, 44, 3))
def test_a_file_cut_in_its_head_is_refused(tmp_path: Path, length: int) -> None:
    whole = write(tmp_path / "a.wav", SAMPLES.tobytes()).read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[:length])
    with pytest.raises(WavError, match="no PCM WAV file"):
        read_wav(tmp_path / "cut.wav")


def test_a_file_cut_in_its_audio_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.wav", SAMPLES.tobytes()).read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[:61])
    assert np.array_equal(read_wav(tmp_path / "cut.wav").pcm, SAMPLES[:8])


def test_a_rate_that_no_telephone_audio_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WavError, match="8000 to 48000 Hz"):
        read_wav(write(tmp_path / "a.wav", SAMPLES.tobytes(), rate=96_000))


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(WavError, match="cannot be written"), writing(tmp_path / "no" / "a", 8_000):
        raise AssertionError("unreachable")
