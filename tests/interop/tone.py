"""Tones: made for a phone to play, and measured in what came back.

Everything works on mono signed 16-bit samples at 8000 Hz.
"""

from __future__ import annotations

import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 8000
FRAME_MS = 5  # resolution of the gap measurement
_FRAME = RATE_HZ * FRAME_MS // 1000  # samples
_QUIET_DB = -20.0  # a frame this far under the tone's own level is a gap

Pcm = NDArray[np.int16]


def sine(frequency_hz: float, seconds: float, amplitude: int = 10_000) -> Pcm:
    """A sine wave; ``amplitude`` is the peak, 32767 at most."""
    n = np.arange(round(seconds * RATE_HZ))
    return (amplitude * np.sin(2 * np.pi * frequency_hz * n / RATE_HZ)).astype(np.int16)


def write_wav(path: Path, pcm: Pcm) -> Path:
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE_HZ)
        out.writeframes(pcm.astype("<i2").tobytes())
    return path


def read_wav(path: Path) -> Pcm:
    """Read a mono 16-bit 8 kHz file; a header that was never completed is tolerated.

    A recorder that is stopped in the middle leaves the length fields at zero.
    """
    data = path.read_bytes()
    start = data.index(b"data") + 8
    body = data[start:]
    return np.frombuffer(body[: len(body) // 2 * 2], dtype="<i2").astype(np.int16)


def level_db(pcm: Pcm) -> float:
    """RMS level in dB relative to full scale (a full-scale sine is -3.01)."""
    if not len(pcm):
        return -np.inf
    mean_square = float(np.mean(np.square(pcm.astype(np.float64))))
    return 10 * float(np.log10(max(mean_square, 1e-9) / 32768.0**2))


def tone_level_db(pcm: Pcm, frequency_hz: float) -> float:
    """Level of one frequency alone, in dB relative to full scale, by correlation."""
    n = np.arange(len(pcm))
    turn = np.exp(-2j * np.pi * frequency_hz * n / RATE_HZ)
    amplitude = 2 * abs(complex(np.mean(pcm * turn))) if len(pcm) else 0.0
    return 20 * float(np.log10(max(amplitude / np.sqrt(2), 1e-9) / 32768.0))


def main_frequency_hz(pcm: Pcm) -> float:
    """The strongest frequency, within half a bin of the transform, refined by its neighbours."""
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm))))
    peak = int(np.argmax(spectrum[1:-1])) + 1
    left, mid, right = (float(spectrum[peak + k]) for k in (-1, 0, 1))
    shift = (right - left) / (2 * (2 * mid - left - right)) if mid else 0.0
    return (peak + shift) * RATE_HZ / len(pcm)


@dataclass(frozen=True, slots=True)
class ToneReport:
    """What is left of a tone after it went through a call."""

    seconds: float  # from its first to its last audible frame
    level_db: float  # of the tone alone, median over 100 ms pieces
    frequency_hz: float
    longest_gap_ms: float  # silence inside, or audio that is missing by its phase
    jumps: int  # places where the phase is not continued


def _spans(flags: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Lengths of the runs of True."""
    edges = np.diff(np.concatenate(([0], flags.astype(np.int8), [0])))
    return np.asarray(np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1), dtype=np.intp)


def _phase_jumps(pcm: Pcm, frequency_hz: float) -> int:
    """How often the tone's phase is not continued between neighbouring 20 ms pieces."""
    piece = RATE_HZ // 50
    whole = pcm[: len(pcm) // piece * piece].reshape(-1, piece).astype(np.float64)
    n = np.arange(whole.size).reshape(-1, piece)
    phase = np.angle(np.sum(whole * np.exp(-2j * np.pi * frequency_hz * n / RATE_HZ), axis=1))
    steps = np.abs(np.angle(np.exp(1j * np.diff(phase))))
    return int(np.count_nonzero(_spans(steps > 0.35)))  # rad; 0.13 ms at 440 Hz


def measure_tone(pcm: Pcm, frequency_hz: float) -> ToneReport:
    """Measure a tone of ``frequency_hz`` in a recording, between its first and last audible frame.

    Raises AssertionError when there is hardly any sound at all.
    """
    frames = pcm[: len(pcm) // _FRAME * _FRAME].reshape(-1, _FRAME).astype(np.float64)
    power = np.mean(np.square(frames), axis=1)
    loud = power > 32768.0**2 * 10 ** (-50 / 10)
    assert np.count_nonzero(loud) * FRAME_MS >= 200, "hardly any sound in the recording"
    own_level = float(np.median(power[loud]))
    heard = power > own_level * 10 ** (_QUIET_DB / 10)
    first, last = int(np.argmax(heard)), len(heard) - int(np.argmax(heard[::-1]))
    inside = pcm[first * _FRAME : last * _FRAME]
    gaps = _spans(~heard[first:last])
    pieces = np.array_split(inside, max(1, len(inside) // (RATE_HZ // 10)))
    return ToneReport(
        seconds=len(inside) / RATE_HZ,
        level_db=float(np.median([tone_level_db(piece, frequency_hz) for piece in pieces])),
        frequency_hz=main_frequency_hz(inside),
        longest_gap_ms=float(gaps.max(initial=0)) * FRAME_MS,
        jumps=_phase_jumps(inside, frequency_hz),
    )
