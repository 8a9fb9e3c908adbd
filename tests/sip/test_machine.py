from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipbot.errors import LocalProtocolError
from sipbot.sip.transactions.client import Client
from sipbot.sip.transactions.invite_client import InviteClient
from sipbot.sip.transactions.invite_server import InviteServer
from sipbot.sip.transactions.machine import Input, Machine, State, input_of_status
from sipbot.sip.transactions.server import Server
from tests.sip.machines import START, build

KINDS: list[type[Machine]] = [InviteServer, Server, InviteClient, Client]
LAST = {
    InviteServer: Input.FAILURE,
    Server: Input.FAILURE,
    InviteClient: Input.FAILURE,
    Client: Input.FAILURE,
}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (100, Input.PROVISIONAL),
        (199, Input.PROVISIONAL),
        (200, Input.SUCCESS),
        (299, Input.SUCCESS),
        (300, Input.FAILURE),
        (699, Input.FAILURE),
    ],
)
def test_class_of_a_status(status: int, expected: Input) -> None:
    assert input_of_status(status) is expected


@pytest.mark.parametrize("kind", KINDS)
@given(
    inputs=st.lists(st.tuples(st.sampled_from(Input), st.floats(0.0, 40.0)), max_size=20),
    reliable=st.booleans(),
)
def test_any_order_of_inputs_terminates(
    kind: type[Machine], inputs: list[tuple[Input, float]], reliable: bool
) -> None:
    machine = build(kind, reliable=reliable)
    now = START
    for what, delay in inputs:
        now += delay
        machine.handle_timer(now)
        try:
            machine.step(what, now)
        except LocalProtocolError:
            assert kind.SERVER
    # Our user agent always gives a final response, a peer that is silent times out.
    if machine.state in (State.PROCEEDING, State.TRYING, State.CALLING):
        machine.step(LAST[kind], now)
    for _ in range(100):
        at = machine.next_deadline()
        if at is None:
            break
        machine.handle_timer(max(now, at))
    assert machine.state is State.TERMINATED
