"""The queue of what a bot sent."""

from __future__ import annotations

import numpy as np

from sipbot.exotel.sim.playback import MAX_QUEUED_S, PlayQueue


def piece(value: int, samples: int = 160) -> bytes:
    return np.full(samples, value, "<i2").tobytes()


def test_messages_play_one_after_the_other_and_marks_come_in_their_turn() -> None:
    queue = PlayQueue(8_000)
    queue.media(piece(1, 320))
    queue.mark("a")
    queue.media(piece(2))
    queue.mark("b")
    assert queue.waiting_ms == 60
    heard, marks = queue.take(160)
    assert (set(heard.tolist()), marks) == ({1}, [])
    heard, marks = queue.take(240)
    assert heard.tolist() == [1] * 160 + [2] * 80
    assert marks == ["a"]
    heard, marks = queue.take(160)
    assert heard.tolist() == [2] * 80 + [0] * 80
    assert marks == ["b"]
    assert queue.waiting_ms == 0


def test_a_mark_behind_nothing_comes_at_once() -> None:
    queue = PlayQueue(8_000)
    queue.mark("a")
    assert queue.take(160)[1] == ["a"]


def test_clear_drops_what_has_not_begun() -> None:
    queue = PlayQueue(8_000)
    queue.media(piece(1, 320))
    queue.media(piece(2))
    queue.mark("a")
    queue.take(160)
    queue.clear()
    assert (queue.dropped, queue.waiting_ms) == (1, 20)
    queue.media(piece(3))
    heard, marks = queue.take(480)
    assert heard.tolist() == [1] * 160 + [3] * 160 + [0] * 160
    assert marks == ["a"]


def test_an_odd_message_is_filled_up_with_silence() -> None:
    queue = PlayQueue(8_000)
    queue.media(piece(1, 100))
    queue.media(piece(2))
    assert queue.take(320)[0].tolist() == [1] * 100 + [0] * 60 + [2] * 160


def test_the_queue_is_bounded() -> None:
    queue = PlayQueue(8_000)
    for _ in range(MAX_QUEUED_S + 5):
        queue.media(piece(1, 8_000))
    assert queue.overflowed == 5
    assert queue.waiting_ms == MAX_QUEUED_S * 1000
