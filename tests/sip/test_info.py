from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipbot.errors import SipSyntaxError
from sipbot.sip.info import MAX_DURATION_MS, parse_digit, parse_sipfrag_status


@pytest.mark.parametrize("digit", "0123456789*#ABCD")
def test_every_key_in_both_forms(digit: str) -> None:
    assert parse_digit("application/dtmf", digit.encode()) == (digit, 0)
    body = f"Signal={digit}\r\nDuration=250\r\n".encode()
    assert parse_digit("application/dtmf-relay", body) == (digit, 250)


@pytest.mark.parametrize(("number", "digit"), [("10", "*"), ("11", "#"), ("12", "A"), ("15", "D")])
def test_event_numbers(number: str, digit: str) -> None:
    assert parse_digit("application/dtmf-relay", f"Signal={number}".encode())[0] == digit


@pytest.mark.parametrize("body", [b"", b"Signal=", b"Signal=16", b"X", b"55", b"Duration=10"])
def test_bodies_without_a_key(body: bytes) -> None:
    with pytest.raises(SipSyntaxError) as caught:
        parse_digit("application/dtmf-relay", body)
    assert str(caught.value) == "Bad DTMF Signal"


def test_duration_is_bounded() -> None:
    body = b"Signal=1\r\nDuration=99999999999999999999"
    assert parse_digit("application/dtmf-relay", body) == ("1", MAX_DURATION_MS)


@given(st.binary(max_size=60))
def test_any_body_is_a_key_or_an_error(body: bytes) -> None:
    try:
        digit, duration_ms = parse_digit("application/dtmf", body)
    except SipSyntaxError:
        return
    assert digit in "0123456789*#ABCD"
    assert 0 <= duration_ms <= MAX_DURATION_MS


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"SIP/2.0 100 Trying", 100), (b"SIP/2.0 603", 603), (b"\r\nSIP/2.0 200 OK\r\n", 200)],
)
def test_sipfrag(body: bytes, status: int) -> None:
    assert parse_sipfrag_status(body) == status


@pytest.mark.parametrize("body", [b"", b"SIP/2.0", b"SIP/2.0 9", b"SIP/2.0 1000", b"INVITE sip:a"])
def test_sipfrag_that_cannot_be_read(body: bytes) -> None:
    with pytest.raises(SipSyntaxError):
        parse_sipfrag_status(body)
