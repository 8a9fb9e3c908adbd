from __future__ import annotations

import pytest

from sipbot.sip.transactions.client import Client
from sipbot.sip.transactions.machine import Do, Input, State
from tests.sip.machines import START, Expected, all_pairs, build, firings, put_into

PATH = {
    State.TRYING: [],
    State.PROCEEDING: [Input.PROVISIONAL],
    State.COMPLETED: [Input.SUCCESS],
    State.TERMINATED: [Input.SUCCESS, Input.TIMER_K],
}
# RFC 3261 figure 6.
EXPECTED: Expected = {
    (State.TRYING, Input.TIMER_E): ((Do.SEND,), State.TRYING),
    (State.TRYING, Input.TIMER_F): ((Do.TELL_TIMEOUT,), State.TERMINATED),
    (State.TRYING, Input.TRANSPORT_ERROR): ((Do.TELL_FAILURE,), State.TERMINATED),
    (State.TRYING, Input.PROVISIONAL): ((Do.TELL,), State.PROCEEDING),
    (State.TRYING, Input.SUCCESS): ((Do.TELL,), State.COMPLETED),
    (State.TRYING, Input.FAILURE): ((Do.TELL,), State.COMPLETED),
    (State.PROCEEDING, Input.TIMER_E): ((Do.SEND,), State.PROCEEDING),
    (State.PROCEEDING, Input.TIMER_F): ((Do.TELL_TIMEOUT,), State.TERMINATED),
    (State.PROCEEDING, Input.TRANSPORT_ERROR): ((Do.TELL_FAILURE,), State.TERMINATED),
    (State.PROCEEDING, Input.PROVISIONAL): ((Do.TELL,), State.PROCEEDING),
    (State.PROCEEDING, Input.SUCCESS): ((Do.TELL,), State.COMPLETED),
    (State.PROCEEDING, Input.FAILURE): ((Do.TELL,), State.COMPLETED),
    (State.COMPLETED, Input.TIMER_K): ((), State.TERMINATED),
}


@pytest.mark.parametrize(("state", "what"), all_pairs(PATH))
def test_every_pair(state: State, what: Input) -> None:
    machine = put_into(Client, state, PATH)
    actions, target = EXPECTED.get((state, what), ((), state))
    assert machine.step(what, START) == actions
    assert machine.state is target


def test_timer_e_doubles_to_t2_until_f() -> None:
    fired = list(firings(build(Client)))
    resends = [at for at, actions in fired if actions == (Do.SEND,)]
    assert resends == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert fired[-1] == (32.0, (Do.TELL_TIMEOUT,))


def test_after_a_provisional_response_e_fires_every_t2() -> None:
    machine = build(Client)
    assert machine.handle_timer(START + 0.5) == (Do.SEND,)
    machine.step(Input.PROVISIONAL, START + 1.0)
    fired = list(firings(machine))
    resends = [at for at, actions in fired if actions == (Do.SEND,)]
    # The running E still fires when it was due, then every 4 s.
    assert resends == [1.5, 5.5, 9.5, 13.5, 17.5, 21.5, 25.5, 29.5]
    assert fired[-1] == (32.0, (Do.TELL_TIMEOUT,))


def test_timer_k_waits_on_datagrams_only() -> None:
    machine = build(Client)
    machine.step(Input.SUCCESS, START)
    assert list(firings(machine)) == [(5.0, ())]
    machine = build(Client, reliable=True)
    machine.step(Input.FAILURE, START)
    assert machine.state is State.TERMINATED


def test_reliable_transport_only_gives_up() -> None:
    assert list(firings(build(Client, reliable=True))) == [(32.0, (Do.TELL_TIMEOUT,))]
