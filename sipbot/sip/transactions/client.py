"""Non-INVITE client transaction: RFC 3261 section 17.1.2."""

from __future__ import annotations

from typing import ClassVar, Final

from sipbot.sip.transactions.machine import Do, Input, Machine, State, Table

_Y, _P, _C, _T = State.TRYING, State.PROCEEDING, State.COMPLETED, State.TERMINATED

_TABLE: Final[Table] = {
    (_Y, Input.TIMER_E): ((Do.SEND,), _Y),
    (_Y, Input.TIMER_F): ((Do.TELL_TIMEOUT,), _T),
    (_Y, Input.TRANSPORT_ERROR): ((Do.TELL_FAILURE,), _T),
    (_Y, Input.PROVISIONAL): ((Do.TELL,), _P),
    (_Y, Input.SUCCESS): ((Do.TELL,), _C),
    (_Y, Input.FAILURE): ((Do.TELL,), _C),
    (_P, Input.TIMER_E): ((Do.SEND,), _P),
    (_P, Input.TIMER_F): ((Do.TELL_TIMEOUT,), _T),
    (_P, Input.TRANSPORT_ERROR): ((Do.TELL_FAILURE,), _T),
    (_P, Input.PROVISIONAL): ((Do.TELL,), _P),
    (_P, Input.SUCCESS): ((Do.TELL,), _C),
    (_P, Input.FAILURE): ((Do.TELL,), _C),
    # "The "Completed" state exists to buffer any additional response retransmissions".
    (_C, Input.PROVISIONAL): ((), _C),
    (_C, Input.SUCCESS): ((), _C),
    (_C, Input.FAILURE): ((), _C),
    (_C, Input.TIMER_K): ((), _T),
}


class Client(Machine):
    """RFC 3261 figure 6. The layer sends the request once when it makes the machine."""

    TABLE: ClassVar[Table] = _TABLE
    INITIAL: ClassVar[State] = State.TRYING
    SERVER: ClassVar[bool] = False
    __slots__ = ()

    def delays(self, state: State) -> dict[Input, float]:
        if state is State.TRYING:
            resend = {} if self.reliable else {Input.TIMER_E: self.timers.t1}
            return {**resend, Input.TIMER_F: self.timers.give_up}
        if state is State.COMPLETED:
            return {Input.TIMER_K: 0.0 if self.reliable else self.timers.t4}
        return {}

    def keeps(self, state: State) -> frozenset[Input]:
        # A provisional response stops neither E nor F (section 17.1.2.2).
        running = state is State.PROCEEDING
        return frozenset({Input.TIMER_E, Input.TIMER_F}) if running else frozenset()

    def next_interval(self, interval: float) -> float:
        # "If timer E fires [in "Proceeding"], the request MUST be passed to the transport layer
        # for retransmission, and timer E MUST be reset with a value of T2 seconds."
        if self.state is State.PROCEEDING:
            return self.timers.t2
        return min(2 * interval, self.timers.t2)
