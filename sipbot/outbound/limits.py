"""Bounds of outbound calls."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TrunkLimits:
    """Bounds of calls made by one trunk, over all processes and nodes that share a store."""

    max_calls: int  # at the same time
    per_minute: int  # begun in any minute
