"""Bounds of the trunks by which calls are made, from the configuration."""

from __future__ import annotations

from collections.abc import Mapping

from sipbot.ops.config import Config
from sipbot.outbound.limits import TrunkLimits


def outbound_limits(config: Config) -> Mapping[str, TrunkLimits]:
    """By name of the trunk; empty when none makes calls."""
    return {
        name: TrunkLimits(trunk.outbound.max_calls, trunk.outbound.calls_per_minute)
        for name, trunk in config.trunks.items()
        if trunk.outbound is not None
    }
