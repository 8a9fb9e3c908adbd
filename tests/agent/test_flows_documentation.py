"""The examples in docs/flows.md are flows and scripted callers without mistakes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sipbot.agent.flow import FlowAgent
from sipbot.agent.flow.load import from_document
from sipbot.agent.flow.model import ACTIONS
from sipbot.runtime.trial.model import ACTIONS as STEPS
from sipbot.runtime.trial.model import ScriptedCall
from sipbot.testing import simulate, tone, virtual_time
from sipbot.yamlmarks import loads, validate
from tests.agent.flow_kit import ScriptedEar

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "flows.md").read_text("utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
FLOWS = [block for block in BLOCKS if "\nnodes:" in f"\n{block}"]
SURVEY = "start: a\nvariables: {topic: x, stars: none}\nnodes: {a: {return: }}\n"


def test_there_are_examples() -> None:
    assert len(FLOWS) == 3
    assert sum("steps:" in block for block in BLOCKS) == 1


@pytest.mark.parametrize("block", FLOWS)
def test_flows_are_right(block: str, tmp_path: Path) -> None:
    (tmp_path / "survey.yaml").write_text(SURVEY)
    assert from_document(loads(block, "flow.yaml"), tmp_path).warnings == ()


def test_the_caller_is_right() -> None:
    (block,) = (one for one in BLOCKS if "steps:" in one)
    assert len(validate(ScriptedCall, loads(block, "call.yaml")).steps) == 7


def test_every_node_and_step_is_documented() -> None:
    assert [name for name in ACTIONS if f"| `{name}` |" not in TEXT] == []
    assert [name for name in STEPS if f"`{name}`" not in TEXT] == []


@virtual_time
async def test_the_small_flow_works() -> None:
    ear = ScriptedEar("i want to make an appointment")
    async with simulate(FlowAgent(from_document(loads(FLOWS[0], "f"), Path()), ear)) as caller:
        await caller.hears("welcome to lotus", to_the_end=True)
        caller.says(tone(600))
        await caller.hears("pin code")
        await caller.press("411001")
        await caller.hears("that is 4 1 1 0 0 1")
        await caller.press("1")
        await caller.hears("thank you", to_the_end=True)
        await caller.hears("goodbye")
