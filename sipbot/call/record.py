"""What is kept of a call when it is over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

from sipbot.call.leg import Direction, EndReason

Stat: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One finished call. Times are seconds since 1970 UTC, None for what never happened.

    ``caller`` and ``callee`` are full numbers: redact them before they go to a log.
    """

    call_id: str
    protocol_id: str  # SIP Call-ID or stream id
    direction: Direction
    transport: str
    trunk: str
    peer: str
    caller: str
    callee: str
    agent: str
    rule: str  # which route chose the agent
    codec: str
    invited_at: float
    rung_at: float | None
    answered_at: float | None
    ended_at: float
    reason: EndReason
    detail: str = ""  # constant text, e.g. "max-duration"
    failure: str = ""  # type of the exception that ended the agent
    trunk_call_id: str = ""  # the trunk's own id of the call, e.g. Exotel's CallSid
    keys: int = 0  # how many the caller pressed
    dropped_events: int = 0  # events that the agent was too slow for
    stats: Mapping[str, Stat] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def setup_ms(self) -> int | None:
        """From the invitation to the answer."""
        return None if self.answered_at is None else _ms(self.answered_at - self.invited_at)

    @property
    def talk_ms(self) -> int:
        """From the answer to the end; 0 when it was never answered."""
        return 0 if self.answered_at is None else _ms(self.ended_at - self.answered_at)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
