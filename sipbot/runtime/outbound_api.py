"""Calls that a trunk makes for us: the port, and what its failures mean.

Nothing here imports the client: most processes never need it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import quote, urlsplit, urlunsplit

from sipbot.exotel.rest.errors import (
    AuthenticationFailed,
    ExotelError,
    NotAllowed,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    ServerFault,
    UnreadableAnswer,
)
from sipbot.outbound.job import Job
from sipbot.outbound.outcome import Outcome

if TYPE_CHECKING:
    from sipbot.exotel.rest.values import CallRecord

JOB_PATH: Final = "job"  # in the path of a stream's URL, before the id of the job


class MakesCalls(Protocol):
    """A trunk's own way to make calls for us."""

    @property
    def match_s(self) -> float:
        """Seconds after the start in which an answered call comes in to us."""
        ...

    async def start(self, job: Job) -> str:
        """Have the number rung; returns the trunk's id of the call. Raises ExotelError."""
        ...

    async def look(self, call_sid: str) -> CallRecord:
        """How that call stands. Raises ExotelError."""
        ...

    async def close(self) -> None: ...


def stream_url(base: str, job: Job) -> str:
    """Where Exotel connects the answered call of ``job``: its agent and its id in the path."""
    parts = urlsplit(base)
    path = f"{parts.path.rstrip('/')}/{quote(job.agent, safe='')}/{JOB_PATH}/{job.id}"
    return urlunsplit(parts._replace(path=path))


def job_of_path(path: str) -> str:
    """The id in what ``stream_url`` made, given the path behind the agent; empty when none is."""
    name, _, rest = path.strip("/").partition("/")
    return rest.partition("/")[0] if name == JOB_PATH else ""


def failed(error: ExotelError) -> Outcome:
    """What it means for an attempt that the call could not be started."""
    match error:
        case OutcomeUnknown() | UnreadableAnswer():
            return Outcome.UNKNOWN  # a telephone may be ringing
        case RateLimited():
            return Outcome.HELD_BACK
        case AuthenticationFailed() | NotAllowed():
            return Outcome.REFUSED
        case NotSent() | ServerFault():
            return Outcome.FAILED
        case _:
            return Outcome.REFUSED
