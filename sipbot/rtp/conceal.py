"""Packet loss concealment for 8 kHz speech, in the spirit of ITU-T G.711 appendix I.

The last pitch period is repeated, whole for the first 10 ms and then fading to silence at 60 ms;
the first good frame is cross-faded in. Nothing is delayed: where appendix I smooths the seam at
the start of a gap inside a 3.75 ms look-back, the difference is faded out behind the seam here.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

RATE: Final = 8000  # samples a second
MIN_PITCH: Final = 40  # samples: 5 ms, 200 Hz
MAX_PITCH: Final = 120  # samples: 15 ms, 66 Hz
MATCH: Final = 160  # samples compared to find the pitch: 20 ms
HISTORY: Final = MAX_PITCH + MATCH + MAX_PITCH // 4  # samples kept of what was heard
HOLD: Final = 80  # samples at full level: 10 ms
SILENT_AFTER: Final = 480  # samples: 60 ms
SEAM: Final = 40  # samples over which a step at the start of a gap fades: 5 ms
MIN_OVERLAP: Final = 20  # samples of cross-fade into the first good frame
MAX_OVERLAP: Final = 80  # samples: 10 ms

Pcm = NDArray[np.int16]


class Concealer:
    """Makes up what is missing in one stream of 16-bit PCM at 8 kHz.

    Either every good frame passes through ``push``, or the stream's owner, who keeps the recent
    audio anyway, calls ``seed`` at the start of a gap and ``push`` for the first frame after it.
    """

    def __init__(self) -> None:
        self._history = np.zeros(HISTORY)  # newest last, what was last handed out
        self._period = np.zeros(MIN_PITCH)  # one pitch period, its end smoothed into its start
        self._step = 0.0  # what the first made-up sample is off by
        self._made = 0  # samples made up in the present gap

    @property
    def active(self) -> bool:
        """Whether a gap is being concealed, so that the next good frame must pass ``push``."""
        return self._made > 0

    def reset(self) -> None:
        """Forget what was heard, as at the start of a stream."""
        self._history[:] = 0.0
        self._made = 0

    def seed(self, recent: Pcm) -> None:
        """Tell what was heard last, when good frames do not pass ``push``; 390 samples do."""
        self._made = 0
        self._remember(recent.astype(np.float64))

    def push(self, frame: Pcm) -> Pcm:
        """A good frame of any length; returns what to play: the frame, cross-faded after a gap."""
        if not self._made or not len(frame):
            self._remember(frame.astype(np.float64))
            return frame
        # Appendix I: the overlap grows by 4 ms for each 10 ms of gap, up to 10 ms.
        overlap = min(MIN_OVERLAP + 2 * self._made // 5, MAX_OVERLAP, len(frame))
        tail = self._synthesise(overlap)
        mixed = frame.astype(np.float64)
        weight = (np.arange(overlap) + 1.0) / (overlap + 1.0)
        mixed[:overlap] = tail * (1.0 - weight) + mixed[:overlap] * weight
        self._made = 0
        self._remember(mixed)
        return _to_pcm(mixed)

    def conceal(self, samples: int) -> Pcm:
        """Make up the next ``samples`` samples of a gap; silence beyond 60 ms of it."""
        if samples <= 0:
            return np.zeros(0, dtype=np.int16)
        if not self._made:
            self._start_gap()
        made_up = self._synthesise(samples)
        self._made += samples
        self._remember(made_up)
        return _to_pcm(made_up)

    def _remember(self, pcm: NDArray[np.float64]) -> None:
        newest = pcm[-HISTORY:]
        kept = HISTORY - len(newest)
        if kept:
            self._history[:kept] = self._history[len(newest) :].copy()
        self._history[kept:] = newest

    def _start_gap(self) -> None:
        history = self._history
        pitch = _find_pitch(history)
        period = history[-pitch:].copy()
        # Fade the end of the period into what preceded its start, so that it repeats smoothly.
        overlap = pitch // 4
        weight = (np.arange(overlap) + 1.0) / overlap
        before = history[-pitch - overlap : -pitch]
        period[-overlap:] = period[-overlap:] * (1.0 - weight) + before * weight
        self._period = period
        self._step = float(history[-1] - history[-pitch - 1])

    def _synthesise(self, samples: int) -> NDArray[np.float64]:
        """The made-up samples that follow the ``_made`` ones already out."""
        places = self._made + np.arange(samples)
        wave = self._period[places % len(self._period)]
        wave = wave + self._step * np.clip(1.0 - places / SEAM, 0.0, 1.0)
        fade = np.clip((SILENT_AFTER - places) / (SILENT_AFTER - HOLD), 0.0, 1.0)
        return np.asarray(wave * fade, dtype=np.float64)


def _find_pitch(history: NDArray[np.float64]) -> int:
    """The lag, 40 to 120 samples, at which the newest 20 ms resemble what came before most."""
    recent = history[-MATCH:]
    start = HISTORY - MATCH - MAX_PITCH
    windows = np.lib.stride_tricks.sliding_window_view(history[start:-MIN_PITCH], MATCH)
    # Row i lags by MAX_PITCH - i samples.
    energy = np.einsum("ij,ij->i", windows, windows)
    likeness = (windows @ recent) / np.sqrt(np.maximum(energy, 1.0))
    return MAX_PITCH - int(np.argmax(likeness))


def _to_pcm(wave: NDArray[np.float64]) -> Pcm:
    return np.clip(np.rint(wave), -32_768, 32_767).astype(np.int16)
