"""Whom to call: one form for comparing, and the form that a trunk wants to dial."""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias

from sipbot.call.numbers import e164

NumberFormat: TypeAlias = Literal["e164", "national0"]

MAX_USER: Final = 64  # characters
_USER: Final = re.compile(r"[A-Za-z0-9_.!~*'()&=+$,;?/-]+")
_INDIA: Final = "+91"
WRONG: Final = "must be a number such as +919812345610, or a plain user name"


def canonical(number: str) -> str:
    """One spelling for all ways to write a number: ``+`` and digits; a user name as it is.

    ``07411179773`` becomes ``+917411179773``, never ``+7411179773``. Raises ValueError for what
    nobody can be called by.
    """
    text = number.strip()
    found = e164(text)
    if found is not None:
        return found
    if text.startswith("+") or not text or len(text) > MAX_USER or not _USER.fullmatch(text):
        raise ValueError(WRONG)
    return text


def dialled(number: str, form: NumberFormat) -> str:
    """A canonical number as the trunk wants it.

    ``national0`` writes Indian numbers as ``0`` and ten digits; foreign ones stay as they are.
    """
    if form == "national0" and number.startswith(_INDIA):
        return "0" + number.removeprefix(_INDIA)
    return number
