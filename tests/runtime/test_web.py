"""What the HTTP interface is told while processes start, stall, die and stop."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from sipbot.ops.status import ProcessStatus
from sipbot.runtime.link import messages as msg
from sipbot.runtime.web import SILENT_S, FleetView, Front, Pushed
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


def test_a_worker_shows_what_it_was_told_as_long_as_it_is_told() -> None:
    clock = ManualClock()
    pushed = Pushed(clock)
    assert (pushed.reasons(), pushed.status(), pushed.processes()) == (("starting",), None, ())
    running = (ProcessStatus("edge", 1),)
    pushed.take(msg.Fare(("cpu",), STATUS, running, {}))
    assert (pushed.reasons(), pushed.status(), pushed.processes()) == (("cpu",), STATUS, running)
    clock.advance(SILENT_S + 1.5)
    assert pushed.reasons() == ("supervisor-silent",)
