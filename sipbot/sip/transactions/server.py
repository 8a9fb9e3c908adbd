"""Non-INVITE server transaction: RFC 3261 section 17.2.2, transport errors per RFC 6026."""

from __future__ import annotations

from typing import ClassVar, Final

from sipbot.sip.transactions.machine import Do, Input, Machine, State, Table

_Y, _P, _C, _T = State.TRYING, State.PROCEEDING, State.COMPLETED, State.TERMINATED

_TABLE: Final[Table] = {
    # "Once in the "Trying" state, any further request retransmissions are discarded."
    (_Y, Input.REQUEST): ((), _Y),
    (_Y, Input.PROVISIONAL): ((Do.SEND,), _P),
    (_Y, Input.SUCCESS): ((Do.SEND,), _C),
    (_Y, Input.FAILURE): ((Do.SEND,), _C),
    (_Y, Input.TRANSPORT_ERROR): ((Do.TELL_FAILURE,), _Y),
    (_P, Input.REQUEST): ((Do.SEND,), _P),
    (_P, Input.PROVISIONAL): ((Do.SEND,), _P),
    (_P, Input.SUCCESS): ((Do.SEND,), _C),
    (_P, Input.FAILURE): ((Do.SEND,), _C),
    (_P, Input.TRANSPORT_ERROR): ((Do.TELL_FAILURE,), _P),
    # "While in the "Completed" state, the server transaction MUST pass the final response to
    # the transport layer for retransmission whenever a retransmission of the request is received."
    (_C, Input.REQUEST): ((Do.SEND,), _C),
    # "Any other final responses passed by the TU to the server transaction MUST be discarded".
    (_C, Input.SUCCESS): ((), _C),
    (_C, Input.FAILURE): ((), _C),
    (_C, Input.TIMER_J): ((), _T),
    (_C, Input.TRANSPORT_ERROR): ((Do.TELL_FAILURE,), _C),
}


class Server(Machine):
    """RFC 3261 figure 8."""

    TABLE: ClassVar[Table] = _TABLE
    INITIAL: ClassVar[State] = State.TRYING
    SERVER: ClassVar[bool] = True
    __slots__ = ()

    def delays(self, state: State) -> dict[Input, float]:
        if state is State.COMPLETED:
            return {Input.TIMER_J: 0.0 if self.reliable else self.timers.give_up}
        return {}
