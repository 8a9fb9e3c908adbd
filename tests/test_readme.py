"""What README.md shows is true: configurations are valid, its agent works, its files exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from sipbot.call.leg import EndReason
from sipbot.ops.config import Config
from sipbot.testing import simulate, virtual_time
from sipbot.yamlmarks import loads, validate

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def agent_class() -> Any:
    (source,) = blocks("python")
    names: dict[str, Any] = {}
    exec(compile(source, "README.md", "exec"), names)
    return names["Receptionist"]


@pytest.mark.parametrize("block", blocks("yaml"), ids=range(len(blocks("yaml"))))
def test_configurations_are_valid(block: str) -> None:
    validate(Config, loads(block, "README.md"))


def test_the_python_agent_takes_the_settings_shown() -> None:
    config = validate(Config, loads(blocks("yaml")[0], "README.md"))
    (desk,) = config.agents.values()
    assert desk.type == "python"
    agent = agent_class()(**desk.settings)
    assert "the bakery" in agent.greeting


@virtual_time
async def test_the_python_agent_answers_keys() -> None:
    async with simulate(agent_class()()) as caller:
        await caller.hears("press 1")
        await caller.press("1")
        await caller.hears("nine to five", to_the_end=True)
        await caller.press("0")
        await caller.hears("goodbye", to_the_end=True)
        await caller.ended()
    assert caller.record.reason is EndReason.BOT_HUNG_UP
    assert caller.spoken[0].said is not None
    assert caller.spoken[0].said.interrupted


@virtual_time
async def test_the_python_agent_does_not_wait_for_ever() -> None:
    async with simulate(agent_class()()) as caller:
        await caller.hears("goodbye", to_the_end=True)
        await caller.ended()
    assert caller.record.reason is EndReason.BOT_HUNG_UP


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []
