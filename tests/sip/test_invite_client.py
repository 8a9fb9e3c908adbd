from __future__ import annotations

import pytest

from sipbot.sip.transactions.invite_client import InviteClient
from sipbot.sip.transactions.machine import Do, Input, State
from tests.sip.machines import START, Expected, all_pairs, build, firings, put_into

PATH = {
    State.CALLING: [],
    State.PROCEEDING: [Input.PROVISIONAL],
    State.COMPLETED: [Input.FAILURE],
    State.ACCEPTED: [Input.SUCCESS],
    State.TERMINATED: [Input.SUCCESS, Input.TIMER_M],
}
# RFC 3261 figure 5 as changed by RFC 6026 figure 2.
EXPECTED: Expected = {
    (State.CALLING, Input.TIMER_A): ((Do.SEND,), State.CALLING),
    (State.CALLING, Input.TIMER_B): ((Do.TELL_TIMEOUT,), State.TERMINATED),
    (State.CALLING, Input.TRANSPORT_ERROR): ((Do.TELL_FAILURE,), State.TERMINATED),
    (State.CALLING, Input.PROVISIONAL): ((Do.TELL,), State.PROCEEDING),
    (State.CALLING, Input.SUCCESS): ((Do.TELL,), State.ACCEPTED),
    (State.CALLING, Input.FAILURE): ((Do.SEND_ACK, Do.TELL), State.COMPLETED),
    (State.PROCEEDING, Input.PROVISIONAL): ((Do.TELL,), State.PROCEEDING),
    (State.PROCEEDING, Input.SUCCESS): ((Do.TELL,), State.ACCEPTED),
    (State.PROCEEDING, Input.FAILURE): ((Do.SEND_ACK, Do.TELL), State.COMPLETED),
    (State.COMPLETED, Input.FAILURE): ((Do.SEND_ACK,), State.COMPLETED),
    (State.COMPLETED, Input.TRANSPORT_ERROR): ((Do.TELL_FAILURE,), State.TERMINATED),
    (State.COMPLETED, Input.TIMER_D): ((), State.TERMINATED),
    (State.ACCEPTED, Input.SUCCESS): ((Do.TELL,), State.ACCEPTED),
    (State.ACCEPTED, Input.TIMER_M): ((), State.TERMINATED),
}


@pytest.mark.parametrize(("state", "what"), all_pairs(PATH))
def test_every_pair(state: State, what: Input) -> None:
    machine = put_into(InviteClient, state, PATH)
    actions, target = EXPECTED.get((state, what), ((), state))
    assert machine.step(what, START) == actions
    assert machine.state is target


def test_timer_a_doubles_without_end_until_b() -> None:
    fired = list(firings(build(InviteClient)))
    assert [at for at, actions in fired if actions == (Do.SEND,)] == [
        0.5,
        1.5,
        3.5,
        7.5,
        15.5,
        31.5,
    ]
    assert fired[-1] == (32.0, (Do.TELL_TIMEOUT,))


def test_reliable_transport_only_gives_up() -> None:
    assert list(firings(build(InviteClient, reliable=True))) == [(32.0, (Do.TELL_TIMEOUT,))]


def test_a_provisional_response_stops_a_and_b() -> None:
    machine = build(InviteClient)
    machine.step(Input.PROVISIONAL, START)
    assert machine.next_deadline() is None


def test_timer_d_waits_on_datagrams_only() -> None:
    machine = build(InviteClient)
    machine.step(Input.FAILURE, START)
    assert list(firings(machine)) == [(32.0, ())]
    machine = build(InviteClient, reliable=True)
    machine.step(Input.FAILURE, START)
    assert machine.state is State.TERMINATED


def test_timer_m_takes_late_2xx_for_64_t1() -> None:
    machine = build(InviteClient, reliable=True)
    machine.step(Input.SUCCESS, START)
    assert list(firings(machine)) == [(32.0, ())]
