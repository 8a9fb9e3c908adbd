from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sipbot.rtp import sequence as seq

SERIAL16 = st.integers(0, 0xFFFF)
SERIAL32 = st.integers(0, 0xFFFF_FFFF)


def test_differences_across_the_wrap() -> None:
    assert seq.diff16(0, 65_535) == 1
    assert seq.diff16(65_535, 0) == -1
    assert seq.diff16(2, 65_530) == 8
    assert seq.diff32(5, 0xFFFF_FFFB) == 10
    assert seq.diff32(0xFFFF_FFFF, 0) == -1


def test_half_the_space_apart_counts_as_older() -> None:
    assert seq.diff16(0x8000, 0) == -0x8000
    assert seq.diff16(0x7FFF, 0) == 0x7FFF
    assert seq.diff32(0x8000_0000, 0) == -0x8000_0000


def test_addition_wraps_both_ways() -> None:
    assert seq.add16(65_535, 1) == 0
    assert seq.add16(0, -1) == 65_535
    assert seq.add32(0xFFFF_FFFF, 160) == 159
    assert seq.add32(0, -160) == 0xFFFF_FFFF - 159


def test_extension_counts_cycles() -> None:
    assert seq.extend16(65_535, 0) == 65_536
    assert seq.extend16(65_536, 65_535) == 65_535
    assert seq.extend16(3 * 65_536 + 10, 12) == 3 * 65_536 + 12
    assert seq.extend16(0, 65_535) == -1
    assert seq.extend32(0xFFFF_FFF0, 4) == 2**32 + 4


@given(SERIAL16, st.integers(-0x8000, 0x7FFF))
def test_diff16_undoes_add16(serial: int, step: int) -> None:
    assert seq.diff16(seq.add16(serial, step), serial) == step


@given(SERIAL32, st.integers(-0x8000_0000, 0x7FFF_FFFF))
def test_diff32_undoes_add32(serial: int, step: int) -> None:
    assert seq.diff32(seq.add32(serial, step), serial) == step


@given(st.integers(0, 2**40), st.integers(-0x8000, 0x7FFF))
def test_extension_finds_the_nearest(reference: int, step: int) -> None:
    assert seq.extend16(reference, (reference + step) & 0xFFFF) == reference + step
    assert seq.extend32(reference, (reference + step) & 0xFFFF_FFFF) == reference + step


@given(st.lists(st.tuples(SERIAL32, SERIAL32, st.integers(0, 2**40)), min_size=1, max_size=50))
def test_arrays_agree_with_scalars(rows: list[tuple[int, int, int]]) -> None:
    newer = np.array([row[0] for row in rows], dtype=np.uint32)
    older = np.array([row[1] for row in rows], dtype=np.uint32)
    reference = np.array([row[2] for row in rows], dtype=np.int64)
    newer16, older16 = newer.astype(np.uint16), older.astype(np.uint16)
    expected16 = [seq.diff16(a & 0xFFFF, b & 0xFFFF) for a, b, _ in rows]
    assert seq.diff16_array(newer16, older16).tolist() == expected16
    assert seq.diff32_array(newer, older).tolist() == [seq.diff32(a, b) for a, b, _ in rows]
    expected = [seq.extend16(r, a & 0xFFFF) for a, _, r in rows]
    assert seq.extend16_array(reference, newer16).tolist() == expected
    expected = [seq.extend32(r, a) for a, _, r in rows]
    assert seq.extend32_array(reference, newer).tolist() == expected


def test_arrays_broadcast_scalars() -> None:
    assert seq.diff16_array(np.array([1, 2, 65_535], dtype=np.uint16), 0).tolist() == [1, 2, -1]
