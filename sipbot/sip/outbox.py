"""Where all parts of the core put what must be done: effects in order, and alarms."""

from __future__ import annotations

from sipbot.sip.effects import Effect, Effects
from sipbot.sip.timing import Alarms


class Outbox:
    """The effects of the input being handled, and the alarms of everything that waits."""

    def __init__(self) -> None:
        self.alarms: Alarms[str] = Alarms()
        self._effects: list[Effect] = []

    def effect(self, effect: Effect) -> None:
        """Add one effect."""
        self._effects.append(effect)

    def alarm(self, key: str, at: float | None) -> None:
        """Arm or disarm (None) the alarm of ``key``; ``at`` in seconds."""
        self.alarms.set(key, at)

    def drain(self) -> Effects:
        """All effects since the last call."""
        drained = tuple(self._effects)
        self._effects.clear()
        return drained
