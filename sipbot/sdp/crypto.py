"""``a=crypto`` lines: SDES keys for SRTP (RFC 4568).

Supported: AES_CM_128_HMAC_SHA1_80 and _32, one master key a line, lifetime read and ignored.
A line with something unsupported raises; negotiation then tries the next one, as the offerer meant
by sending several (RFC 4568 section 5.1.2).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from sipbot.errors import LocalProtocolError, SdpError

SUITES: Final = ("AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32")
KEY_BYTES: Final = 30  # 16 bytes of master key and 14 of salt (RFC 4568 section 6.2)
MAX_CRYPTO_LINES: Final = 16  # of one m= section; the rest is not looked at

_TAG = re.compile(r"[1-9][0-9]{0,8}|0")  # RFC 4568 section 9.1: 1*9DIGIT
_LIFETIME = re.compile(r"2\^[0-9]{1,2}|[0-9]{1,15}")
# Parameters that change nothing for us: window size hint and FEC (never offered by us).
_HARMLESS: Final = frozenset({"WSH", "FEC_ORDER", "FEC_KEY"})


@dataclass(frozen=True, slots=True)
class CryptoKey:
    """One direction's SRTP master key. ``key`` is key and salt, 30 bytes, hidden from ``repr``."""

    suite: str
    key: bytes = field(repr=False)
    tag: int = 1

    def __post_init__(self) -> None:
        if self.suite not in SUITES or len(self.key) != KEY_BYTES:
            raise LocalProtocolError("unknown SRTP suite, or a key that is not 30 bytes")

    def attribute_value(self) -> str:
        """The text after ``a=crypto:``."""
        return f"{self.tag} {self.suite} inline:{base64.b64encode(self.key).decode('ascii')}"


def parse_crypto(value: str) -> CryptoKey:
    """Read the text after ``a=crypto:``.

    Raises SdpError (488) when the line is broken or asks for what we do not do.
    """
    # RFC 4568 section 4: a=crypto:<tag> <crypto-suite> <key-params> [<session-params>]
    words = value.split()
    if len(words) < 3 or not _TAG.fullmatch(words[0]):
        raise SdpError("crypto-form")
    tag, suite, keys, *parameters = words
    if suite.upper() not in SUITES:
        raise SdpError("crypto-suite")
    for parameter in parameters:
        _check_parameter(parameter)
    return CryptoKey(suite.upper(), _key(keys), int(tag))


def usable(values: Iterable[str]) -> Iterator[CryptoKey]:
    """Of several lines those that we can use, in the offerer's order."""
    for number, value in enumerate(values):
        if number == MAX_CRYPTO_LINES:
            return
        try:
            yield parse_crypto(value)
        except SdpError:
            continue  # RFC 4568 section 5.1.2: the answerer takes one of those it supports


def _key(text: str) -> bytes:
    # RFC 4568 section 6.1: "inline:" <key||salt> ["|" lifetime] ["|" MKI ":" length]
    method, colon, info = text.partition(":")
    if not colon or method.lower() != "inline" or ";" in info:
        raise SdpError("crypto-key-form")  # several keys need an MKI each
    encoded, *rest = info.split("|")
    for part in rest:
        if ":" in part:
            raise SdpError("crypto-mki")
        if part and not _LIFETIME.fullmatch(part):
            raise SdpError("crypto-lifetime")
    try:
        key = base64.b64decode(encoded.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise SdpError("crypto-key-base64") from None
    if len(key) != KEY_BYTES:
        raise SdpError("crypto-key-length")
    return key


def _check_parameter(text: str) -> None:
    """Refuse what would weaken the stream or what the offerer calls mandatory and we lack."""
    # RFC 4568 section 6.3.8: a leading "-" marks a parameter that may be ignored.
    name, _, value = text.upper().partition("=")
    if name.startswith("-") or name in _HARMLESS or (name == "KDR" and value == "0"):
        return
    if name.startswith(("UNENCRYPTED_", "UNAUTHENTICATED_")):
        raise SdpError("crypto-unprotected")
    raise SdpError("crypto-parameter")
