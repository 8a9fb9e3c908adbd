"""Whether and when a number is tried again, by what the last attempt came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from sipbot.outbound.outcome import Outcome

MAX_ATTEMPTS: Final = 20  # that a policy may ask for
MAX_DELAY_S: Final = 30 * 86_400.0  # seconds
HELD_BACK_S: Final = 5.0  # seconds until a call that found no room is tried again
# What may be tried again. UNKNOWN is among them for those who say so: somebody may have been
# called already, and nobody knows.
RETRIED: Final = (
    Outcome.BUSY,
    Outcome.NO_ANSWER,
    Outcome.DECLINED,
    Outcome.REFUSED,
    Outcome.FAILED,
    Outcome.UNKNOWN,
)
_NAMES: Final = {one.value: one for one in RETRIED}


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """``delays`` gives, by outcome, seconds before the second, third ... attempt after it.

    The last delay of an outcome serves all further ones. An outcome without delays is final;
    ``max_attempts`` counts the first attempt too.
    """

    max_attempts: int = 1
    delays: Mapping[Outcome, tuple[float, ...]] = field(
        default_factory=lambda: MappingProxyType({})
    )

    def __post_init__(self) -> None:
        if not 1 <= self.max_attempts <= MAX_ATTEMPTS:
            raise ValueError(f"attempts must be between 1 and {MAX_ATTEMPTS}")
        for outcome, delays in self.delays.items():
            if outcome not in RETRIED or not delays:
                raise ValueError(f"retries are possible after {', '.join(_NAMES)}")
            if not all(0 < one <= MAX_DELAY_S for one in delays):
                raise ValueError("delays are seconds, more than 0 and up to 30 days")

    @classmethod
    def parse(cls, max_attempts: int, delays: Mapping[str, object]) -> RetryPolicy:
        """From ``{"busy": [300, 900]}``. Raises ValueError."""
        found: dict[Outcome, tuple[float, ...]] = {}
        for name, values in delays.items():
            if name not in _NAMES:
                raise ValueError(f"retries are possible after {', '.join(_NAMES)}")
            if not isinstance(values, list | tuple):
                raise ValueError("delays are a list of seconds")
            try:
                found[_NAMES[name]] = tuple(float(one) for one in values)
            except (TypeError, ValueError):
                raise ValueError("delays are a list of seconds") from None
        return cls(max_attempts, found)

    def next_due(self, outcome: Outcome, attempts: int, now: float) -> float | None:
        """When to try again after attempt number ``attempts`` (from 1); None for never."""
        if outcome is Outcome.HELD_BACK:
            return now + HELD_BACK_S
        delays = self.delays.get(outcome)
        if not delays or attempts >= self.max_attempts:
            return None
        return now + delays[min(attempts, len(delays)) - 1]

    def plain(self) -> dict[str, list[float]]:
        """``delays`` as ``parse`` takes them."""
        return {outcome.value: list(delays) for outcome, delays in self.delays.items()}


ONCE: Final = RetryPolicy()
