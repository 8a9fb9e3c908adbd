"""What ``sipbot sim`` prints and writes, for the command line, which imports no more than this."""

from __future__ import annotations

from sipbot.exotel.sim.load import Loaded
from sipbot.exotel.sim.model import TransportName
from sipbot.exotel.sim.report import Case, as_json, as_junit, as_text

__all__ = ["Case", "Loaded", "TransportName", "as_json", "as_junit", "as_text"]
