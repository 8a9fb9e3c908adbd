"""WAV files: mono 16-bit in memory, whatever the file holds."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sipbot.call.leg import Pcm
from sipbot.errors import MediaError

MAX_SECONDS: Final = 600  # of a file that is read
MAX_CHANNELS: Final = 8
MIN_RATE: Final = 8_000  # Hz
MAX_RATE: Final = 48_000  # Hz
WIDTHS: Final = (1, 2, 3, 4)  # bytes a sample
_SCALE_8_BIT: Final = 256  # 8-bit WAV samples are unsigned, 128 is silence
_SCALE_32_BIT: Final = 65_536


class WavError(MediaError):
    """A WAV file that cannot be read or written. The text says why, without the file's name."""


@dataclass(frozen=True, slots=True)
class Wav:
    """Mono samples at ``rate`` Hz."""

    pcm: Pcm
    rate: int


def read_wav(path: Path) -> Wav:
    """Read a PCM file of 8, 16, 24 or 32 bits; channels are averaged. Raises WavError."""
    try:
        with wave.open(str(path), "rb") as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            if not MIN_RATE <= rate <= MAX_RATE:
                raise WavError(f"must have {MIN_RATE} to {MAX_RATE} Hz")
            if not 1 <= channels <= MAX_CHANNELS or width not in WIDTHS:
                raise WavError(f"must have 8 to 32 bits and at most {MAX_CHANNELS} channels")
            if file.getnframes() > MAX_SECONDS * rate:
                raise WavError(f"is longer than {MAX_SECONDS} s")
            data = file.readframes(file.getnframes())
    except OSError as error:
        raise WavError(f"cannot be read: {error.strerror or 'I/O error'}") from error
    except (wave.Error, EOFError) as error:
        raise WavError("is no PCM WAV file") from error
    samples = _samples(data, width)
    whole = len(samples) // channels * channels
    mono = samples[:whole].reshape(-1, channels).mean(axis=1)
    return Wav(mono.astype(np.int16), rate)


def _samples(data: bytes, width: int) -> NDArray[np.float64]:
    """Samples scaled to the range of 16 bits."""
    data = data[: len(data) // width * width]
    match width:
        case 1:
            return (np.frombuffer(data, np.uint8).astype(np.float64) - 128) * _SCALE_8_BIT
        case 2:
            return np.frombuffer(data, "<i2").astype(np.float64)
        case 3:  # into the upper bytes of 4-byte samples
            wide = np.zeros((len(data) // 3, 4), np.uint8)
            wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
            return wide.view("<i4")[:, 0].astype(np.float64) / _SCALE_32_BIT
        case _:
            return np.frombuffer(data, "<i4").astype(np.float64) / _SCALE_32_BIT


class WavWriter:
    """Writes mono 16-bit samples to a file as they come; made by ``writing``."""

    def __init__(self, file: wave.Wave_write) -> None:
        self.samples = 0  # written so far
        self._file = file

    def write(self, pcm: Pcm) -> None:
        """Append samples. Raises OSError, which ``writing`` turns into a WavError."""
        self._file.writeframesraw(pcm.astype("<i2").tobytes())
        self.samples += len(pcm)


@contextmanager
def writing(path: Path, rate: int) -> Iterator[WavWriter]:
    """A writer of a new file at ``rate`` Hz. Raises WavError when the file or the disk fails."""
    try:
        with path.open("wb") as stream, wave.open(stream, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            yield WavWriter(file)
    except OSError as error:
        raise WavError(f"cannot be written: {error.strerror or 'I/O error'}") from error
