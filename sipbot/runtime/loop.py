"""The event loop of choice, and a garbage collector that keeps out of its way."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

# Objects that live between two collections of the youngest generation, and so on. A full
# collection stops everything for as long as it takes to visit all objects: about 1 ms for 10,000.
_THRESHOLDS = (20_000, 20, 100)


def run_on_fast_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` to its end on uvloop, or on asyncio's own loop where uvloop is missing."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def settle_collector() -> None:
    """Call once when everything is loaded: what exists now is never looked at again.

    Full collections then visit what calls leave behind, not every module and class.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
