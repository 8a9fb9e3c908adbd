"""Phrases: how they are read, what they match, what they become for the recogniser."""

from __future__ import annotations

import re

import pytest

from sipbot.agent.recognise.phrases import (
    MAX_DEPTH,
    MAX_PATTERN,
    PhraseError,
    digits_in,
    grammar,
    normalised,
    parse,
    words_of,
)


@pytest.mark.parametrize(
    ("pattern", "texts", "others"),
    [
        ("appointments", ["appointments", "please appointments thank you"], ["appointment", ""]),
        (
            "[i want] to make an appointment",
            ["to make an appointment", "i want to make an appointment please"],
            ["i want", "want to make an appointment", "to make an appointment now"],
        ),
        ("(speak | talk) to [a] person", ["talk to person", "speak to a person"], ["to a person"]),
        ("my pin is <digits>", ["my pin is one double two", "my pin is oh"], ["my pin is double"]),
        ("<digits:2-3>", ["one two", "one two three"], ["double"]),
        ("a | b c | [d] e", ["a", "b c", "e", "d e"], ["a b", "d"]),
        ("don't", ["don't"], ["dont"]),
    ],
)
def test_phrases_match_their_forms(pattern: str, texts: list[str], others: list[str]) -> None:
    phrase = parse(pattern)
    assert [text for text in texts if not phrase.matches(text)] == []
    assert [text for text in others if phrase.matches(text)] == []


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("", "nothing"),
        ("a |", "nothing"),
        ("(a", "')' is missing"),
        ("[a)", "']' is missing"),
        ("a]", "closes nothing"),
        ("[a]", "cannot be left out"),
        ("[a] | b", "cannot be left out"),
        ("a+b", "'+' is not understood"),
        ("<digits:5-4>", "1 to 16 digits"),
        ("<digits:0>", "1 to 16 digits"),
        ("<digits:17>", "1 to 16 digits"),
        ("press 1", "'1' is not understood"),
        ("<numbers>", "'<' is not understood"),
        ("नमस्ते", "is not understood"),
        ("(" * (MAX_DEPTH + 1) + "a" + ")" * (MAX_DEPTH + 1), "too many brackets"),
        ("a" * (MAX_PATTERN + 1), "at most"),
    ],
)
def test_wrong_phrases_say_what_is_wrong(pattern: str, message: str) -> None:
    with pytest.raises(PhraseError, match=re.escape(message)):
        parse(pattern)


def test_phrases_become_a_grammar() -> None:
    phrases = [parse("[i want] a pizza"), parse("<digits>")]
    text = grammar(phrases)
    assert "([(i want)] a pizza) | <digits>" in text
    assert "(<digit> <digit> [<digit>])" in grammar([parse("<digits:2-3>")])
    assert {"want", "pizza", "double", "seven", "please"} <= words_of(phrases)
    assert phrases[1].has_digits
    assert not phrases[0].has_digits


def test_transcripts_are_made_alike() -> None:
    assert normalised("  Yes, it's 42!") == "yes it's four two"
    assert digits_in("one double five oh triple two") == "1550222"
    assert digits_in("none of them") == ""
