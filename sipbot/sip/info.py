"""Bodies of INFO (digits) and NOTIFY (transfer progress)."""

from __future__ import annotations

import re
from typing import Final

from sipbot.errors import SipSyntaxError

MAX_DURATION_MS: Final = 8000  # longer presses are reported as this
_DEFAULT_DURATION_MS: Final = 0  # not told
_DIGITS: Final = frozenset("0123456789*#ABCD")
# Event numbers of RFC 4733 section 3.2, which some gateways write instead of the key.
_NUMBERED: Final = {"10": "*", "11": "#", "12": "A", "13": "B", "14": "C", "15": "D"}
_LINE_RE: Final = re.compile(r"[ \t]*([A-Za-z]+)[ \t]*=[ \t]*([^ \t]*)[ \t]*")
_SIPFRAG_RE: Final = re.compile(rb"[ \t\r\n]*SIP/2\.0[ \t]+([1-6][0-9]{2})(?:[ \t\r\n]|\Z)")

INFO_TYPES: Final = ("application/dtmf-relay", "application/dtmf")


def parse_digit(content_type: str, body: bytes) -> tuple[str, int]:
    """The key and how long it was held (ms, 0 when not told).

    ``Signal=5`` and ``Duration=160`` on lines of their own, as in application/dtmf-relay, or the
    key alone, as in application/dtmf; each type is also met with the other's form. Raises
    ``SipSyntaxError``, whose text never holds the key.
    """
    lines = body.decode("latin-1").replace("\r\n", "\n").split("\n")
    found: dict[str, str] = {}
    for line in lines:
        match = _LINE_RE.fullmatch(line)
        if match is not None:
            found.setdefault(match[1].lower(), match[2])
    signal = found.get("signal")
    if signal is None:
        signal = body.decode("latin-1").strip()
    digit = _NUMBERED.get(signal, signal.upper())
    if digit not in _DIGITS:
        raise SipSyntaxError("Bad DTMF Signal")
    return digit, _duration(found.get("duration", ""))


def _duration(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        return _DEFAULT_DURATION_MS
    return min(int(text[:6]), MAX_DURATION_MS)


def parse_sipfrag_status(body: bytes) -> int:
    """The status of a message/sipfrag body (RFC 3515 section 2.4.5). Raises ``SipSyntaxError``."""
    match = _SIPFRAG_RE.match(body)
    if match is None:
        raise SipSyntaxError("Bad Sipfrag")
    return int(match[1])
