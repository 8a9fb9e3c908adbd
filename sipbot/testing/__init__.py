"""Tests for agents without a telephone: scripted callers, fake legs and virtual time.

``simulate`` calls an agent, ``virtual_time`` makes an hour of conversation take milliseconds.
"""

from sipbot.testing.clock import (
    JumpingLoop,
    LoopClock,
    ManualClock,
    NothingHappens,
    run,
    virtual_time,
)
from sipbot.testing.leg import FakeLeg
from sipbot.testing.simulate import SimulatedCaller, Spoken, level, simulate
from sipbot.testing.speech import ScriptedSynthesizer, tone

__all__ = [
    "FakeLeg",
    "JumpingLoop",
    "LoopClock",
    "ManualClock",
    "NothingHappens",
    "ScriptedSynthesizer",
    "SimulatedCaller",
    "Spoken",
    "level",
    "run",
    "simulate",
    "tone",
    "virtual_time",
]
