from __future__ import annotations

import pytest

from sipbot.errors import LocalProtocolError
from sipbot.sip.transactions.machine import Do, Input, State
from sipbot.sip.transactions.server import Server
from tests.sip.machines import RESPONSES, START, Expected, all_pairs, build, firings, put_into

PATH = {
    State.TRYING: [],
    State.PROCEEDING: [Input.PROVISIONAL],
    State.COMPLETED: [Input.SUCCESS],
    State.TERMINATED: [Input.SUCCESS, Input.TIMER_J],
}
# RFC 3261 figure 8, transport errors by RFC 6026.
EXPECTED: Expected = {
    (State.TRYING, Input.PROVISIONAL): ((Do.SEND,), State.PROCEEDING),
    (State.TRYING, Input.SUCCESS): ((Do.SEND,), State.COMPLETED),
    (State.TRYING, Input.FAILURE): ((Do.SEND,), State.COMPLETED),
    (State.TRYING, Input.TRANSPORT_ERROR): ((Do.TELL_FAILURE,), State.TRYING),
    (State.PROCEEDING, Input.REQUEST): ((Do.SEND,), State.PROCEEDING),
    (State.PROCEEDING, Input.PROVISIONAL): ((Do.SEND,), State.PROCEEDING),
    (State.PROCEEDING, Input.SUCCESS): ((Do.SEND,), State.COMPLETED),
    (State.PROCEEDING, Input.FAILURE): ((Do.SEND,), State.COMPLETED),
    (State.PROCEEDING, Input.TRANSPORT_ERROR): ((Do.TELL_FAILURE,), State.PROCEEDING),
    (State.COMPLETED, Input.REQUEST): ((Do.SEND,), State.COMPLETED),
    (State.COMPLETED, Input.SUCCESS): ((), State.COMPLETED),
    (State.COMPLETED, Input.FAILURE): ((), State.COMPLETED),
    (State.COMPLETED, Input.TRANSPORT_ERROR): ((Do.TELL_FAILURE,), State.COMPLETED),
    (State.COMPLETED, Input.TIMER_J): ((), State.TERMINATED),
}


@pytest.mark.parametrize(("state", "what"), all_pairs(PATH))
def test_every_pair(state: State, what: Input) -> None:
    machine = put_into(Server, state, PATH)
    expected = EXPECTED.get((state, what))
    if expected is None and what in RESPONSES:
        with pytest.raises(LocalProtocolError):
            machine.step(what, START)
        assert machine.state is state
        return
    actions, target = expected or ((), state)
    assert machine.step(what, START) == actions
    assert machine.state is target


def test_timer_j_absorbs_repeats_for_64_t1() -> None:
    machine = build(Server)
    assert machine.next_deadline() is None
    machine.step(Input.SUCCESS, START)
    assert list(firings(machine)) == [(32.0, ())]
    assert machine.state is State.TERMINATED


def test_final_response_ends_at_once_on_reliable_transport() -> None:
    machine = build(Server, reliable=True)
    assert machine.step(Input.FAILURE, START) == (Do.SEND,)
    assert machine.state is State.TERMINATED
