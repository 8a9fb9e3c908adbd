"""Joins agents with the store: what is kept of their calls, and how they transfer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sipbot.clock import Clock
from sipbot.ops.config import Config
from sipbot.ops.logs import get_logger
from sipbot.runtime.agent_parts import host_parts
from sipbot.runtime.host import HostParts
from sipbot.runtime.records import Books
from sipbot.runtime.transfers import TrunkTransfers


def kept_host_parts(config: Config, base: Path | None, clock: Clock, books: Books) -> HostParts:
    """Everything that agents need. Raises ConfigError or AgentLoadError."""
    counters = books.counters
    transfers = TrunkTransfers(config, books.storage, clock, counters, get_logger("transfers"))
    parts = host_parts(config, base, clock, counters)
    return replace(parts, transfers=transfers, keep=books.writer.put)
