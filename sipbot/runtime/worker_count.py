"""How many worker processes a configuration asks for."""

from __future__ import annotations

import os
import sys
from typing import Literal


def worker_count(configured: int | Literal["auto"]) -> int:
    """Processes for agents; 0 means that everything runs in one process.

    ``auto`` leaves one core to the edge. Anywhere but on Linux there are no workers.
    """
    if sys.platform != "linux":
        return 0
    if configured != "auto":
        return configured
    return max(len(os.sched_getaffinity(0)) - 1, 1)
