"""Variables in the texts of a flow: ``{name}``, or ``{name:digits}`` to have it spelt out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

BUILT_IN: Final = frozenset({"caller", "callee"})  # set by the call itself
_PLACE: Final = re.compile(r"\{([a-z][a-z0-9_]*)(:digits)?\}")


def names_in(text: str) -> set[str]:
    """Variables that ``text`` uses."""
    return {found.group(1) for found in _PLACE.finditer(text)}


def fill(text: str, values: Mapping[str, str]) -> str:
    """``text`` with its variables; one that has no value yet is left out."""

    def value(place: re.Match[str]) -> str:
        found = values.get(place.group(1), "")
        return " ".join(found) if place.group(2) else found

    return _PLACE.sub(value, text)
