"""Every message between the processes, one small value each.

Audio never travels here: it lies in the shared rings. ``call`` is the edge's number of a call,
``request`` the worker's number of a command that awaits its ``Reply``.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from sipbot.call.leg import EndReason, LegInfo
from sipbot.call.record import Stat
from sipbot.media.stream import StreamStats
from sipbot.ops.status import ProcessStatus, Status, StreamStatus
from sipbot.outbound.outcome import Outcome
from sipbot.runtime.dialling import DialOrder


class Message(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Base of all messages: a MessagePack array whose first item is the class name."""


# --- edge -> worker: calls and what happens to them -----------------------------------------------


class Offer(Message, frozen=True):
    """A new call, whose audio is in ring ``slot``. The worker runs ``agent`` for it."""

    call: int
    slot: int
    call_id: str
    agent: str
    rule: str
    info: LegInfo


class KeyPressed(Message, frozen=True):
    """See ``LegDtmf``."""

    call: int
    digit: str
    source: Literal["rtp", "info", "inband", "stream"]


class HeldMessage(Message, frozen=True):
    """The peer put the call on hold, or took it off."""

    call: int
    held: bool


class Over(Message, frozen=True):
    """The leg has ended; the worker answers with ``Released``."""

    call: int
    reason: EndReason
    detail: str
    codec: str
    stats: StreamStats


class Reply(Message, frozen=True):
    """The outcome of a command. ``error`` is empty when it could be done."""

    call: int
    request: int
    error: str = ""
    accepted: bool = True  # of a transfer
    detail: str = ""


class Dialled(Message, frozen=True):
    """How the attempt ``request`` of this worker went, see ``DialResult``."""

    request: int
    outcome: Outcome
    status: int
    detail: str
    call_id: str
    call_sid: str


class DialOver(Message, frozen=True):
    """The answered call of the attempt ``request`` is over, see ``DialEnd``."""

    request: int
    reason: str
    talk_s: float


class Orphan(Message, frozen=True):
    """A call that outlived its worker is over: who gets this writes its record.

    It ended ``ago_s`` seconds ago; the other times are seconds from its beginning.
    """

    call_id: str
    agent: str
    rule: str
    info: LegInfo
    reason: EndReason
    detail: str
    facts: dict[str, Stat]
    ago_s: float
    lasted_s: float
    rung_s: float | None
    answered_s: float | None


ToWorker: TypeAlias = Offer | KeyPressed | HeldMessage | Over | Reply | Dialled | DialOver | Orphan

# --- worker -> edge: commands and signs of life ---------------------------------------------------


class Hello(Message, frozen=True):
    """The worker is ready. ``apology`` is 16-bit PCM at 8 kHz for callers who lose their worker."""

    apology: bytes


class Beat(Message, frozen=True):
    """A sign of life; ``calls`` are those that the sender has, ``cpu_s`` its CPU time so far."""

    calls: int
    cpu_s: float = 0.0


class Closing(Message, frozen=True):
    """The worker wants no more calls and goes when its last one is over."""


class Released(Message, frozen=True):
    """The worker will not touch the rings of this call any more."""

    call: int


class Finished(Message, frozen=True):
    """The agent is done with this call and its record is written."""

    call: int


class Ring(Message, frozen=True):
    call: int


class Answer(Message, frozen=True):
    call: int
    request: int


class Reject(Message, frozen=True):
    call: int
    status: int
    reason: str


class HangUp(Message, frozen=True):
    call: int
    reason: EndReason


class Transfer(Message, frozen=True):
    call: int
    request: int
    target: str


class Press(Message, frozen=True):
    call: int
    request: int
    digits: str
    duration_ms: int
    gap_ms: int


class LoopBack(Message, frozen=True):
    call: int
    on: bool


class Dial(Message, frozen=True):
    """Call somebody. The call goes to any worker; this one hears how it went."""

    request: int
    order: DialOrder


class DialStop(Message, frozen=True):
    """Give the attempt ``request`` up, ringing or talking."""

    request: int


Command: TypeAlias = Ring | Answer | Reject | HangUp | Transfer | Press | LoopBack
ToEdge: TypeAlias = (
    Hello
    | Beat
    | Closing
    | Released
    | Finished
    | Ring
    | Answer
    | Reject
    | HangUp
    | Transfer
    | Press
    | LoopBack
    | Dial
    | DialStop
)

# --- supervisor -> edge ---------------------------------------------------------------------------


class Attach(Message, frozen=True):
    """A worker is there. Carries two descriptors: its socket and its eventfd."""

    worker: int


class Detach(Message, frozen=True):
    """No more calls for this worker; it goes when its last one is over."""

    worker: int


class Open(Message, frozen=True):
    """Begin to take calls once a worker said ``Hello``."""


class Settings(Message, frozen=True):
    """A new configuration, for new calls. Carries one descriptor: a file with it."""


class Drain(Message, frozen=True):
    """Take no more calls, let those that live finish for ``deadline_s`` seconds, then stop.

    For workers this is about their streams; their other calls are the edge's to end.
    """

    deadline_s: float


class Elsewhere(Message, frozen=True):
    """Calls by trunk that are not the receiver's; told once a second."""

    trunks: dict[str, int]


ToEdgeFromAbove: TypeAlias = Attach | Detach | Open | Settings | Drain | Elsewhere

# --- supervisor -> worker -------------------------------------------------------------------------


class Retire(Message, frozen=True):
    """Take no more calls, finish those that live, then go."""


class Fare(Message, frozen=True):
    """How all of sipbot fares, for the pages that workers show; told once a second.

    ``elsewhere`` are calls by trunk that are not the receiver's.
    """

    reasons: tuple[str, ...]
    status: Status | None
    processes: tuple[ProcessStatus, ...]
    elsewhere: dict[str, int]


ToWorkerFromAbove: TypeAlias = Retire | Drain | Fare

# --- edge and worker -> supervisor ----------------------------------------------------------------


class Opened(Message, frozen=True):
    """The edge takes calls at these listeners."""

    listeners: tuple[str, ...]


class Loaded(Message, frozen=True):
    """The worker has loaded its agents."""


class Failed(Message, frozen=True):
    """The sender cannot begin. ``problems`` as in ``ConfigError``, else ``text`` says why."""

    text: str
    problems: tuple[tuple[str, int, str, str, str], ...] = ()


class Adopted(Message, frozen=True):
    """The edge took the new settings over, or ``refusal`` says why not."""

    refusal: str = ""


class Report(Message, frozen=True):
    """How the edge fares, once a second, for metrics."""

    status: Status


class StreamReport(Message, frozen=True):
    """What a worker says of its streams, once a second."""

    status: StreamStatus


ToSupervisor: TypeAlias = Opened | Loaded | Failed | Adopted | Beat | Report | StreamReport
