from __future__ import annotations

import pytest

from sipbot.errors import LocalProtocolError
from sipbot.sip.transactions.invite_server import InviteServer
from sipbot.sip.transactions.machine import Do, Input, State
from tests.sip.machines import RESPONSES, START, Expected, all_pairs, build, firings, put_into

PATH = {
    State.PROCEEDING: [],
    State.COMPLETED: [Input.FAILURE],
    State.CONFIRMED: [Input.FAILURE, Input.ACK],
    State.ACCEPTED: [Input.SUCCESS],
    State.TERMINATED: [Input.SUCCESS, Input.TIMER_L],
}
# RFC 3261 figure 7 as changed by RFC 6026 figure 1; what is not here changes nothing.
EXPECTED: Expected = {
    (State.PROCEEDING, Input.REQUEST): ((Do.SEND,), State.PROCEEDING),
    (State.PROCEEDING, Input.PROVISIONAL): ((Do.SEND,), State.PROCEEDING),
    (State.PROCEEDING, Input.SUCCESS): ((Do.SEND,), State.ACCEPTED),
    (State.PROCEEDING, Input.FAILURE): ((Do.SEND,), State.COMPLETED),
    (State.PROCEEDING, Input.TRANSPORT_ERROR): ((Do.TELL_FAILURE,), State.PROCEEDING),
    (State.COMPLETED, Input.REQUEST): ((Do.SEND,), State.COMPLETED),
    (State.COMPLETED, Input.TIMER_G): ((Do.SEND,), State.COMPLETED),
    (State.COMPLETED, Input.TIMER_H): ((Do.TELL_TIMEOUT,), State.TERMINATED),
    (State.COMPLETED, Input.ACK): ((), State.CONFIRMED),
    (State.COMPLETED, Input.TRANSPORT_ERROR): ((Do.TELL_FAILURE,), State.COMPLETED),
    (State.CONFIRMED, Input.TIMER_I): ((), State.TERMINATED),
    (State.ACCEPTED, Input.ACK): ((Do.TELL,), State.ACCEPTED),
    (State.ACCEPTED, Input.SUCCESS): ((Do.SEND,), State.ACCEPTED),
    (State.ACCEPTED, Input.TIMER_L): ((), State.TERMINATED),
    (State.ACCEPTED, Input.TRANSPORT_ERROR): ((Do.TELL_FAILURE,), State.ACCEPTED),
}


@pytest.mark.parametrize(("state", "what"), all_pairs(PATH))
def test_every_pair(state: State, what: Input) -> None:
    machine = put_into(InviteServer, state, PATH)
    expected = EXPECTED.get((state, what))
    if expected is None and what in RESPONSES:
        with pytest.raises(LocalProtocolError):
            machine.step(what, START)
        assert machine.state is state
        return
    actions, target = expected or ((), state)
    assert machine.step(what, START) == actions
    assert machine.state is target


def test_timer_g_backs_off_until_h() -> None:
    machine = build(InviteServer)
    machine.step(Input.FAILURE, START)
    fired = list(firings(machine))
    resends = [at for at, actions in fired if actions == (Do.SEND,)]
    assert resends == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert fired[-1] == (32.0, (Do.TELL_TIMEOUT,))
    assert machine.state is State.TERMINATED


def test_reliable_transport_has_no_timer_g() -> None:
    machine = build(InviteServer, reliable=True)
    machine.step(Input.FAILURE, START)
    assert list(firings(machine)) == [(32.0, (Do.TELL_TIMEOUT,))]


def test_ack_stops_resending_and_i_ends() -> None:
    machine = build(InviteServer)
    machine.step(Input.FAILURE, START)
    machine.step(Input.ACK, START)
    assert list(firings(machine)) == [(5.0, ())]
    assert machine.state is State.TERMINATED


def test_ack_ends_at_once_on_reliable_transport() -> None:
    machine = build(InviteServer, reliable=True)
    machine.step(Input.FAILURE, START)
    machine.step(Input.ACK, START)
    assert machine.state is State.TERMINATED
    assert machine.next_deadline() is None


@pytest.mark.parametrize("reliable", [False, True])
def test_timer_l_keeps_accepted_for_64_t1(reliable: bool) -> None:
    machine = build(InviteServer, reliable=reliable)
    machine.step(Input.SUCCESS, START)
    assert list(firings(machine)) == [(32.0, ())]


def test_a_stalled_process_does_not_resend_in_a_burst() -> None:
    machine = build(InviteServer)
    machine.step(Input.FAILURE, START)
    assert machine.handle_timer(START + 10.0) == (Do.SEND,)
    assert machine.handle_timer(START + 10.0) == ()
    assert machine.next_deadline() == START + 11.0
