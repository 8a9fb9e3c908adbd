"""Where the time of a turn goes, from the caller's last sound to the bot's first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sipbot.agent.providers.counts import Counts
from sipbot.call.record import Stat

MAX_TURNS: Final = 500  # turns of one call whose times are kept


@dataclass(slots=True)
class TurnTimes:
    """Moments of one turn, in seconds on the event loop's clock; None for what did not happen."""

    caller_end: float  # the caller's last sound
    vad_end: float | None = None  # noticed
    stt_final: float | None = None  # the final transcript
    taken: float | None = None  # the hold was over: the turn is ours
    llm_first: float | None = None  # first piece of text
    tts_first: float | None = None  # first audio
    played: float | None = None  # it left towards the caller

    def after_ms(self) -> dict[str, int]:
        """Milliseconds after the caller's last sound."""
        moments = {
            "vad_end": self.vad_end,
            "stt_final": self.stt_final,
            "taken": self.taken,
            "llm_first": self.llm_first,
            "tts_first": self.tts_first,
            "played": self.played,
        }
        return {
            f"{name}_ms": round((at - self.caller_end) * 1000)
            for name, at in moments.items()
            if at is not None
        }


class Waterfall:
    """The turns of one call, for its record."""

    def __init__(self) -> None:
        self.turns: list[dict[str, int]] = []
        self.stops_ms: list[int] = []  # from the caller's first sound to the bot's last
        self.interruptions = self.resumed = self.failures = 0

    def add(self, times: TurnTimes) -> None:
        if len(self.turns) < MAX_TURNS:
            self.turns.append(times.after_ms())

    def stopped(self, ms: float) -> None:
        """The bot was interrupted, ``ms`` after the caller began."""
        self.interruptions += 1
        if len(self.stops_ms) < MAX_TURNS:
            self.stops_ms.append(round(ms))

    def count(self, counts: Counts) -> None:
        """Add this call to the counters of its process; times are sums, in milliseconds."""
        played = [turn["played_ms"] for turn in self.turns if "played_ms" in turn]
        for name, amount in (
            ("voice_turns", len(played)),
            ("voice_turn_ms", sum(played)),
            ("voice_barge_ins", self.interruptions),
            ("voice_barge_in_ms", sum(self.stops_ms)),
            ("voice_resumed", self.resumed),
            ("voice_failures", self.failures),
        ):
            if amount:
                counts.count(name, amount)

    def stats(self) -> dict[str, Stat]:
        """For the call record."""
        played = sorted(turn["played_ms"] for turn in self.turns if "played_ms" in turn)
        stops = sorted(self.stops_ms)
        return {
            "turns": len(self.turns),
            "turn_p50_ms": played[len(played) // 2] if played else None,
            "turn_max_ms": played[-1] if played else None,
            "interruptions": self.interruptions,
            "resumed": self.resumed,
            "barge_in_p50_ms": stops[len(stops) // 2] if stops else None,
            "barge_in_max_ms": stops[-1] if stops else None,
            "voice_failures": self.failures,
        }
