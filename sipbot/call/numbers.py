"""Telephone numbers in the forms that Indian trunks write them, made comparable.

Used for comparing only: what is shown, dialled or recorded stays as it was received.
"""

from __future__ import annotations

import re
from typing import Final

NATIONAL_DIGITS: Final = 10  # of an Indian number without its prefixes
_SEPARATORS: Final = re.compile(r"[-.()\s]")  # RFC 3966 section 5.1.1, visual separators
_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")  # ITU-T E.164: 15 digits at most
_NATIONAL: Final = re.compile(r"[1-9][0-9]{9}")


def e164(user: str) -> str | None:
    """A user part as ``+`` and digits, or None when it is no full number.

    ``+91 80640 61518``, ``918064061518``, ``08064061518``, ``0044...`` and
    ``8064061518`` are understood; a number without a country code is taken as Indian. Parameters
    of the user part (``;phone-context=...``) are left out.
    """
    text = _SEPARATORS.sub("", user.split(";", 1)[0])
    if text.startswith("+"):
        return text if _E164.fullmatch(text) else None
    if not (text.isascii() and text.isdigit()):
        return None
    if text.startswith("00"):
        international = "+" + text[2:]
        return international if _E164.fullmatch(international) else None
    national = text
    if len(text) == NATIONAL_DIGITS + 2 and text.startswith("91"):
        national = text[2:]
    elif len(text) == NATIONAL_DIGITS + 1 and text.startswith("0"):
        national = text[1:]
    return f"+91{national}" if _NATIONAL.fullmatch(national) else None


def forms(user: str) -> tuple[str, ...]:
    """All ways to write the number: as it came, ``+91``, ``91``, ``0`` and ten digits alone."""
    number = e164(user)
    if number is None:
        return (user,)
    if not number.startswith("+91") or len(number) != NATIONAL_DIGITS + 3:
        return (user, number, number[1:], "00" + number[1:])
    national = number[3:]
    return (user, number, number[1:], "0" + national, national)
