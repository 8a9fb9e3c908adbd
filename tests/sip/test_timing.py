from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sipbot.sip.timing import Alarms, Timers


def test_give_up_is_64_times_t1() -> None:
    assert Timers().give_up == 32.0
    assert Timers(t1=0.1).give_up == 6.4


def test_alarms_ring_in_order_and_once() -> None:
    alarms: Alarms[str] = Alarms()
    alarms.set("b", 2.0)
    alarms.set("a", 1.0)
    assert alarms.next_deadline() == 1.0
    assert alarms.pop_due(0.5) is None
    assert alarms.pop_due(5.0) == "a"
    assert alarms.pop_due(5.0) == "b"
    assert alarms.pop_due(5.0) is None
    assert len(alarms) == 0


def test_setting_again_moves_and_none_disarms() -> None:
    alarms: Alarms[str] = Alarms()
    alarms.set("a", 1.0)
    alarms.set("a", 3.0)
    assert alarms.get("a") == 3.0
    assert alarms.next_deadline() == 3.0
    alarms.set("a", None)
    assert alarms.next_deadline() is None
    alarms.set("a", None)
    assert len(alarms) == 0


def test_heap_stays_small_when_alarms_move_often() -> None:
    alarms: Alarms[str] = Alarms()
    for step in range(10_000):
        alarms.set("a", float(10_000 - step))
    assert len(alarms._heap) < 100
    assert alarms.pop_due(10_000.0) == "a"


@given(st.lists(st.tuples(st.integers(0, 5), st.one_of(st.none(), st.integers(0, 50)))))
def test_behaves_like_a_dictionary(changes: list[tuple[int, int | None]]) -> None:
    alarms: Alarms[int] = Alarms()
    model: dict[int, float] = {}
    for key, at in changes:
        alarms.set(key, at)
        if at is None:
            model.pop(key, None)
        else:
            model[key] = at
        assert alarms.next_deadline() == min(model.values(), default=None)
    rung = []
    while (key_due := alarms.pop_due(100.0)) is not None:
        rung.append(key_due)
    assert sorted(rung) == sorted(model)
    assert [model[key] for key in rung] == sorted(model.values())
