"""Streaming sample rate conversion with a delay of 2 ms.

One matrix product a chunk: for a ratio of ``M`` samples in to ``L`` samples out, every block of
``M`` inputs and its neighbourhood is multiplied by a fixed matrix whose columns are the phases of
a Kaiser-windowed sinc. Live telephone audio must not wait, and the streaming modes of the usual
resampling libraries hold 30 to 100 ms back; this one looks ahead half its filter and no more.

The filter keeps 85 % of the lower Nyquist frequency flat and has its full attenuation of 70 dB
from 115 % on. In between lies what telephone lines do not carry.
"""

from __future__ import annotations

from functools import lru_cache
from math import gcd
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sipbot.call.leg import Pcm

MIN_RATE: Final = 4_000  # Hz
MAX_RATE: Final = 192_000  # Hz
FILTER_SPAN: Final = 32  # samples at the lower of the two rates; the delay is half of it
KAISER_BETA: Final = 6.76  # 70 dB of attenuation
MAX_MATRIX: Final = 2_000_000  # coefficients; odd ratios that need more are refused
EMPTY: Final[Pcm] = np.zeros(0, np.int16)


class Resampler:
    """Turns a stream of PCM at ``rate_in`` Hz into one at ``rate_out`` Hz.

    Raises ``ValueError`` for rates that no audio has.
    """

    def __init__(self, rate_in: int, rate_out: int) -> None:
        self.rate_in, self.rate_out = rate_in, rate_out
        self._phases, self._step, self._before = _phases(rate_in, rate_out)
        self._pending: NDArray[np.float32] = np.zeros(self._before, np.float32)
        self._taken = 0  # samples ever put in
        self._given = 0  # samples ever put out

    def push(self, pcm: Pcm) -> Pcm:
        """Convert a chunk; returns all samples that can be known by now."""
        self._taken += len(pcm)
        return self._convert(pcm)

    def flush(self) -> Pcm:
        """End the stream: returns its last samples and starts anew.

        In total ``round(samples in * rate_out / rate_in)`` samples came out.
        """
        total = (2 * self._taken * self.rate_out + self.rate_in) // (2 * self.rate_in)
        missing = total - self._given
        tail = EMPTY
        if missing > 0:
            blocks = -(-missing // self._phases.shape[1])
            quiet = np.zeros(self._phases.shape[0] + blocks * self._step, np.int16)
            tail = self._convert(quiet)[:missing]
        self._pending = np.zeros(self._before, np.float32)
        self._taken = self._given = 0
        return tail

    def _convert(self, pcm: Pcm) -> Pcm:
        samples = np.concatenate((self._pending, pcm), dtype=np.float32, casting="same_kind")
        width, step = self._phases.shape[0], self._step
        blocks = (len(samples) - width) // step + 1
        if blocks <= 0:
            self._pending = samples
            return EMPTY
        windows = np.lib.stride_tricks.as_strided(
            samples, (blocks, width), (step * samples.itemsize, samples.itemsize), writeable=False
        )
        exact = (windows @ self._phases).ravel()
        self._pending = samples[blocks * step :]
        self._given += len(exact)
        np.rint(exact, out=exact)
        return np.clip(exact, -32768, 32767, out=exact).astype(np.int16)


@lru_cache(maxsize=32)
def _phases(rate_in: int, rate_out: int) -> tuple[NDArray[np.float32], int, int]:
    """Matrix (window, samples out a block), samples in a block, samples before the window."""
    if not (MIN_RATE <= rate_in <= MAX_RATE and MIN_RATE <= rate_out <= MAX_RATE):
        raise ValueError(f"sample rates must lie between {MIN_RATE} and {MAX_RATE} Hz")
    common = gcd(rate_in, rate_out)
    step, made = rate_in // common, rate_out // common
    lower = min(rate_in, rate_out) / rate_in  # as a share of the rate in
    half = round(FILTER_SPAN / lower) // 2
    width = step + 2 * half - 1
    if width * made > MAX_MATRIX:
        raise ValueError(f"{rate_in} Hz and {rate_out} Hz have no simple ratio")
    places = np.arange(made) * step / made  # of the outputs, in samples in
    distance = np.arange(width)[:, None] - (half - 1) - places[None, :]
    inside = np.clip(1 - (distance / half) ** 2, 0, None)
    window = np.i0(KAISER_BETA * np.sqrt(inside)) * (np.abs(distance) < half)
    taps = np.sinc(distance * lower) * window
    return (taps / taps.sum(axis=0)).astype(np.float32), step, half - 1
