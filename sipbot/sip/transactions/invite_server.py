"""INVITE server transaction: RFC 3261 section 17.2.1 as amended by RFC 6026 section 7.1.

The user agent sends 100 Trying, and repeats its own 2xx until the ACK (section 13.3.1.4).
"""

from __future__ import annotations

from typing import ClassVar, Final

from sipbot.sip.transactions.machine import Do, Input, Machine, State, Table

_P, _C, _F, _A, _T = (
    State.PROCEEDING,
    State.COMPLETED,
    State.CONFIRMED,
    State.ACCEPTED,
    State.TERMINATED,
)

_TABLE: Final[Table] = {
    # "If a request retransmission is received while in the "Proceeding" state, the most recent
    # provisional response that was received from the TU MUST be passed to the transport layer"
    (_P, Input.REQUEST): ((Do.SEND,), _P),
    (_P, Input.PROVISIONAL): ((Do.SEND,), _P),
    # RFC 6026 7.1: a 2xx moves to "Accepted", which absorbs repeats of the INVITE.
    (_P, Input.SUCCESS): ((Do.SEND,), _A),
    (_P, Input.FAILURE): ((Do.SEND,), _C),
    # RFC 6026 8.8: on a transport error the TU is told and the state stays.
    (_P, Input.TRANSPORT_ERROR): ((Do.TELL_FAILURE,), _P),
    (_C, Input.REQUEST): ((Do.SEND,), _C),
    (_C, Input.TIMER_G): ((Do.SEND,), _C),
    (_C, Input.ACK): ((), _F),
    # "If timer H fires while in the "Completed" state, it implies that the ACK was never
    # received." The TU is told, the transaction is destroyed.
    (_C, Input.TIMER_H): ((Do.TELL_TIMEOUT,), _T),
    (_C, Input.TRANSPORT_ERROR): ((Do.TELL_FAILURE,), _C),
    # "The purpose of the "Confirmed" state is to absorb any additional ACK messages".
    (_F, Input.ACK): ((), _F),
    (_F, Input.REQUEST): ((), _F),
    (_F, Input.TIMER_I): ((), _T),
    # RFC 6026 7.1: "Any retransmissions of the INVITE ... do not change state ... absorbed";
    # "any ACKs received ... MUST be passed directly to the TU".
    (_A, Input.REQUEST): ((), _A),
    (_A, Input.ACK): ((Do.TELL,), _A),
    (_A, Input.SUCCESS): ((Do.SEND,), _A),
    (_A, Input.TIMER_L): ((), _T),
    (_A, Input.TRANSPORT_ERROR): ((Do.TELL_FAILURE,), _A),
}


class InviteServer(Machine):
    """RFC 6026 figure 1."""

    TABLE: ClassVar[Table] = _TABLE
    INITIAL: ClassVar[State] = State.PROCEEDING
    SERVER: ClassVar[bool] = True
    __slots__ = ()

    def delays(self, state: State) -> dict[Input, float]:
        if state is State.COMPLETED:
            resend = {} if self.reliable else {Input.TIMER_G: self.timers.t1}
            return {**resend, Input.TIMER_H: self.timers.give_up}
        if state is State.CONFIRMED:
            return {Input.TIMER_I: 0.0 if self.reliable else self.timers.t4}
        if state is State.ACCEPTED:
            return {Input.TIMER_L: self.timers.give_up}
        return {}

    def next_interval(self, interval: float) -> float:
        # "timer G ... MIN(2*T1, T2)", doubling until T2.
        return min(2 * interval, self.timers.t2)
