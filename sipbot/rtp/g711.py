"""G.711 A-law and mu-law as lookup tables (ITU-T G.711, RFC 3551 section 4.5.14).

The tables are computed once, from the reference conversions of ``audioop``, so that they are
bit-exact with it: part of the standard library up to Python 3.12, the ``audioop-lts`` package
after that. Linear PCM is signed 16 bit in native byte order.
"""

from __future__ import annotations

import warnings
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

with warnings.catch_warnings():
    # Python 3.11 and 3.12 announce the removal of a module that we know how to replace.
    warnings.filterwarnings("ignore", "'audioop' is deprecated", DeprecationWarning)
    import audioop

from sipbot.errors import LocalProtocolError

_ALL_CODES: Final = bytes(range(256))
_ALL_SAMPLES: Final = np.arange(65_536, dtype=np.uint16).tobytes()


def _table(data: bytes, dtype: type[Any]) -> NDArray[Any]:
    table = np.frombuffer(data, dtype=dtype)
    table.setflags(write=False)
    return table


DECODE: Final[dict[str, NDArray[np.int16]]] = {
    "PCMA": _table(audioop.alaw2lin(_ALL_CODES, 2), np.int16),
    "PCMU": _table(audioop.ulaw2lin(_ALL_CODES, 2), np.int16),
}
"""Codec name -> (256,) int16: linear sample of each code."""

ENCODE: Final[dict[str, NDArray[np.uint8]]] = {
    "PCMA": _table(audioop.lin2alaw(_ALL_SAMPLES, 2), np.uint8),
    "PCMU": _table(audioop.lin2ulaw(_ALL_SAMPLES, 2), np.uint8),
}
"""Codec name -> (65536,) uint8: code of each sample, indexed by its uint16 bit pattern."""

SILENCE: Final[dict[str, int]] = {"PCMA": 0xD5, "PCMU": 0xFF}
"""Codec name -> the code that ``encode`` gives for the sample 0."""


def decode(codec: str, payload: bytes | NDArray[np.uint8]) -> NDArray[np.int16]:
    """Codes to linear samples; an array keeps its shape. ``codec`` is "PCMA" or "PCMU"."""
    table = DECODE.get(codec)
    if table is None:
        raise LocalProtocolError("codec is not G.711")
    codes = payload if isinstance(payload, np.ndarray) else np.frombuffer(payload, dtype=np.uint8)
    # Every index a byte can hold is in the table, so "wrap" only spares numpy the bounds check.
    return table.take(codes, mode="wrap")


def encode(codec: str, pcm: NDArray[np.int16]) -> NDArray[np.uint8]:
    """Linear samples of any shape to codes of the same shape. ``codec`` is "PCMA" or "PCMU"."""
    table = ENCODE.get(codec)
    if table is None:
        raise LocalProtocolError("codec is not G.711")
    return table.take(pcm.view(np.uint16), mode="wrap")
