"""Helpers for the tests of the transaction machines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sipbot.sip.timing import Timers
from sipbot.sip.transactions.machine import Do, Input, Machine, State

START = 100.0  # seconds
RESPONSES = frozenset({Input.PROVISIONAL, Input.SUCCESS, Input.FAILURE})

Pair = tuple[State, Input]
Expected = Mapping[Pair, tuple[tuple[Do, ...], State]]


def build(kind: type[Machine], *, reliable: bool = False) -> Machine:
    return kind(Timers(), reliable=reliable, now=START)


def put_into(kind: type[Machine], state: State, path: Mapping[State, list[Input]]) -> Machine:
    """A machine over UDP brought into ``state`` by legal inputs."""
    machine = build(kind)
    for what in path[state]:
        machine.step(what, START)
    assert machine.state is state
    return machine


def all_pairs(path: Mapping[State, list[Input]]) -> list[Pair]:
    return [(state, what) for state in path for what in Input]


def firings(machine: Machine) -> Iterator[tuple[float, tuple[Do, ...]]]:
    """Run the machine's timers until none is left: (seconds since START, what to do)."""
    while (at := machine.next_deadline()) is not None:
        yield at - START, machine.handle_timer(at)
