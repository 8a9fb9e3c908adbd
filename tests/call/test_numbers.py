"""Indian numbers in all their forms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipbot.call.numbers import e164, forms


@pytest.mark.parametrize(
    ("user", "number"),
    [
        ("+918064061518", "+918064061518"),
        ("918064061518", "+918064061518"),
        ("08064061518", "+918064061518"),
        ("8064061518", "+918064061518"),
        ("00918064061518", "+918064061518"),
        ("+91 80640-61518", "+918064061518"),
        ("+91(80)64061518;npdi", "+918064061518"),
        ("+14155550100", "+14155550100"),
        ("0014155550100", "+14155550100"),
        ("9123456789", "+919123456789"),
        ("echo", None),
        ("", None),
        ("100", None),
        ("284700441224015426", None),
        ("+0123456789", None),
        ("0123", None),
        ("+91806406151a", None),
        ("٨٠٦٤٠٦١٥١٨", None),  # digits, but not the ones that are dialled
    ],
)
def test_numbers(user: str, number: str | None) -> None:
    assert e164(user) == number


@given(st.integers(1_000_000_000, 9_999_999_999))
def test_every_form_is_the_same_number(national: int) -> None:
    number = f"+91{national}"
    assert {e164(form) for form in forms(number)} == {number}
    assert len(set(forms(number))) == 4


@given(st.text())
def test_anything_else_is_no_number_and_no_error(text: str) -> None:
    assert text in forms(text)
    assert e164(text) is None or e164(e164(text) or "") == e164(text)
