"""Entry point of the edge process; ``sipbot.runtime.child`` says with which arguments."""

from __future__ import annotations

import sys

from sipbot.ops import logs
from sipbot.runtime import child_logs
from sipbot.runtime.child import EdgeBoot, die_with_parent, take_from_memory
from sipbot.runtime.edge_process import run_edge
from sipbot.runtime.loop import run_on_fast_loop


def main() -> int:
    """Run the edge; returns the exit code."""
    boot = take_from_memory(int(sys.argv[1]), EdgeBoot)
    die_with_parent(int(sys.argv[2]))
    child_logs.configure(boot.config.logging)
    try:
        return run_on_fast_loop(run_edge(boot))
    finally:
        logs.shutdown()


if __name__ == "__main__":
    sys.exit(main())
