"""Rings one at a time and many at once must agree."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipbot.errors import LocalProtocolError
from sipbot.media.rings import FRAME_MULTIPLE, RingBlock

SIZE = FRAME_MULTIPLE


def ramp(start: int, count: int) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return np.arange(start, start + count).astype(np.int16)


def test_size_must_hold_whole_packets() -> None:
    with pytest.raises(LocalProtocolError):
        RingBlock(1, 500)
    with pytest.raises(LocalProtocolError):
        RingBlock(1, 0)


def test_write_and_read_around_the_end() -> None:
    ring = RingBlock(2, SIZE)
    for turn in range(10):
        assert ring.write(1, ramp(turn * 300, 300)) == 300
        assert (ring.read(1) == ramp(turn * 300, 300)).all()
    assert ring.head[1] == ring.tail[1] == 3_000
    assert ring.head[0] == 0


def test_read_at_most() -> None:
    ring = RingBlock(1, SIZE)
    ring.write(0, ramp(0, 100))
    assert (ring.read(0, 30) == ramp(0, 30)).all()
    assert (ring.read(0, 300) == ramp(30, 70)).all()
    assert len(ring.read(0)) == 0


def test_push_counts_what_does_not_fit() -> None:
    ring = RingBlock(1, SIZE)
    ring.push(0, ramp(0, SIZE + 20))
    assert (ring.head[0], ring.overrun[0]) == (SIZE, 20)
    ring.reset(0)
    assert (ring.head[0], ring.overrun[0], ring.backlog(0)) == (0, 0, 0)


def test_recent_is_what_was_written_last() -> None:
    ring = RingBlock(1, SIZE)
    assert len(ring.recent(0, 50)) == 0
    for turn in range(4):
        ring.write(0, ramp(turn * 200, 200))
        ring.read(0)
    assert (ring.recent(0, 390) == ramp(410, 390)).all()


def test_flush_tells_played_from_cleared() -> None:
    ring = RingBlock(1, SIZE)
    ring.write(0, ramp(0, 300))
    ring.read(0, 100)
    assert ring.request_flush(0) == 300
    ring.flush(0, int(ring.flush_to[0]))
    ring.flush(0, int(ring.flush_to[0]))
    assert (ring.tail[0], ring.flushed[0]) == (300, 200)
    ring.flush(0, 100)
    assert ring.tail[0] == 300


def test_memory_of_the_caller_is_shared() -> None:
    memory = bytearray(RingBlock.bytes_needed(3, SIZE))
    writer, reader = RingBlock(3, SIZE, memory), RingBlock(3, SIZE, memoryview(memory))
    writer.write(2, ramp(7, 40))
    assert (reader.read(2) == ramp(7, 40)).all()
    assert writer.tail[2] == 40


Step = tuple[str, int]


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["push", "take", "odd"]), st.sampled_from([80, 160, 240, 77])),
        max_size=40,
    )
)
def test_many_at_once_is_like_one_by_one(steps: list[Step]) -> None:
    ring, model = RingBlock(3, SIZE), [deque[int](), deque[int](), deque[int]()]
    slots, counter = np.array([0, 2], dtype=np.intp), 0
    for kind, width in steps:
        if kind == "push":
            pcm = np.stack([ramp(counter, width), ramp(counter + 5_000, width)])
            ring.push_many(slots, pcm)
            for slot, row in zip((0, 2), pcm.tolist(), strict=True):
                model[slot].extend(row[: SIZE - len(model[slot])])
            counter += width
        elif kind == "odd":
            ring.push(2, ramp(counter, 33))
            model[2].extend(ramp(counter, 33)[: SIZE - len(model[2])].tolist())
        else:
            pcm, given_samples = ring.take_many(slots, width)
            for row, slot in enumerate((0, 2)):
                count = min(width, len(model[slot]))
                expected = [model[slot].popleft() for _ in range(count)]
                assert given_samples[row] == count
                assert pcm[row].tolist() == expected + [0] * (width - count)
    assert ring.waiting(slots).tolist() == [len(model[0]), len(model[2])]
