"""The state table of a conversation, and what counts as taking the turn."""

from __future__ import annotations

import itertools

import pytest

from sipbot.agent.voice.settings import BACK_CHANNELS, BargeIn
from sipbot.agent.voice.turns import TURNS, Action, Input, Turn, only_listening, step, takes_turn


def test_every_state_can_be_reached_and_left() -> None:
    assert {after for after, _ in TURNS.values()} == set(Turn)
    assert {before for before, _ in TURNS} == set(Turn)


def test_pairs_that_are_not_in_the_table_change_nothing() -> None:
    missing = set(itertools.product(Turn, Input)) - set(TURNS)
    assert missing
    assert all(step(*pair) == (pair[0], Action.NONE) for pair in missing)


def test_nothing_stops_the_last_words() -> None:
    for what in Input:
        assert step(Turn.CLOSING, what) == (Turn.CLOSING, Action.NONE)


def test_only_an_interrupted_answer_is_resumed_and_only_a_live_one_hushed() -> None:
    doing = {
        action: {pair[0] for pair, (_, one) in TURNS.items() if one is action} for action in Action
    }
    assert doing[Action.RESUME] == {Turn.INTERRUPTED}
    assert doing[Action.HUSH] == {Turn.ANSWERING, Turn.SPEAKING}


@pytest.mark.parametrize(
    "text", ["", "ok", "Okay.", "haan", "haan ji", "achha, theek hai", "uh", "mhm", "जी", "I see"]
)
def test_signs_of_listening(text: str) -> None:
    assert only_listening(text, BACK_CHANNELS)
    assert not takes_turn(BargeIn.AT_ONCE, text, 1, BACK_CHANNELS)


@pytest.mark.parametrize("text", ["no", "stop", "ok but when", "wait", "haan lekin kab", "nahi"])
def test_words_that_take_the_turn(text: str) -> None:
    assert not only_listening(text, BACK_CHANNELS)
    assert takes_turn(BargeIn.AT_ONCE, text, 1, BACK_CHANNELS)
    assert not takes_turn(BargeIn.OFF, text, 1, BACK_CHANNELS)


def test_words_are_counted_where_they_are_asked_for() -> None:
    assert not takes_turn(BargeIn.AFTER_WORDS, "stop", 2, BACK_CHANNELS)
    assert takes_turn(BargeIn.AFTER_WORDS, "please stop", 2, BACK_CHANNELS)
