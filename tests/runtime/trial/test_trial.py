"""Scripted callers against a bot of a configuration, over SIP on loopback."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest

from sipbot.clock import SystemClock
from sipbot.errors import ConfigError
from sipbot.exotel.sim.report import as_json, as_junit, as_text
from sipbot.ops.load import load
from sipbot.runtime.trial.page import page
from sipbot.runtime.trial.play import Trial, load_calls, play_all
from sipbot.runtime.trial.report import cases, write_pages

FLOW = """
start: ask
interrupt: speech
nodes:
  ask:
    listen:
      prompt: Say yes or no, or press one, whatever you like best today, I have time
      answers:
        go: {phrases: "yes | no", key: 1, next: desk}
      retries: 1
      on_invalid: Not that
      otherwise: bye
  desk: {transfer: {target: front-desk, say: Hold on}}
  bye: {hangup: Bye}
"""
CONFIG = """
agents: {reception: {type: flow, file: flow.yaml}}
routes: [{agent: reception}]
media: {ports: 23000-23400}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "flow.yaml").write_text(FLOW)
    (tmp_path / "sipbot.yaml").write_text(CONFIG)
    return tmp_path


async def played(folder: Path, call: str) -> Trial:
    (folder / "call.yaml").write_text(call)
    loaded = load(folder / "sipbot.yaml", {})
    calls = load_calls([folder / "call.yaml"], {})
    return (await play_all(calls, loaded.config, loaded.base, SystemClock()))[0]


async def test_a_caller_interrupts_by_speaking_and_is_understood(folder: Path) -> None:
    trial = await played(
        folder,
        "steps:\n"
        "  - expect: yes or no\n"
        "  - barge_in: {after_ms: 300, say: 'yes', silent_within_ms: 3000}\n"
        "  - expect: {regex: '^Hold', within_ms: 8000}\n"
        "  - wait_end: {within_ms: 8000}\n"
        "expect: {transferred_to: front-desk, ended_by: bot, max_duration_ms: 20000}\n",
    )
    assert trial.failures == []
    assert trial.duration_ms > 1_000
    assert [one.what for one in trial.moments if one.who == "agent"][-1] == "Hold on"
    shown = page(trial)
    assert "passed" in shown
    assert "Hold on" in shown
    assert shown.count("<path") == 2
    written = write_pages([trial, trial], folder / "pages")
    assert [path.name for path in written] == ["call.html", "call-2.html"]


async def test_what_is_not_said_fails_the_call_and_every_report_tells(folder: Path) -> None:
    trial = await played(
        folder,
        "name: a <wrong> one\nsteps:\n"
        "  - dtmf: 1\n"
        "  - expect: {text: never said, within_ms: 500}\n"
        "expect: {transferred_to: nobody}\n",
    )
    assert [text.partition(":")[0] for text in trial.failures] == ["expect", "transferred_to"]
    found = cases([trial])
    assert "FAILED  a <wrong> one" in as_text(found)
    assert fromstring(as_junit(found)).get("failures") == "1"
    assert '"passed": false' in as_json(found)
    assert "<wrong>" not in page(trial)


async def test_an_agent_that_does_not_answer_is_an_error(folder: Path) -> None:
    (folder / "sipbot.yaml").write_text(CONFIG.replace("routes: [{", "routes: [{to: other, "))
    trial = await played(folder, "steps: [{expect: hello}]\n")
    assert "not answered: 404" in trial.error


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("steps: []\n", "steps"),
        ("steps: [{expect: {within_ms: 5}}]\n", "needs text or regex"),
        ("steps: [{expect: {regex: '['}}]\n", "no regular expression"),
        ("steps: [{shout: x}]\n", "needs exactly one of expect, say"),
        ("steps: [{barge_in: {say: x}}]\n", "silent_within_ms"),
        ("to: 'a b'\nsteps: [{hangup: }]\n", "to = a b"),
    ],
)
def test_mistakes_in_a_file_are_told(tmp_path: Path, call: str, message: str) -> None:
    (tmp_path / "call.yaml").write_text(call)
    with pytest.raises(ConfigError) as error:
        load_calls([tmp_path / "call.yaml"], {})
    assert any(message in str(problem) for problem in error.value.problems), error.value


def test_the_shipped_callers_have_no_mistakes() -> None:
    folder = Path(__file__).resolve().parents[3] / "config" / "calls"
    assert len(load_calls(sorted(folder.glob("*.yaml")), {})) == 2
