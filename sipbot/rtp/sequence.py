"""Serial number arithmetic (RFC 1982) for RTP's 16-bit sequence numbers and 32-bit timestamps.

Two serials that lie exactly half the number space apart have no defined order (RFC 1982 section
3.2); here the difference is then the negative one, so that the second counts as the older.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

SEQUENCE_BITS: Final = 16
TIMESTAMP_BITS: Final = 32
_MASK16: Final = 0xFFFF
_MASK32: Final = 0xFFFF_FFFF


def add16(serial: int, step: int) -> int:
    """``serial`` moved by ``step`` (of any sign), modulo 2**16."""
    return (serial + step) & _MASK16


def add32(serial: int, step: int) -> int:
    """``serial`` moved by ``step`` (of any sign), modulo 2**32."""
    return (serial + step) & _MASK32


def diff16(newer: int, older: int) -> int:
    """How far ``newer`` is ahead of ``older``: -32768 .. 32767."""
    return ((newer - older + 0x8000) & _MASK16) - 0x8000


def diff32(newer: int, older: int) -> int:
    """How far ``newer`` is ahead of ``older``: -2**31 .. 2**31 - 1."""
    return ((newer - older + 0x8000_0000) & _MASK32) - 0x8000_0000


def extend16(reference: int, serial: int) -> int:
    """The extended (unbounded) number nearest to ``reference`` whose low 16 bits are ``serial``.

    ``reference`` is an extended number seen before, for example RFC 3550's extended highest
    sequence number. The result may be negative when ``serial`` precedes a young reference.
    """
    return reference + diff16(serial, reference & _MASK16)


def extend32(reference: int, serial: int) -> int:
    """The extended (unbounded) number nearest to ``reference`` whose low 32 bits are ``serial``."""
    return reference + diff32(serial, reference & _MASK32)


def diff16_array(newer: ArrayLike, older: ArrayLike) -> NDArray[np.int64]:
    """``diff16`` element by element; the operands broadcast."""
    ahead = np.asarray(newer, dtype=np.int64) - np.asarray(older, dtype=np.int64)
    return ((ahead + 0x8000) & _MASK16) - 0x8000


def diff32_array(newer: ArrayLike, older: ArrayLike) -> NDArray[np.int64]:
    """``diff32`` element by element; the operands broadcast."""
    ahead = np.asarray(newer, dtype=np.int64) - np.asarray(older, dtype=np.int64)
    return ((ahead + 0x8000_0000) & _MASK32) - 0x8000_0000


def extend16_array(reference: ArrayLike, serial: ArrayLike) -> NDArray[np.int64]:
    """``extend16`` element by element; the operands broadcast."""
    base = np.asarray(reference, dtype=np.int64)
    return base + diff16_array(serial, base & _MASK16)


def extend32_array(reference: ArrayLike, serial: ArrayLike) -> NDArray[np.int64]:
    """``extend32`` element by element; the operands broadcast."""
    base = np.asarray(reference, dtype=np.int64)
    return base + diff32_array(serial, base & _MASK32)
