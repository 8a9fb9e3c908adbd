"""Text of a model, cut into pieces to speak."""

from __future__ import annotations

import pytest

from sipbot.agent.voice.clauses import MAX_CHARS, ClauseSplitter


def pieces(text: str, size: int) -> list[str]:
    splitter = ClauseSplitter()
    found = []
    for start in range(0, len(text), size):
        found += splitter.push(text[start : start + size])
    return found + splitter.flush()


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Yes. We do.", ["Yes.", "We do."]),
        (
            "Certainly sir, we open at 9.30 on Monday. Bye!",
            ["Certainly sir,", "we open at 9.30 on Monday.", "Bye!"],
        ),
        ("Yes, we do that.", ["Yes, we do that."]),  # too short to be spoken alone
        ("Dr. Rao is here. Good.", ["Dr. Rao is here.", "Good."]),
        ("It costs Rs. 500 today.", ["It costs Rs. 500 today."]),
        ("नमस्ते। आप कैसे हैं?", ["नमस्ते।", "आप कैसे हैं?"]),
        ("**Bold** and `code`.", ["Bold and code."]),
        ("One line\nand another", ["One line", "and another"]),
        ("", []),
        ("  \n ", []),
    ],
)
def test_pieces_are_the_same_however_the_text_comes(
    text: str, wanted: list[str], size: int
) -> None:
    assert pieces(text, size) == wanted


def test_the_first_clause_comes_before_the_sentence_is_whole() -> None:
    splitter = ClauseSplitter()
    assert splitter.push("Good morning sir, I ") == ["Good morning sir,"]
    assert splitter.push("will look, one, two, ") == []  # later clauses are longer


def test_a_text_without_marks_is_cut_at_a_space() -> None:
    text = "word " * 200
    found = pieces(text, 5)
    assert " ".join(found) == text.strip()
    assert max(map(len, found)) <= MAX_CHARS
