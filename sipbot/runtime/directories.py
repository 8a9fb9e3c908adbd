"""Where this program keeps files."""

from __future__ import annotations

import os
from pathlib import Path


def state_directory() -> Path:
    """Where programs keep what should survive a restart (XDG base directories)."""
    configured = os.environ.get("XDG_STATE_HOME", "")
    return (Path(configured) if configured else Path.home() / ".local" / "state") / "sipbot"
