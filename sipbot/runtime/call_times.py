"""How long calls take to be set up, and how long they last."""

from __future__ import annotations

from typing import Final, Protocol

from sipbot.legs.sip import LegState
from sipbot.ops.histogram import Histogram

SETUP_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
DURATION_S: Final = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0)


class TimedLeg(Protocol):
    """A leg that remembers when it entered its states."""

    def seconds(self, first: LegState, then: LegState) -> float | None: ...


class CallTimes:
    """Histograms over the legs of a process. ``setup`` ends with the answer, where ``duration``
    begins.

    Legs say nothing when they are answered; ``look`` finds those that were.
    """

    def __init__(self) -> None:
        self.setup, self.duration = Histogram(SETUP_S), Histogram(DURATION_S)
        self._unanswered: dict[TimedLeg, None] = {}

    def begin(self, leg: TimedLeg) -> None:
        self._unanswered[leg] = None

    def look(self) -> None:
        """Count those that were answered since the last look."""
        for leg in tuple(self._unanswered):
            self._observe_setup(leg)

    def end(self, leg: TimedLeg) -> None:
        self._observe_setup(leg)
        self._unanswered.pop(leg, None)
        lasted = leg.seconds(LegState.ANSWERED, LegState.ENDED)
        if lasted is not None:
            self.duration.observe(lasted)

    def _observe_setup(self, leg: TimedLeg) -> None:
        took = leg.seconds(LegState.NEW, LegState.ANSWERED)
        if took is not None and leg in self._unanswered:
            del self._unanswered[leg]
            self.setup.observe(took)
