"""Keeps people's numbers, and whatever they dial or say, out of the logs."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any, Final

HIDDEN: Final = "[redacted]"
SHORTEST_NUMBER: Final = 5  # digits; shorter ones are extensions or services, nobody's number

# Keyword names that no log call may use: their values are dialled, spoken or secret.
FORBIDDEN_KEYS: Final = frozenset(
    {
        "authorization",
        "body",
        "credentials",
        "digit",
        "digits",
        "dtmf",
        "key",
        "keys",
        "password",
        "passphrase",
        "pin",
        "said",
        "secret",
        "spoken",
        "text",
        "token",
        "transcript",
        "utterance",
        "wire",
        "words",
    }
)
# Keyword names whose values are phone numbers or names and are shown in part.
NUMBER_KEYS: Final = frozenset(
    {"caller", "callee", "from_user", "to_user", "request_user", "number", "target", "user"}
)
_NUMBER: Final = re.compile(rf"\d(?:[\s().\-]{{0,2}}\d){{{SHORTEST_NUMBER - 1},}}")
_DIGIT: Final = re.compile(r"\d")


def phone(user: str) -> str:
    """A user part or number with the middle of each long number hidden.

    ``+919812345610`` becomes ``+9198******10``; ``echo`` and ``100`` stay as they are. At most the
    first four and the last two digits are shown, fewer of shorter numbers.
    """
    return _NUMBER.sub(_masked, user)


def uri(text: str) -> str:
    """A SIP or tel URI with the number in its user part hidden, host and parameters kept."""
    user, at, rest = text.rpartition("@")
    return phone(user) + at + rest if at else phone(text)


def _masked(match: re.Match[str]) -> str:
    text = match[0]
    digits = len(_DIGIT.findall(text))
    head, tail = min(4, digits // 3), min(2, digits // 5)
    seen = 0

    def mask(digit: re.Match[str]) -> str:
        nonlocal seen
        seen += 1
        return digit[0] if seen <= head or seen > digits - tail else "*"

    return _DIGIT.sub(mask, text)


def scrub(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """structlog processor: the net under the rules that log calls follow themselves."""
    for key, value in event.items():
        if key in FORBIDDEN_KEYS:
            event[key] = HIDDEN
        elif key in NUMBER_KEYS and isinstance(value, str):
            event[key] = uri(value)
    return event
