"""The state table of speech, with numbers for audio and for time."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from sipbot.agent.listening.endpointing import (
    TRANSITIONS,
    WINDOW_S,
    Endpointer,
    Phase,
    Sign,
    SpeechEvent,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
    TurnEnded,
)
from sipbot.agent.listening.holds import TextHolds

LOUD = (0.99, -20.0)
HALF = (0.6, -30.0)
WEAK = (0.6, -57.0)  # close to the noise
STILL = (0.02, -60.0)
FLOOR = -60.0


def near(number: float) -> Any:
    return pytest.approx(number)


class Speech:
    """Feeds windows, one after the other, and asks for the timer after each."""

    def __init__(self, ends: Endpointer | None = None) -> None:
        self.ends = ends or Endpointer()
        self.now = 10.0

    def hear(self, window: tuple[float, float], count: int = 1) -> list[SpeechEvent]:
        found: list[SpeechEvent | None] = []
        for _ in range(count):
            self.now += WINDOW_S
            found += [
                self.ends.push(window[0], window[1], FLOOR, self.now),
                self.ends.handle_timer(self.now),
            ]
        return [one for one in found if one is not None]


def test_one_certain_window_starts_speech_within_100_ms() -> None:
    speech = Speech()
    assert speech.hear(LOUD) == [SpeechStarted(near(10.0))]
    assert speech.ends.speaking


def test_two_of_three_likely_windows_start_speech_and_one_alone_does_not() -> None:
    speech = Speech()
    assert speech.hear(HALF) == []
    assert speech.hear(STILL, 3) == []
    began = speech.now
    assert speech.hear(HALF) + speech.hear(STILL) + speech.hear(HALF) == [
        SpeechStarted(near(began))
    ]


def test_what_is_hardly_above_the_noise_is_no_speech() -> None:
    assert Speech().hear(WEAK, 20) == []


def test_a_noisy_line_asks_for_more() -> None:
    for floor, phase in ((-60.0, Phase.SPEAKING), (-35.0, Phase.QUIET)):
        ends = Endpointer()
        for number in range(3):
            ends.push(0.6, floor + 15, floor, number * WINDOW_S)
        assert ends.phase is phase


def test_a_pause_then_the_end_after_the_hold() -> None:
    speech = Speech(Endpointer(holds=TextHolds(usual_ms=480)))
    speech.hear(LOUD, 10)
    ended = speech.now
    assert speech.hear(STILL, 3) == [SpeechPaused(near(ended), near(320))]
    assert speech.ends.next_deadline() == pytest.approx(ended + 0.48)
    assert speech.hear(STILL, 11) == []
    assert speech.hear(STILL, 2) == [TurnEnded(near(ended), 480)]
    assert speech.ends.next_deadline() is None


def test_going_on_within_the_hold_is_the_same_turn() -> None:
    speech = Speech()
    speech.hear(LOUD, 10)
    speech.hear(STILL, 8)
    resumed = speech.now
    assert speech.hear(LOUD, 2) == [SpeechResumed(near(resumed))]
    [paused] = speech.hear(STILL, 4)
    assert isinstance(paused, SpeechPaused)
    assert paused.speech_ms == pytest.approx(20 * 32)  # the whole turn, its pause included


@pytest.mark.parametrize(
    ("text", "hold_ms"), [("yes", 300), ("my number is nine eight seven", 1200), ("I called", 500)]
)
def test_the_hold_follows_the_text(text: str, hold_ms: float) -> None:
    speech = Speech()
    speech.hear(LOUD, 10)
    ended = speech.now
    speech.hear(STILL, 3)
    speech.ends.text(text)
    assert speech.ends.next_deadline() == pytest.approx(ended + hold_ms / 1000)


def test_text_of_the_last_turn_does_not_count_for_the_next() -> None:
    speech = Speech()
    speech.hear(LOUD, 10)
    speech.ends.text("yes")
    speech.hear(STILL, 30)
    speech.hear(LOUD, 10)
    ended = speech.now
    speech.hear(STILL, 3)
    assert speech.ends.next_deadline() == pytest.approx(ended + 0.5)


def test_reset_forgets_the_turn() -> None:
    speech = Speech()
    speech.hear(LOUD, 5)
    speech.hear(STILL, 4)
    speech.ends.reset()
    assert speech.ends.next_deadline() is None
    assert speech.hear(STILL, 40) == []


def test_every_phase_can_be_left_and_every_pair_is_known_or_does_nothing() -> None:
    assert {before for before, _ in TRANSITIONS} == set(Phase)
    assert set(TRANSITIONS.values()) == set(Phase)
    for phase, sign in itertools.product(Phase, Sign):
        assert TRANSITIONS.get((phase, sign)) is not phase
