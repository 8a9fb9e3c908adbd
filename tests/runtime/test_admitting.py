"""Who gets in, how many, and what is written about those who do not."""

from __future__ import annotations

import ipaddress
from typing import Any

from sipbot.ops.admission import Admission
from sipbot.ops.counters import Counters
from sipbot.runtime.capacity import Capacity
from sipbot.runtime.doorkeeper import Doorkeeper
from sipbot.runtime.say_once import MAX_NAMED


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def debug(self, event: str, **values: Any) -> None:
        self.lines.append((event, values))

    info = warning = error = exception = debug

    def bind(self, **values: Any) -> Log:
        return self


def doorkeeper(log: Log, counters: Counters) -> Doorkeeper:
    trunk = ipaddress.ip_network("203.0.113.0/24")
    return Doorkeeper(Admission({"exotel": [trunk]}), counters, log)


def test_a_stranger_is_counted_each_time_and_logged_once() -> None:
    log, counters = Log(), Counters()
    door = doorkeeper(log, counters)
    assert door.admit("203.0.113.7", "udp")
    assert not any(door.admit("198.51.100.1", "udp") for _ in range(50))
    assert counters.value("dropped", rule="not-a-trunk") == 50
    assert [values["peer"] for _, values in log.lines] == ["198.51.100.1"]
    assert log.lines[0][1]["rule"] == "not-a-trunk"


def test_a_flood_from_many_addresses_takes_bounded_memory() -> None:
    log, counters = Log(), Counters()
    door = doorkeeper(log, counters)
    for number in range(2 * MAX_NAMED):
        door.dropped("stream-idle", f"198.51.{number // 256}.{number % 256}")
    assert len(door._once) == MAX_NAMED
    assert counters.value("dropped", rule="stream-idle") == 2 * MAX_NAMED


def test_capacity_in_all_and_by_trunk() -> None:
    capacity = Capacity(3, {"small": 1})
    assert capacity.refusal("small") is None
    capacity.add("small")
    assert capacity.refusal("small") == "max-calls-per-trunk"
    assert capacity.refusal("other") is None
    capacity.add("other")
    capacity.add("")
    assert capacity.refusal("other") == "max-calls"
    capacity.remove("small")
    assert capacity.calls == 2
    assert capacity.refusal("small") is None
