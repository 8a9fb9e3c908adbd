"""``sipbot check`` over all parts: agents that do not load, flows that look odd, small limits."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import pytest

from sipbot.ops.checks import Finding, Grade
from sipbot.ops.load import load
from sipbot.runtime import preflight as module
from sipbot.runtime.preflight import preflight
from sipbot.testing import ManualClock

FLOW = """
start: hello
nodes:
  hello: {say: Hello., next: bye}
  bye: {hangup: Goodbye.}
"""


def findings(directory: Path, text: str) -> dict[str, list[Finding]]:
    path = directory / "sipbot.yaml"
    path.write_text(f"sip: {{listen: ['udp://127.0.0.1:0']}}\n{text}")
    found: dict[str, list[Finding]] = {}
    for one in preflight(load(path, {}).config, directory, ManualClock()):
        found.setdefault(one.check, []).append(one)
    return found


def test_every_part_is_looked_at(tmp_path: Path) -> None:
    found = findings(tmp_path, "")
    assert set(found) == {
        "listeners",
        "public address",
        "rtp ports",
        "file descriptors",
        "store",
        "agent echo",
    }
    assert found["agent echo"] == [Finding("agent echo", Grade.OK, "echo: loaded")]


def test_trunks_that_make_calls(tmp_path: Path) -> None:
    outbound = "outbound: {uri: 'sip:192.0.2.7;transport=%s'}"
    trunks = "trunks: {t: {allow: [192.0.2.7], %s}}\n"
    found = findings(tmp_path, trunks % (outbound % "udp"))
    assert [one.grade for one in found["trunk t"]] == [Grade.OK]
    found = findings(tmp_path, trunks % (outbound % "tcp"))
    (warning,) = found["trunk t"]
    assert warning.grade is Grade.WARNING
    assert "no tcp listener" in warning.message


def test_agents_that_do_not_load(tmp_path: Path) -> None:
    (tmp_path / "menu.yaml").write_text("start: nowhere\nnodes: {}\n")
    found = findings(
        tmp_path,
        "agents:\n  menu: {type: flow, file: menu.yaml}\n"
        "  bot: {type: python, entry: 'no_such_module_here:Bot'}\n"
        "routes: [{to: a, agent: menu}, {agent: bot}]\n",
    )
    assert {one.grade for one in found["agent menu"]} == {Grade.PROBLEM}
    assert "menu.yaml:" in found["agent menu"][0].message
    (bot,) = found["agent bot"]
    assert bot.grade is Grade.PROBLEM
    assert "no_such_module_here" in bot.message


def test_an_agent_beside_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    (tmp_path / "bot_of_preflight.py").write_text(
        "class Bot:\n    async def run(self, call):\n        pass\n"
    )
    found = findings(tmp_path, "agents: {bot: {type: python, entry: 'bot_of_preflight:Bot'}}\n")
    assert [one.grade for one in found["agent bot"]] == [Grade.OK]


def test_a_flow_that_looks_odd(tmp_path: Path) -> None:
    (tmp_path / "menu.yaml").write_text(FLOW + "  island: {hangup: Never heard.}\n")
    found = findings(tmp_path, "agents: {menu: {type: flow, file: menu.yaml}}\n")
    assert [one.grade for one in found["agent menu"]] == [Grade.OK, Grade.WARNING]
    assert "island" in found["agent menu"][1].message


def test_limits_that_are_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "read_ephemeral_range", lambda: (9_000, 30_000))

    def getrlimit(_: int) -> tuple[Any, Any]:
        return 64, 64

    monkeypatch.setattr(resource, "getrlimit", getrlimit)
    found = findings(tmp_path, "")
    assert [one.grade for one in found["rtp ports"]] == [Grade.WARNING]
    assert [one.grade for one in found["file descriptors"]] == [Grade.WARNING]
    assert "hard limit" in found["file descriptors"][0].message
