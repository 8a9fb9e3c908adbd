"""What the four transaction machines share: states, inputs, outputs and the stepping engine."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import ClassVar, TypeAlias

from sipbot.errors import LocalProtocolError
from sipbot.sip.timing import Timers


class State(Enum):
    """States of RFC 3261 figures 5 to 8 and RFC 6026 figures 1 and 2."""

    CALLING = "calling"
    TRYING = "trying"
    PROCEEDING = "proceeding"
    COMPLETED = "completed"
    CONFIRMED = "confirmed"
    ACCEPTED = "accepted"
    TERMINATED = "terminated"


class Input(Enum):
    """What can happen to a transaction. Responses are sent (server) or received (client)."""

    REQUEST = "request"  # server: the request again
    ACK = "ack"  # INVITE server
    PROVISIONAL = "1xx"
    SUCCESS = "2xx"
    FAILURE = "3xx-6xx"
    TRANSPORT_ERROR = "transport error"
    TIMER_A = "A"
    TIMER_B = "B"
    TIMER_D = "D"
    TIMER_E = "E"
    TIMER_F = "F"
    TIMER_G = "G"
    TIMER_H = "H"
    TIMER_I = "I"
    TIMER_J = "J"
    TIMER_K = "K"
    TIMER_L = "L"
    TIMER_M = "M"


class Do(Enum):
    """What the layer must do after a step, in the order of the row."""

    SEND = "send"  # (again) the latest response, or the request
    SEND_ACK = "send ack"  # INVITE client: ACK for a non-2xx
    TELL = "tell"  # hand the message to the transaction user
    TELL_TIMEOUT = "timeout"
    TELL_FAILURE = "transport failure"


Row: TypeAlias = tuple[tuple[Do, ...], State]
Table: TypeAlias = Mapping[tuple[State, Input], Row]

_RESPONSES = frozenset({Input.PROVISIONAL, Input.SUCCESS, Input.FAILURE})


def input_of_status(status: int) -> Input:
    """The input that a response with this status is."""
    if status < 200:
        return Input.PROVISIONAL
    return Input.SUCCESS if status < 300 else Input.FAILURE


class Machine:
    """One transaction's state and timers. Subclasses give the table and the timers.

    A pair that the table lacks is ignored when the network or a timer caused it, and raises
    ``LocalProtocolError`` when our own user agent did (server machines: sending a response).
    """

    TABLE: ClassVar[Table]
    INITIAL: ClassVar[State]
    SERVER: ClassVar[bool]
    __slots__ = ("_deadlines", "_interval", "reliable", "state", "timers")

    def __init__(self, timers: Timers, *, reliable: bool, now: float) -> None:
        self.timers = timers
        self.reliable = reliable
        self._deadlines: dict[Input, float] = {}
        self._interval = timers.t1  # seconds, current spacing of the repeating timer
        self.state = self.INITIAL
        self._enter(self.INITIAL, now)

    def step(self, what: Input, now: float) -> tuple[Do, ...]:
        """Take one input at ``now``; returns what must be done, in order."""
        row = self.TABLE.get((self.state, what))
        if row is None:
            if self.SERVER and what in _RESPONSES:
                raise LocalProtocolError(f"cannot send {what.value} while {self.state.value}")
            return ()
        actions, target = row
        if target is not self.state:
            self._enter(target, now)
        return actions

    def next_deadline(self) -> float | None:
        """When the next timer fires (seconds)."""
        return min(self._deadlines.values(), default=None)

    def handle_timer(self, now: float) -> tuple[Do, ...]:
        """Fire the one timer that is due first, if any is due at ``now``."""
        due = min(self._deadlines, key=self._deadlines.__getitem__, default=None)
        if due is None or self._deadlines[due] > now:
            return ()
        fired_at = self._deadlines.pop(due)
        before = self.state
        actions = self.step(due, now)
        if self.state is before:
            self._rearm(due, fired_at, now)
        return actions

    def delays(self, state: State) -> dict[Input, float]:
        """Timers to start on entering ``state``: delay in seconds."""
        return {}

    def keeps(self, state: State) -> frozenset[Input]:
        """Timers that go on running when ``state`` is entered."""
        return frozenset()

    def next_interval(self, interval: float) -> float:
        """Seconds until a repeating timer fires again, after it waited ``interval``."""
        return interval

    def _rearm(self, timer: Input, fired_at: float, now: float) -> None:
        self._interval = self.next_interval(self._interval)
        at = fired_at + self._interval
        # After a stall of the whole process the missed repeats are not sent in a burst.
        self._deadlines[timer] = at if at > now else now + self._interval

    def _enter(self, state: State, now: float) -> None:
        kept = self.keeps(state)
        deadlines = {timer: at for timer, at in self._deadlines.items() if timer in kept}
        self.state = state
        for timer, delay in self.delays(state).items():
            deadlines[timer] = now + delay
        self._deadlines = deadlines
        # A timer of 0 s (RFC 3261: I, J, D and K on reliable transports) fires here and now.
        if any(delay <= 0 for delay in self.delays(state).values()):
            self._deadlines = {}
            self.state = State.TERMINATED
