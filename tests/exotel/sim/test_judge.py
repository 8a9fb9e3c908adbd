"""Expectations and reports."""

from __future__ import annotations

import json
from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest

from sipbot.exotel.sim.caller import StepResult
from sipbot.exotel.sim.facts import StreamOutcome
from sipbot.exotel.sim.judge import Run, TalkResult, judge, same_target
from sipbot.exotel.sim.load import scenario_of
from sipbot.exotel.sim.report import Case, as_json, as_junit, as_text
from sipbot.exotel.sim.walk import Outcome, Visit

GOOD = """
applets:
  talk: {talk: {}, next: end}
  end: {hangup: }
stream: {strict: true}
expect:
  first_speech_within_ms: 800
  min_speech_ms: 1000
  max_speech_ms: 9000
  min_duration_ms: 2000
  max_duration_ms: 20000
  setup_within_ms: 1000
  ended_by: bot
  transferred_to: '08012345678'
  path: [talk, end]
  stream: {status: completed, disconnected_by: bot, error: '3009'}
"""


def good() -> Run:
    talk = TalkResult(
        "stream",
        answered=True,
        ended_by="bot",
        setup_ms=20,
        first_speech_ms=300,
        speech_ms=4_000,
        duration_ms=9_000,
        steps=[StepResult("press", True, "", 500)],
    )
    visits = [Visit("talk", "talk", Outcome.NEXT), Visit("end", "hangup", Outcome.ENDED)]
    stream = StreamOutcome("s", "completed", 9, "wss://h/secret", "bot", "", "3009 x")
    return Run([talk], visits, ["+918012345678"], stream)


def failed(run: Run) -> set[str]:
    return {
        check.name for check in judge(scenario_of(GOOD).scenario, run, "stream") if not check.passed
    }


def test_a_good_run_passes_everything() -> None:
    checks = judge(scenario_of(GOOD).scenario, good(), "stream")
    assert len(checks) == 14
    assert failed(good()) == set()


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("answered", lambda run: setattr(run.talks[0], "answered", False)),
        ("first_speech_within_ms", lambda run: setattr(run.talks[0], "first_speech_ms", 801)),
        ("first_speech_within_ms", lambda run: setattr(run.talks[0], "first_speech_ms", None)),
        ("min_speech_ms", lambda run: setattr(run.talks[0], "speech_ms", 999)),
        ("max_speech_ms", lambda run: setattr(run.talks[0], "speech_ms", 9_001)),
        ("min_duration_ms", lambda run: setattr(run.talks[0], "duration_ms", 1_999)),
        ("max_duration_ms", lambda run: setattr(run.talks[0], "duration_ms", 20_001)),
        ("setup_within_ms", lambda run: setattr(run.talks[0], "setup_ms", 1_001)),
        ("ended_by", lambda run: setattr(run.talks[0], "ended_by", "caller")),
        ("transferred_to", lambda run: run.dialled.clear()),
        ("path", lambda run: run.visits.pop()),
        ("stream.status", lambda run: setattr(run.stream, "status", "failed")),
        ("stream.disconnected_by", lambda run: setattr(run.stream, "disconnected_by", "user")),
        ("strict", lambda run: run.fault("payload-no-multiple-of-320")),
        ("stream.error", lambda run: setattr(run.stream, "error", "3008 other")),
        ("limits", lambda run: setattr(run, "trouble", "the flow never ends")),
    ],
)
def test_each_expectation_can_fail(name: str, spoil: Callable[[Run], object]) -> None:
    run = good()
    spoil(run)
    assert failed(run) == {name}


def test_a_stream_that_never_was_fulfils_nothing() -> None:
    run = good()
    run.stream = None
    assert failed(run) == {"stream.status", "stream.disconnected_by", "stream.error"}


def test_nobody_was_called() -> None:
    scenario = scenario_of("expect: {not_transferred: true}").scenario
    run = good()
    assert [check.name for check in judge(scenario, run, "sip") if not check.passed] == [
        "not_transferred"
    ]
    assert [check.passed for check in judge(scenario, Run(), "sip")] == [False, True]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("+918012345678", "08012345678", True),
        ("8012345678", "918012345678", True),
        ("front-desk", "front-desk", True),
        ("sip:desk", "sip:other", False),
        ("+918012345678", "+918012345679", False),
    ],
)
def test_numbers_in_any_spelling(one: str, other: str, same: bool) -> None:
    assert same_target(one, other) is same


def cases() -> list[Case]:
    bad = good()
    bad.talks[0].steps.append(StepResult("interrupt", False, "spoke on <&\0", 900))
    bad.fault("not-json")
    checks = judge(scenario_of("expect: {transferred_to: '+918012345679'}").scenario, bad, "stream")
    return [
        Case("one", "sip", 1.5, good(), judge(scenario_of(GOOD).scenario, good(), "stream")),
        Case("two", "stream", 2.0, bad, checks),
        Case("three", "sip", 0.1, Run(), [], "the bot's sip address is not known"),
    ]


def test_text_tells_the_story() -> None:
    text = as_text(cases())
    assert "passed  one [sip]  1.5 s" in text
    assert "FAILED  two [stream]" in text
    assert "! interrupt: spoke on" in text
    assert "breaks a rule: not-json" in text
    assert text.endswith("3 run, 2 failed")


def test_json_has_everything_but_numbers_in_full_and_urls() -> None:
    text = as_json(cases())
    found = json.loads(text)
    assert found["passed"] is False
    assert [case["passed"] for case in found["cases"]] == [True, False, False]
    assert found["cases"][0]["path"][0] == {
        "applet": "talk",
        "kind": "talk",
        "outcome": "next",
        "detail": "",
    }
    assert found["cases"][1]["failures"][1].startswith("transferred_to: expected +9180******79")
    assert "8012345678" not in text
    assert "secret" not in text


def test_junit_is_what_ci_systems_read() -> None:
    suite = ET.fromstring(as_junit(cases()))
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "1")
    one, two, three = suite.findall("testcase")
    assert one.find("failure") is None
    failure = two.find("failure")
    assert failure is not None
    assert failure.get("message") == "interrupt: spoke on <&"
    assert three.find("error") is not None
    assert (two.get("classname"), two.get("name"), two.get("time")) == (
        "sim.stream",
        "two",
        "2.000",
    )
