"""Numbers are shown in part; dialled, spoken and secret values never."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipbot.ops.redact import HIDDEN, phone, scrub, uri


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("+919812345610", "+9198******10"),
        ("09812345678", "098******78"),
        ("9812345678", "981*****78"),
        ("12345", "1***5"),
        ("+91 98123 45610", "+91 98*** ***10"),
        ("100", "100"),
        ("echo", "echo"),
        ("reception2", "reception2"),
        ("", ""),
    ],
)
def test_phone(number: str, shown: str) -> None:
    assert phone(number) == shown


def test_uri_keeps_host_and_parameters() -> None:
    text = "sip:+919812345610@192.168.100.100:5070;transport=tcp"
    assert uri(text) == "sip:+9198******10@192.168.100.100:5070;transport=tcp"
    assert uri("tel:+919812345610") == "tel:+9198******10"


@given(st.from_regex(r"\+?[0-9]{7,15}", fullmatch=True))
def test_at_most_six_digits_are_shown(number: str) -> None:
    shown = phone(number)
    assert len(shown) == len(number)
    assert sum(one.isdigit() for one in shown) <= 6
    assert shown.count("*") >= 4


def test_the_net_under_log_calls() -> None:
    event = {"event": "x", "digits": "1234", "caller": "+919812345610", "codec": "PCMA", "user": 7}
    assert scrub(None, "info", event) == {
        "event": "x",
        "digits": HIDDEN,
        "caller": "+9198******10",
        "codec": "PCMA",
        "user": 7,
    }
