from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipbot.errors import LocalProtocolError, SdpError
from sipbot.sdp.crypto import KEY_BYTES, MAX_CRYPTO_LINES, SUITES, CryptoKey, parse_crypto, usable

KEY = bytes(range(KEY_BYTES))
INLINE = "inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd"
S80, S32 = SUITES


@pytest.mark.parametrize(
    ("value", "suite", "tag"),
    [
        (f"1 {S80} {INLINE}", S80, 1),
        (f"2 {S32} {INLINE}", S32, 2),
        (f"999999999 {S80.lower()} {INLINE}", S80, 999_999_999),
        (f"1  {S80}   {INLINE}|2^20", S80, 1),
        (f"1 {S80} {INLINE}|1048576", S80, 1),
        (f"1 {S80} {INLINE} WSH=128 KDR=0 FEC_ORDER=FEC_SRTP", S80, 1),
        (f"1 {S80} {INLINE} -NEWTHING=3", S80, 1),
    ],
)
def test_usable_lines(value: str, suite: str, tag: int) -> None:
    assert parse_crypto(value) == CryptoKey(suite, KEY, tag)


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("", "crypto-form"),
        (f"1 {S80}", "crypto-form"),
        (f"x {S80} {INLINE}", "crypto-form"),
        (f"01 {S80} {INLINE}", "crypto-form"),
        (f"1234567890 {S80} {INLINE}", "crypto-form"),
        (f"1 F8_128_HMAC_SHA1_80 {INLINE}", "crypto-suite"),
        (f"1 AES_256_CM_HMAC_SHA1_80 {INLINE}", "crypto-suite"),
        (f"1 {S80} uri:https://example.com/", "crypto-key-form"),
        (f"1 {S80} {INLINE};{INLINE}", "crypto-key-form"),
        (f"1 {S80} {INLINE}|2^20|1:4", "crypto-mki"),
        (f"1 {S80} {INLINE}|1:4", "crypto-mki"),
        (f"1 {S80} {INLINE}|soon", "crypto-lifetime"),
        (f"1 {S80} inline:!!!!", "crypto-key-base64"),
        (f"1 {S80} inline:AAEC\u0131", "crypto-key-base64"),
        (f"1 {S80} inline:AAEC", "crypto-key-length"),
        (f"1 {S80} inline:", "crypto-key-length"),
        (f"1 {S80} {INLINE} UNENCRYPTED_SRTP", "crypto-unprotected"),
        (f"1 {S80} {INLINE} UNENCRYPTED_SRTCP", "crypto-unprotected"),
        (f"1 {S80} {INLINE} UNAUTHENTICATED_SRTP", "crypto-unprotected"),
        (f"1 {S80} {INLINE} KDR=3", "crypto-parameter"),
        (f"1 {S80} {INLINE} NEWTHING", "crypto-parameter"),
    ],
)
def test_unusable_lines_are_488_with_their_rule(value: str, rule: str) -> None:
    with pytest.raises(SdpError) as caught:
        parse_crypto(value)
    assert (caught.value.status, caught.value.reason) == (488, rule)


def test_of_several_lines_the_usable_ones_in_order() -> None:
    lines = [f"1 F8_128_HMAC_SHA1_80 {INLINE}", f"2 {S32} {INLINE}", f"3 {S80} {INLINE}"]
    assert [key.tag for key in usable(lines)] == [2, 3]


def test_endless_lines_are_not_all_read() -> None:
    lines = ["junk"] * MAX_CRYPTO_LINES + [f"1 {S80} {INLINE}"]
    assert list(usable(lines)) == []


def test_the_key_does_not_show() -> None:
    assert "key" not in repr(CryptoKey(S80, KEY))


@pytest.mark.parametrize(("suite", "key"), [(S80, b"short"), ("NULL", KEY)])
def test_impossible_keys_cannot_be_made(suite: str, key: bytes) -> None:
    with pytest.raises(LocalProtocolError):
        CryptoKey(suite, key)


@given(
    st.sampled_from(SUITES),
    st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES),
    st.integers(0, 999_999_999),
)
def test_round_trip(suite: str, key: bytes, tag: int) -> None:
    made = CryptoKey(suite, key, tag)
    assert parse_crypto(made.attribute_value()) == made


@given(st.text(max_size=80))
def test_random_text_raises_nothing_else(text: str) -> None:
    with pytest.raises(SdpError):
        parse_crypto(text)


@given(st.text(alphabet="|:;=^ 12", max_size=12))
def test_random_tails_raise_nothing_else(tail: str) -> None:
    found = list(usable([f"1 {S80} {INLINE}{tail}"]))
    assert [key.key for key in found] in ([], [KEY])
