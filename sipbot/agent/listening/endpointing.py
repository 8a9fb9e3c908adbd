"""When somebody begins to speak, pauses, goes on, and is done. No clock is here: times come in.

::

    QUIET ──loud──► ONSET ──sure──► SPEAKING ──still──► PAUSED ──hold is over──► QUIET
      ▲                │               ▲                  │
      └─────still──────┘               └────── sure ──────┘

All times are seconds on the clock of the caller of these methods.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, TypeAlias

from sipbot.agent.listening.holds import HoldRule, TextHolds
from sipbot.agent.listening.silero import WINDOW_MS

WINDOW_S: Final = WINDOW_MS / 1000
RECENT: Final = 3  # windows that an onset is judged by
NEEDED: Final = 2  # loud windows among them that make speech
CERTAIN: Final = 0.92  # one window of this probability, well above the noise, is enough
CERTAIN_DB: Final = 10.0  # what "well above" means


class Phase(Enum):
    QUIET = auto()
    ONSET = auto()
    SPEAKING = auto()
    PAUSED = auto()


class Sign(Enum):
    """What a window, or the passing of time, means."""

    LOUD = auto()  # speech, perhaps
    SURE = auto()  # speech
    STILL = auto()  # no speech for long enough
    OVER = auto()  # the hold has passed


TRANSITIONS: Final[dict[tuple[Phase, Sign], Phase]] = {
    (Phase.QUIET, Sign.LOUD): Phase.ONSET,
    (Phase.QUIET, Sign.SURE): Phase.SPEAKING,
    (Phase.ONSET, Sign.SURE): Phase.SPEAKING,
    (Phase.ONSET, Sign.STILL): Phase.QUIET,
    (Phase.SPEAKING, Sign.STILL): Phase.PAUSED,
    (Phase.PAUSED, Sign.SURE): Phase.SPEAKING,
    (Phase.PAUSED, Sign.OVER): Phase.QUIET,
}  # a pair that is missing changes nothing


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Somebody speaks since ``at``."""

    at: float


@dataclass(frozen=True, slots=True)
class SpeechPaused:
    """They stopped at ``at``, after ``speech_ms``. They may go on."""

    at: float
    speech_ms: float


@dataclass(frozen=True, slots=True)
class SpeechResumed:
    """They went on at ``at``, before the hold was over."""

    at: float


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """They stopped at ``at``, and the hold of ``hold_ms`` is over."""

    at: float
    hold_ms: float


SpeechEvent: TypeAlias = SpeechStarted | SpeechPaused | SpeechResumed | TurnEnded


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What counts as speech.

    Where the line is noisy, more is asked: the probability rises by ``noisy_extra`` from
    ``noisy_dbfs`` on.
    """

    start: float = 0.5  # probability
    go_on: float = 0.35  # probability once somebody speaks
    above_noise_db: float = 5.0  # level over the line's noise
    pause_ms: float = 96.0  # milliseconds without speech that make a pause
    noisy_dbfs: float = -42.0
    noisy_extra: float = 0.15


class Endpointer:
    """One caller's speech. ``text`` tells it what was understood of the current turn."""

    def __init__(self, thresholds: Thresholds | None = None, holds: HoldRule | None = None) -> None:
        self.phase = Phase.QUIET
        self._thresholds, self._holds = thresholds or Thresholds(), holds or TextHolds()
        self._recent: deque[bool] = deque(maxlen=RECENT)
        self._onset = 0.0  # when the first loud window of an onset began
        self._began = self._ended = 0.0  # of the current speech
        self._text = ""

    @property
    def speaking(self) -> bool:
        return self.phase is Phase.SPEAKING

    @property
    def speech_ms(self) -> float:
        """From the start of the current turn to its last sound."""
        return (self._ended - self._began) * 1000

    def push(
        self, probability: float, level: float, floor: float, end: float
    ) -> SpeechEvent | None:
        """One window that ended at ``end``; levels in dBFS."""
        over = level - floor
        limits = self._thresholds
        extra = limits.noisy_extra if floor > limits.noisy_dbfs else 0.0
        speaking = self.phase is Phase.SPEAKING
        wanted = limits.go_on if speaking else limits.start + extra
        loud = probability >= wanted and over >= limits.above_noise_db
        self._recent.append(loud)
        if loud and sum(self._recent) == 1:
            self._onset = end - WINDOW_S
        if loud and speaking:
            self._ended = end
            return None
        certain = loud and probability >= CERTAIN and over >= CERTAIN_DB
        return self._step(self._sign(loud, certain, end), end)

    def text(self, text: str) -> None:
        """What was understood so far of the current turn."""
        self._text = text

    def next_deadline(self) -> float | None:
        """When ``handle_timer`` wants to be called."""
        return self._ended + self._hold_ms / 1000 if self.phase is Phase.PAUSED else None

    def handle_timer(self, now: float) -> SpeechEvent | None:
        """Time has passed."""
        deadline = self.next_deadline()
        if deadline is None or now < deadline:
            return None
        return self._step(Sign.OVER, now)

    def reset(self) -> None:
        """Forget the current turn: what was heard did not count."""
        self.phase, self._text = Phase.QUIET, ""
        self._recent.clear()

    @property
    def _hold_ms(self) -> float:
        return self._holds.hold_ms(self._text, self.speech_ms)

    def _sign(self, loud: bool, certain: bool, end: float) -> Sign | None:
        if certain or (loud and sum(self._recent) >= NEEDED):
            return Sign.SURE
        if loud:
            return Sign.LOUD
        if self.phase is Phase.SPEAKING:
            quiet_ms = (end - self._ended) * 1000
            return Sign.STILL if quiet_ms >= self._thresholds.pause_ms - 1 else None
        return None if any(self._recent) else Sign.STILL

    def _step(self, sign: Sign | None, now: float) -> SpeechEvent | None:
        before = self.phase
        after = None if sign is None else TRANSITIONS.get((before, sign))
        if after is None:
            return None
        self.phase = after
        match before, after:
            case (Phase.PAUSED, Phase.SPEAKING):
                self._ended = now
                return SpeechResumed(self._onset)
            case (_, Phase.SPEAKING):
                self._began, self._ended, self._text = self._onset, now, ""
                return SpeechStarted(self._onset)
            case (_, Phase.PAUSED):
                self._recent.clear()
                return SpeechPaused(self._ended, self.speech_ms)
            case (Phase.PAUSED, Phase.QUIET):
                return TurnEnded(self._ended, self._hold_ms)
        return None
