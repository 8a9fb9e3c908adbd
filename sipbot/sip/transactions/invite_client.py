"""INVITE client transaction: RFC 3261 section 17.1.1 as amended by RFC 6026 section 7.2."""

from __future__ import annotations

from typing import ClassVar, Final

from sipbot.sip.transactions.machine import Do, Input, Machine, State, Table

_L, _P, _C, _A, _T = (
    State.CALLING,
    State.PROCEEDING,
    State.COMPLETED,
    State.ACCEPTED,
    State.TERMINATED,
)

_TABLE: Final[Table] = {
    (_L, Input.TIMER_A): ((Do.SEND,), _L),
    (_L, Input.TIMER_B): ((Do.TELL_TIMEOUT,), _T),
    (_L, Input.TRANSPORT_ERROR): ((Do.TELL_FAILURE,), _T),
    (_L, Input.PROVISIONAL): ((Do.TELL,), _P),
    (_L, Input.SUCCESS): ((Do.TELL,), _A),
    # "the client transaction MUST generate an ACK request ... The ACK MUST be sent to the same
    # address, port, and transport to which the original request was sent."
    (_L, Input.FAILURE): ((Do.SEND_ACK, Do.TELL), _C),
    (_P, Input.PROVISIONAL): ((Do.TELL,), _P),
    (_P, Input.SUCCESS): ((Do.TELL,), _A),
    (_P, Input.FAILURE): ((Do.SEND_ACK, Do.TELL), _C),
    # "Any retransmissions of the final response that are received while in the "Completed" state
    # MUST cause the ACK to be re-passed to the transport layer ... but the newly received
    # response MUST NOT be passed up to the TU."
    (_C, Input.FAILURE): ((Do.SEND_ACK,), _C),
    (_C, Input.TRANSPORT_ERROR): ((Do.TELL_FAILURE,), _T),
    (_C, Input.TIMER_D): ((), _T),
    # RFC 6026 7.2: every further 2xx, repeated or of another fork, goes up to the TU.
    (_A, Input.SUCCESS): ((Do.TELL,), _A),
    (_A, Input.TIMER_M): ((), _T),
}


class InviteClient(Machine):
    """RFC 6026 figure 2. The layer sends the request once when it makes the machine."""

    TABLE: ClassVar[Table] = _TABLE
    INITIAL: ClassVar[State] = State.CALLING
    SERVER: ClassVar[bool] = False
    __slots__ = ()

    def delays(self, state: State) -> dict[Input, float]:
        if state is State.CALLING:
            resend = {} if self.reliable else {Input.TIMER_A: self.timers.t1}
            return {**resend, Input.TIMER_B: self.timers.give_up}
        if state is State.COMPLETED:
            # D: "at least 32 seconds for unreliable transports, and zero for reliable".
            return {Input.TIMER_D: 0.0 if self.reliable else self.timers.give_up}
        if state is State.ACCEPTED:
            return {Input.TIMER_M: self.timers.give_up}
        return {}

    def next_interval(self, interval: float) -> float:
        # "When timer A fires ... it is reset with a value of 2*T1", doubling without an upper end.
        return 2 * interval
