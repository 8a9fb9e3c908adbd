"""Loading agents that users wrote: each way to get it wrong has its own sentence."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from sipbot.agent.python_agent import AgentLoadError, load_agent
from sipbot.call.call import Call


class Good:
    def __init__(self, language: str = "en") -> None:
        self.language = language

    async def run(self, call: Call) -> None: ...


class NotAsync:
    def run(self, call: Call) -> None: ...


class Explodes:
    def __init__(self) -> None:
        raise OSError("token")

    async def run(self, call: Call) -> None: ...


@pytest.fixture(autouse=True)
def _module(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = types.ModuleType("user_agents")
    module.Good, module.NotAsync, module.Explodes, module.number = Good, NotAsync, Explodes, 3
    monkeypatch.setitem(sys.modules, "user_agents", module)


def test_a_class_is_made_with_its_settings() -> None:
    agent = load_agent("user_agents:Good", {"language": "hi"})
    assert isinstance(agent, Good)
    assert agent.language == "hi"


@pytest.mark.parametrize(
    ("entry", "settings", "message"),
    [
        ("user_agents.Good", {}, "package.module:Class"),
        ("user_agents:", {}, "package.module:Class"),
        ("no_such_module_at_all:X", {}, "no module 'no_such_module_at_all'"),
        ("user_agents:Better", {}, "has no 'Better'"),
        ("user_agents:number", {}, "neither a class nor a function"),
        ("user_agents:Good", {"lang": "hi"}, "does not fit its settings"),
        ("user_agents:NotAsync", {}, "async def run"),
        ("user_agents:Explodes", {}, "raised OSError when it was made$"),
    ],
)
def test_mistakes_are_named(entry: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(AgentLoadError, match=message):
        load_agent(entry, settings)


def test_a_module_that_fails_to_import_is_named(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_agent_module.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(AgentLoadError, match="raised ZeroDivisionError"):
        load_agent("broken_agent_module:X")
