"""Which of several providers to ask: those that failed of late rest for a while."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Generic, TypeVar

from sipbot.agent.providers.counts import Counts
from sipbot.clock import Clock
from sipbot.errors import ProviderError

FAILURES: Final = 3  # in a row, after which a provider rests; one that will not pass is enough
REST_S: Final = 30.0  # seconds of rest; then one use tries whether it works again

P = TypeVar("P")


class Circuit(Generic[P]):
    """One provider of a chain, closed (in use) or open (at rest)."""

    def __init__(self, name: str, provider: P, clock: Clock, rest_s: float = REST_S) -> None:
        self.name, self.provider = name, provider
        self._clock, self._rest_s = clock, rest_s
        self._failures = 0
        self._rests_until: float | None = None

    @property
    def resting(self) -> bool:
        """Whether it failed so often that others come first."""
        return self._rests_until is not None

    def allows(self) -> bool:
        """Whether to use it now. After its rest one use is allowed each ``rest_s``."""
        if self._rests_until is None:
            return True
        if self._clock.monotonic() < self._rests_until:
            return False
        self._rests_until = self._clock.monotonic() + self._rest_s
        return True

    def succeeded(self) -> None:
        self._failures, self._rests_until = 0, None

    def failed(self, error: ProviderError) -> None:
        self._failures += 1
        if self._failures >= FAILURES or not error.retry:
            self._rests_until = self._clock.monotonic() + self._rest_s


class Chain(Generic[P]):
    """Providers in the order of preference. ``kind`` is what metrics call them: ``llm`` …"""

    def __init__(
        self, kind: str, members: Sequence[tuple[str, P]], counts: Counts, clock: Clock
    ) -> None:
        if not members:
            raise ValueError("a chain needs a provider")
        self._kind, self._counts = kind, counts
        self.circuits = tuple(Circuit(name, provider, clock) for name, provider in members)

    def candidates(self, last: Circuit[P] | None = None) -> Iterator[Circuit[P]]:
        """Those in use, in order; then, when these failed too, those at rest.

        ``last`` goes to the end: it failed just now.
        """
        order = [one for one in self.circuits if one is not last]
        order += [last] if last is not None else []
        tried = []
        for circuit in order:
            if circuit.allows():
                tried.append(circuit)
                yield circuit
        yield from (circuit for circuit in order if circuit not in tried)

    def failed(self, circuit: Circuit[P], error: ProviderError) -> None:
        """Note that ``circuit`` failed and that the next one is asked."""
        circuit.failed(error)
        self._counts.count("provider_fallbacks", kind=self._kind, provider=circuit.name)
