"""docs/simulator.md names everything that a scenario may hold, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel

from sipbot.exotel.sim import model, steps
from sipbot.exotel.sim.load import scenario_of

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "simulator.md").read_text()
PROSE = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
NAMED = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"`[^`]+`", PROSE))))


def fields(kind: type[BaseModel]) -> set[str]:
    return {info.alias or name for name, info in kind.model_fields.items()}


def test_every_key_is_named() -> None:
    kinds: list[type[BaseModel]] = [
        model.Scenario,
        model.CallFacts,
        model.Bot,
        model.SipManner,
        model.StreamManner,
        model.Talk,
        model.Voicebot,
        model.ConnectSip,
        model.Stream,
        model.Passthru,
        model.Connect,
        model.Greeting,
        model.Gather,
        model.Expect,
        model.StreamExpected,
        steps.Action,
        steps.Interrupt,
        steps.WaitSpeech,
        steps.WaitSilence,
        steps.WaitEnd,
    ]
    missing = {name for kind in kinds for name in fields(kind)} - NAMED
    assert missing == set()
    assert set(model.ACTIONS) | set(steps.ACTIONS) <= NAMED


def test_its_example_is_a_scenario() -> None:
    found = re.findall(r"```yaml\n(caller:.*?)```", PAGE, re.DOTALL)
    assert len(found) == 1
    assert len(scenario_of(found[0]).scenario.caller) == 3
