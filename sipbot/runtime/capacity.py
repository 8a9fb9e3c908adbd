"""How many calls there may be: in all, and by trunk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping


class Capacity:
    """Counts legs against their limits: those of this process, and what others were said to have.

    ``per_trunk`` names the limit of each trunk that has one.
    """

    def __init__(self, max_calls: int, per_trunk: Mapping[str, int]) -> None:
        self._max_calls, self._per_trunk = max_calls, per_trunk
        self._trunks: Counter[str] = Counter()
        self.elsewhere: Mapping[str, int] = {}  # calls of other processes by trunk, as told last

    def adopt(self, max_calls: int, per_trunk: Mapping[str, int]) -> None:
        """Take other limits; calls that are there stay, also above them."""
        self._max_calls, self._per_trunk = max_calls, per_trunk

    @property
    def calls(self) -> int:
        """Calls of this process."""
        return self._trunks.total()

    @property
    def by_trunk(self) -> Mapping[str, int]:
        """The same by trunk."""
        return dict(self._trunks)

    @property
    def max_calls(self) -> int:
        return self._max_calls

    @property
    def full(self) -> bool:
        """Whether nobody can have one more call."""
        return self.calls + sum(self.elsewhere.values()) >= self._max_calls

    def refusal(self, trunk: str) -> str | None:
        """Rule that forbids one more call by ``trunk`` now, or None."""
        if self.full:
            return "max-calls"
        limit = self._per_trunk.get(trunk)
        calls = self._trunks[trunk] + self.elsewhere.get(trunk, 0)
        if limit is not None and calls >= limit:
            return "max-calls-per-trunk"
        return None

    def add(self, trunk: str) -> None:
        self._trunks[trunk] += 1

    def remove(self, trunk: str) -> None:
        self._trunks[trunk] -= 1
        if not self._trunks[trunk]:
            del self._trunks[trunk]
