"""What the HTTP interface is told while processes start, stall, die and stop."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from sipbot.ops.logs import get_logger
from sipbot.runtime.web import SILENT_S, FleetView, Front, serving
from sipbot.testing.clock import ManualClock
from tests.http.kit import STATUS, Fixed


def fleet(clock: ManualClock) -> Any:
    edge = SimpleNamespace(gone=asyncio.Event())
    return SimpleNamespace(edge=edge, heard_at=clock.monotonic(), status=None)


def test_before_there_is_anything_and_while_it_stops() -> None:
    front = Front()
    assert front.reasons() == ("starting",)
    assert front.status() is None
    assert front.processes() == ()
    front.behind = Fixed()
    assert front.reasons() == ()
    assert front.status() is STATUS
    front.stopping = True
    assert front.reasons() == ("shutting-down",)


def test_a_fleet_is_seen_through_what_its_edge_says() -> None:
    clock = ManualClock()
    one = fleet(clock)
    view = FleetView(one, clock)
    seen = [view.reasons()]
    one.status = STATUS
    seen.append(view.reasons())
    clock.advance(SILENT_S + 0.1)
    seen.append(view.reasons())
    one.heard_at = clock.monotonic()
    seen.append(view.reasons())
    one.edge.gone.set()
    seen.append(view.reasons())
    assert seen == [("starting",), (), ("edge-silent",), (), ("no-edge",)]


async def test_without_a_listener_nothing_is_served() -> None:
    async with serving(None, Front(), ManualClock(), get_logger("http")) as urls:
        assert urls == ()
