"""Overload on virtual time: when it begins, when it ends, and that it does not flap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipbot.ops.overload import (
    ENOUGH_S,
    HOLD_S,
    LEAVE_AT,
    WINDOW_S,
    CpuLoad,
    Overload,
    OverloadLimits,
    Switch,
    TickLoad,
)

STEP_S = 0.25
BOUNDS_MS = (1, 2, 5, 10, 20, 50, 100)
LIMIT = 80.0


class Process:
    """Uses the CPU as told, and is read every ``STEP_S``."""

    def __init__(self) -> None:
        self.load, self.now, self.cpu_s = CpuLoad(), 100.0, 7.0
        self.changes: list[tuple[float, bool]] = []
        self.load.sample(self.now, self.cpu_s, LIMIT)

    def use(self, percent: float, seconds: float, limit: float | None = LIMIT) -> None:
        for _ in range(round(seconds / STEP_S)):
            self.now += STEP_S
            self.cpu_s += STEP_S * percent / 100
            if self.load.sample(self.now, self.cpu_s, limit):
                self.changes.append((self.now, self.load.busy))


def test_what_was_used_before_the_first_reading_does_not_count() -> None:
    process = Process()
    process.use(10, 5)
    assert process.load.percent == pytest.approx(10)
    assert process.changes == []


def test_there_is_no_verdict_before_enough_readings() -> None:
    process = Process()
    process.use(100, ENOUGH_S - STEP_S)
    assert process.changes == []
    process.use(100, STEP_S)
    assert process.load.busy


def test_a_busy_process_is_noticed_within_the_window() -> None:
    process = Process()
    process.use(20, 10)
    process.use(100, WINDOW_S)
    assert process.load.busy
    ((when, busy),) = process.changes
    assert busy
    assert 110 < when <= 110 + WINDOW_S


def test_a_short_burst_is_no_overload() -> None:
    process = Process()
    process.use(20, 10)
    process.use(100, 0.75)
    process.use(20, 10)
    assert process.changes == []


def test_overload_ends_once_it_was_well_below_for_a_while() -> None:
    process = Process()
    process.use(100, 5)
    process.use(40, WINDOW_S + HOLD_S / 2)
    assert len(process.changes) == 1
    process.use(40, HOLD_S)
    assert [busy for _, busy in process.changes] == [True, False]


def test_a_load_around_the_limit_does_not_flap() -> None:
    process = Process()
    process.use(100, 3)
    for _ in range(20):
        process.use(LIMIT - 5, 2)
        process.use(LIMIT + 5, 2)
    assert process.changes == [(process.changes[0][0], True)]


def test_without_a_limit_nothing_is_too_much() -> None:
    process = Process()
    process.use(300, 5, None)
    assert process.load.percent == pytest.approx(300)
    assert not process.load.busy


def test_taking_the_limit_away_ends_overload() -> None:
    process = Process()
    process.use(100, 5)
    process.use(100, STEP_S, None)
    assert not process.load.busy


def test_a_stall_of_the_reader_leaves_a_fair_share() -> None:
    process = Process()
    process.use(40, 5)
    process.now += 30
    process.use(40, STEP_S)
    assert process.load.percent < 40


class Clock:
    """A media clock at 5 ms, read every ``STEP_S``."""

    def __init__(self) -> None:
        self.load, self.now = TickLoad(BOUNDS_MS), 0.0
        self.counts = [0] * (len(BOUNDS_MS) + 1)
        self.load.sample(self.now, self.counts, 20)

    def run(self, seconds: float, late: int = 0, bucket: int = 5) -> None:
        """So many of 50 ticks of each step are late: by 20 to 50 ms, unless ``bucket`` differs."""
        for _ in range(round(seconds / STEP_S)):
            self.now += STEP_S
            self.counts[0] += 50 - late
            self.counts[bucket] += late
            self.load.sample(self.now, self.counts, 20)


def test_a_punctual_clock_is_no_overload() -> None:
    clock = Clock()
    clock.run(10)
    assert clock.load.late_ms <= 1
    assert not clock.load.late


def test_one_late_tick_is_a_hiccup() -> None:
    clock = Clock()
    clock.run(5)
    clock.run(STEP_S, late=1, bucket=7)
    clock.run(5)
    assert not clock.load.late


@pytest.mark.parametrize(("bucket", "late"), [(3, False), (4, False), (5, True), (7, True)])
def test_what_counts_as_late(bucket: int, late: bool) -> None:
    clock = Clock()
    clock.run(3, late=5, bucket=bucket)
    assert clock.load.late is late


def test_lateness_ends_after_a_while() -> None:
    clock = Clock()
    clock.run(3, late=5)
    clock.run(WINDOW_S + HOLD_S / 2)
    was_late = clock.load.late
    clock.run(HOLD_S)
    assert (was_late, clock.load.late) == (True, False)


def test_a_clock_that_hardly_ticks_is_late() -> None:
    load = TickLoad(BOUNDS_MS)
    counts = [0] * (len(BOUNDS_MS) + 1)
    for step in range(20):
        counts[-1] += 1
        load.sample(step * 0.5, counts, 20)
    assert load.late
    assert load.late_ms == BOUNDS_MS[-1]


def test_a_clock_that_does_not_run_yet_is_not_late() -> None:
    load = TickLoad(BOUNDS_MS)
    for step in range(20):
        load.sample(step * 0.5, [0] * (len(BOUNDS_MS) + 1), 20)
    assert not load.late


def test_both_rules_have_their_names() -> None:
    overload = Overload(OverloadLimits(50, 20), BOUNDS_MS)
    counts = [0] * (len(BOUNDS_MS) + 1)
    for step in range(20):
        counts[-2] += 10
        overload.sample(step * STEP_S, step * STEP_S, counts)
    assert list(overload.rules) == ["cpu", "tick-lateness"]
    overload.limits = OverloadLimits(None, None)
    overload.sample(10.0, 5.0, counts)
    assert not overload.rules


@given(st.lists(st.floats(0, 200), min_size=1, max_size=100))
def test_between_two_changes_lies_the_hold(values: list[float]) -> None:
    """However the value moves: it goes on above the limit only, and stays on for HOLD_S."""
    switch, went_on = Switch(), 0.0
    for step, value in enumerate(values):
        now = step * STEP_S
        if switch.judge(now, value, LIMIT):
            if switch.on:
                assert value > LIMIT
                went_on = now
            else:
                assert value <= LEAVE_AT * LIMIT
                assert now - went_on >= HOLD_S
