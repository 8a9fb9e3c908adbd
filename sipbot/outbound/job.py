"""One number to be called: its states, and what follows from each outcome.

::

    waiting -> claimed -> dialling -> talking -> done
       ^          |          |  (a retry)
       +----------+----------+

*Claimed* is taken by a process that has sent nothing yet: when that process dies the job waits
again. From *dialling* on somebody may have been called: a job found there without an owner is
never dialled again blindly, its outcome is ``unknown``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Final

from sipbot.outbound.outcome import Outcome
from sipbot.outbound.plan import DEFAULT_RING_S, Via
from sipbot.outbound.retries import ONCE, RetryPolicy

MAX_PARAMETERS: Final = 64
MAX_PARAMETER: Final = 1_000  # characters of a name or a value
MAX_TALLY: Final = 10_000_000


class JobState(Enum):
    WAITING = "waiting"
    CLAIMED = "claimed"
    DIALLING = "dialling"
    TALKING = "talking"
    DONE = "done"


ACTIVE: Final = (JobState.CLAIMED, JobState.DIALLING, JobState.TALKING)


@dataclass(frozen=True, slots=True)
class NewJob:
    """A number that is to be called. ``number`` is canonical; ``line`` is its line in a file.

    Times are seconds since 1970 UTC; ``expires_at`` is when it is no use any more. Raises
    ValueError.
    """

    number: str
    agent: str
    trunk: str
    via: Via = "sip"
    parameters: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    campaign: str | None = None
    line: int = 0
    caller_id: str = ""
    ring_s: float = DEFAULT_RING_S
    due_at: float = 0.0
    expires_at: float | None = None

    def __post_init__(self) -> None:
        check_parameters(self.parameters)


def check_parameters(parameters: Mapping[str, str]) -> None:
    """Raises ValueError when there are too many, or one is too long."""
    if len(parameters) > MAX_PARAMETERS:
        raise ValueError(f"at most {MAX_PARAMETERS} parameters")
    if any(len(name) + len(value) > MAX_PARAMETER for name, value in parameters.items()):
        raise ValueError(f"a parameter and its name have at most {MAX_PARAMETER} characters")


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it is kept. ``attempts`` counts those that were begun, the current one included."""

    id: str
    number: str = field(repr=False)
    agent: str
    trunk: str
    via: Via
    parameters: Mapping[str, str] = field(repr=False)
    campaign: str | None
    line: int
    caller_id: str
    ring_s: float
    state: JobState
    attempts: int
    due_at: float
    expires_at: float | None
    created_at: float
    outcome: Outcome | None = None
    status: int = 0  # final SIP status of the last attempt
    detail: str = ""  # constant text, or the peer's reason phrase
    call_id: str = ""
    call_sid: str = ""
    owner: str = ""
    lease_until: float | None = None
    stop_wanted: bool = False
    answered_at: float | None = None
    ended_at: float | None = None
    talk_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Result:
    """How one attempt went."""

    outcome: Outcome
    status: int = 0
    detail: str = ""
    call_id: str = ""
    call_sid: str = ""
    answered_at: float | None = None
    talk_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Next:
    """What becomes of a job: done, or waiting until ``due_at``. ``counts``: it was an attempt."""

    state: JobState
    due_at: float | None
    counts: bool = True


def after(job: Job, result: Result, policy: RetryPolicy, now: float) -> Next:
    """What follows from ``result``. Somebody who was reached is never called again."""
    held_back = result.outcome is Outcome.HELD_BACK
    due = None if job.stop_wanted else policy.next_due(result.outcome, job.attempts, now)
    if due is None or (job.expires_at is not None and due > job.expires_at):
        return Next(JobState.DONE, None, counts=not held_back)
    return Next(JobState.WAITING, due, counts=not held_back)


def abandoned(job: Job, policy: RetryPolicy = ONCE, *, now: float) -> tuple[Result, Next]:
    """What becomes of an active job whose owner gave no sign of life for too long."""
    if job.state is JobState.CLAIMED:
        return Result(Outcome.HELD_BACK, detail="owner-lost"), Next(JobState.WAITING, now, False)
    if job.state is JobState.TALKING:
        result = Result(
            Outcome.ANSWERED, job.status, "owner-lost", answered_at=job.answered_at, talk_s=0.0
        )
        return result, Next(JobState.DONE, None)
    result = Result(Outcome.UNKNOWN, detail="owner-lost")
    return result, after(job, result, policy, now)
