"""Entry point of a worker process; ``sipbot.runtime.child`` says with which arguments."""

from __future__ import annotations

import sys

from sipbot.ops import logs
from sipbot.runtime import child_logs
from sipbot.runtime.child import WorkerBoot, die_with_parent, take_from_memory
from sipbot.runtime.loop import run_on_fast_loop
from sipbot.runtime.worker import run_worker


def main() -> int:
    """Run a worker; returns the exit code."""
    boot = take_from_memory(int(sys.argv[1]), WorkerBoot)
    die_with_parent(int(sys.argv[2]))
    child_logs.configure(boot.config.logging, worker=boot.number)
    try:
        return run_on_fast_loop(run_worker(boot))
    finally:
        logs.shutdown()


if __name__ == "__main__":
    sys.exit(main())
