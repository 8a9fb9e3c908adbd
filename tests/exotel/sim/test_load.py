"""Scenario files: what they may hold, and how mistakes are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from sipbot.errors import ConfigError
from sipbot.exotel.sim.load import load_scenario, needs, scenario_of
from sipbot.exotel.sim.model import TalkApplet

SHIPPED = sorted((Path(__file__).resolve().parents[3] / "config" / "sim").glob("*.yaml"))


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        scenario_of(text)
    return [str(problem) for problem in error.value.problems]


def test_the_smallest_scenario_is_the_bot_over_both_transports() -> None:
    loaded = scenario_of("")
    assert loaded.name == "scenario"
    assert loaded.scenario.transport == ("sip", "stream")
    assert isinstance(loaded.scenario.applets["talk"], TalkApplet)
    assert set(needs(loaded.scenario, "sip")) == {"sip"}
    assert set(needs(loaded.scenario, "stream")) == {"stream"}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_scenarios_have_no_mistakes(path: Path) -> None:
    assert load_scenario(path, {}).scenario.caller


def test_there_are_shipped_scenarios() -> None:
    assert len(SHIPPED) >= 3


def test_numbers_and_variables() -> None:
    text = "call: {from: 080123, to: +918012345678}\nbot: {http: '${BASE}'}\ncaller: [press: 1]\n"
    loaded = scenario_of(text, {"BASE": "http://127.0.0.1:1"})
    assert loaded.scenario.call.from_ == "080123"
    assert loaded.scenario.bot.http == "http://127.0.0.1:1"
    assert loaded.scenario.caller[0].press == "1"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("start: nowhere\n", 1, "there is no such applet (applets: talk)"),
        ("applets:\n  talk: {talk: {}, next: b}\n", 2, "talk.next = b: there is no such applet"),
        ("applets:\n  talk: {talk: {}, hangup: }\n", 2, "an applet needs exactly one of talk"),
        ("applets:\n  talk: {passthru: {}}\n", 2, "this key is required"),
        ("applets:\n  talk: {voicebot: {}}\n", 2, "runs over stream only: say transport: [stream]"),
        ("caller:\n  - press: x\n", 2, "caller[0].press = x"),
        ("caller:\n  - wait: 1\n", 2, "a step needs exactly one of wait_speech"),
        ("caller:\n  - interrupt: {press: 1}\n", 2, "needs silent_within_ms"),
        ("caller:\n  - act: {press: 1, tone_ms: 5}\n", 2, "needs exactly one of press, say"),
        ("caller:\n  - play: none.wav\n", 2, "the sound cannot be read"),
        ("expect:\n  path: [talk, b]\n", 2, "expect.path[1] = b: there is no such applet"),
        ("expect: {transferred_to: '1', not_transferred: true}\n", 1, "contradicts"),
        ("expect: {ended_bye: bot}\n", 1, "did you mean 'ended_by'?"),
        ("stream: {cadence_ms: 30}\n", 1, "stream.cadence_ms = 30"),
    ],
)
def test_mistakes_have_a_line_and_a_sentence(text: str, line: int, message: str) -> None:
    found = problems(text)
    assert any(one.startswith(f"scenario.yaml:{line}: ") and message in one for one in found), found


def test_what_a_flow_needs() -> None:
    text = """
applets:
  talk: {talk: {}, next: decide}
  decide: {passthru: {url: /p}, ok: dial}
  dial: {connect: {url: 'http://x/c', fallback_url: /c}}
"""
    scenario = scenario_of(text).scenario
    assert set(needs(scenario, "sip")) == {"sip", "http"}
