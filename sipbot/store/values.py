"""What both databases take: texts without NUL and lone surrogates, finite numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping

from sipbot.call.record import Stat


def plain(text: str, limit: int | None = None) -> str:
    """A text as it can be stored, cut to ``limit`` characters."""
    if not text.isprintable():
        text = text.replace("\x00", "").encode("utf-8", "replace").decode()
    return text if limit is None else text[:limit]


def plain_stats(stats: Mapping[str, Stat]) -> dict[str, Stat]:
    """Statistics as JSON: infinite and undefined numbers become null."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in stats.items()
    }
