from __future__ import annotations

import pytest

from sipbot.sip.status import PHRASES, phrase


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (100, "Trying"),
        (200, "OK"),
        (488, "Not Acceptable Here"),
        (513, "Message Too Large"),
        (299, "Success"),
        (499, "Request Failure"),
        (799, "Unknown"),
    ],
)
def test_phrase(status: int, text: str) -> None:
    assert phrase(status) == text


def test_phrases_are_of_legal_codes_and_one_line() -> None:
    for status, text in PHRASES.items():
        assert 100 <= status <= 699
        assert text
        assert text.isascii()
        assert text.isprintable()


def test_every_class_has_a_fallback() -> None:
    assert len({phrase(code) for code in (198, 298, 398, 498, 598, 698)}) == 6
