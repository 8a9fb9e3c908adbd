"""How long to wait after what was said."""

from __future__ import annotations

import pytest

from sipbot.agent.listening.holds import TextHolds, words_of

SHORT, USUAL, LONG = 1.0, 2.0, 3.0
RULE = TextHolds(usual_ms=USUAL, short_ms=SHORT, long_ms=LONG)


@pytest.mark.parametrize(
    ("text", "hold"),
    [
        ("", USUAL),
        ("Yes.", SHORT),
        ("No, thanks!", SHORT),
        ("theek hai", SHORT),
        ("हाँ", SHORT),
        ("When do you open?", SHORT),
        ("I want to book", USUAL),
        ("I want to book and", LONG),
        ("um", LONG),
        ("on Monday,", LONG),
        ("mujhe doctor se milna hai aur", LONG),
        ("मेरा नंबर और", LONG),
        ("nine", USUAL),  # an answer to "how many"
        ("98", USUAL),
        ("it is nine eight", LONG),
        ("double seven", LONG),
        ("98 80", LONG),
        ("9 8 7 6 5 4 3 2 1 0", USUAL),
        ("98765 43210", USUAL),
    ],
)
def test_hold(text: str, hold: float) -> None:
    assert RULE.hold_ms(text, 1000) == hold


def test_words_are_free_of_case_and_punctuation() -> None:
    assert words_of("It\u2019s FINE, ok?") == ["it's", "fine", "ok"]
