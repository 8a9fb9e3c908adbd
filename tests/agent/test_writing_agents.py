"""The examples in the documentation run."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sipbot.call.leg import EndReason
from sipbot.testing import simulate, virtual_time

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "writing-agents.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def module_with(name: str) -> Any:
    """The example that defines ``name``, run as a module."""
    (code,) = (block for block in blocks("python") if re.search(rf"(class|def) {name}\b", block))
    module = ModuleType(f"example_{name}")
    exec(compile(code, f"writing-agents.md:{name}", "exec"), module.__dict__)
    return module


@pytest.fixture
def mybot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mybot", module_with("Receptionist"))


@pytest.mark.usefixtures("mybot")
def test_the_tests_shown_pass() -> None:
    module = module_with("test_tells_the_hours")
    module.test_tells_the_hours()
    module.test_passes_callers_on()


@virtual_time
async def test_the_pin_is_read() -> None:
    async with simulate(module_with("AsksForAPin").AsksForAPin()) as caller:
        await caller.hears("four digit")
        await caller.press("1234")
        await caller.hears("Thank you", to_the_end=True)
        await caller.ended()


@virtual_time
async def test_the_prepared_greeting_is_said() -> None:
    async with simulate(module_with("Prompt").Prompt()) as caller:
        await caller.hears("one moment", to_the_end=True)


@virtual_time
async def test_the_interpreter_listens_while_it_talks() -> None:
    async with simulate(module_with("Interpreter").Interpreter()) as caller:
        await caller.hears("listening", to_the_end=True)
        await caller.waits(2.0)
    assert caller.record.reason is EndReason.CALLER_HUNG_UP
    assert caller.record.failure == ""


@virtual_time
async def test_the_end_is_no_failure_in_a_group_of_tasks_either() -> None:
    async with simulate(module_with("Interpreter").Interpreter()) as caller:
        await caller.hears("listening")
    assert caller.record.reason is EndReason.CALLER_HUNG_UP
    assert caller.record.failure == ""
