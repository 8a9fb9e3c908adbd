"""Settings of one campaign: who talks, through which trunk, when, how often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from sipbot.outbound.retries import RetryPolicy
from sipbot.outbound.windows import Schedule, zone_named

Via: TypeAlias = Literal["sip", "api"]

DEFAULT_ZONE: Final = "Asia/Kolkata"
DEFAULT_RING_S: Final = 45.0  # seconds; Exotel's example of max_ringing_duration
MAX_RING_S: Final = 300.0
MAX_CALLS: Final = 20_000
MAX_PER_MINUTE: Final = 100_000


def _utc() -> Schedule:
    return Schedule((), zone_named("UTC"))


@dataclass(frozen=True, slots=True)
class Plan:
    """How a campaign calls. ``max_calls`` and ``per_minute`` are bounds of its own, below those of
    its trunk; None for none. Raises ValueError."""

    agent: str
    trunk: str
    via: Via = "sip"
    caller_id: str = ""  # empty: that of the trunk
    ring_s: float = DEFAULT_RING_S
    schedule: Schedule = field(default_factory=_utc)
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    max_calls: int | None = None
    per_minute: int | None = None

    def __post_init__(self) -> None:
        if not self.agent or not self.trunk:
            raise ValueError("a campaign needs an agent and a trunk")
        if self.via not in ("sip", "api"):
            raise ValueError("via must be sip or api")
        if not 1 <= self.ring_s <= MAX_RING_S:
            raise ValueError(f"ringing takes between 1 and {MAX_RING_S:.0f} seconds")
        for name, value, most in (
            ("max_calls", self.max_calls, MAX_CALLS),
            ("per_minute", self.per_minute, MAX_PER_MINUTE),
        ):
            if value is not None and not 1 <= value <= most:
                raise ValueError(f"{name} must be between 1 and {most}")

    @classmethod
    def parse(cls, plain: Mapping[str, Any]) -> Plan:
        """From what ``plain`` gave, or a part of it. Raises ValueError."""
        known = {
            "agent",
            "trunk",
            "via",
            "caller_id",
            "ring_s",
            "zone",
            "windows",
            "attempts",
            "retries",
            "max_calls",
            "per_minute",
        }
        unknown = sorted(set(plain) - known)
        if unknown:
            raise ValueError(f"unknown: {', '.join(unknown)}")
        return cls(
            agent=str(plain.get("agent", "")),
            trunk=str(plain.get("trunk", "")),
            via=plain.get("via", "sip"),
            caller_id=str(plain.get("caller_id", "")),
            ring_s=float(plain.get("ring_s", DEFAULT_RING_S)),
            schedule=Schedule.parse(
                list(plain.get("windows", ())), str(plain.get("zone", DEFAULT_ZONE))
            ),
            retries=RetryPolicy.parse(int(plain.get("attempts", 1)), plain.get("retries", {})),
            max_calls=_whole(plain.get("max_calls")),
            per_minute=_whole(plain.get("per_minute")),
        )

    def plain(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "agent": self.agent,
            "trunk": self.trunk,
            "via": self.via,
            "caller_id": self.caller_id,
            "ring_s": self.ring_s,
            "zone": self.schedule.zone.key,
            "windows": [str(one) for one in self.schedule.windows],
            "attempts": self.retries.max_attempts,
            "retries": self.retries.plain(),
            "max_calls": self.max_calls,
            "per_minute": self.per_minute,
        }


def _whole(value: object) -> int | None:
    return None if value is None else int(str(value))
