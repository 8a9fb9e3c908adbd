"""The walk through a flow."""

from __future__ import annotations

import pytest

from sipbot.exotel.sim.load import scenario_of
from sipbot.exotel.sim.walk import MAX_VISITS, Outcome, Walk

FLOW = """
applets:
  talk: {talk: {}, next: decide, no_answer: sorry}
  decide: {passthru: {url: /p}, ok: dial, otherwise: bye}
  dial: {connect: {url: /c}, talked: after, no_answer: talk, not_dialled: bye}
  after: {passthru: {url: /a}}
  sorry: {greeting: {ms: 1}, next: bye}
  bye: {hangup: }
"""


@pytest.mark.parametrize(
    ("outcomes", "path"),
    [
        (
            [Outcome.NEXT, Outcome.OK, Outcome.TALKED, Outcome.OK],
            ["talk", "decide", "dial", "after"],
        ),
        ([Outcome.NEXT, Outcome.OTHERWISE, Outcome.ENDED], ["talk", "decide", "bye"]),
        (
            [Outcome.NEXT, Outcome.OK, Outcome.NOT_DIALLED, Outcome.ENDED],
            ["talk", "decide", "dial", "bye"],
        ),
        ([Outcome.NO_ANSWER, Outcome.NEXT, Outcome.ENDED], ["talk", "sorry", "bye"]),
    ],
)
def test_each_outcome_has_its_branch(outcomes: list[Outcome], path: list[str]) -> None:
    walk = Walk(scenario_of(FLOW).scenario)
    for outcome in outcomes:
        assert walk.applet is not None
        walk.step(outcome, "d")
    assert walk.applet is None
    assert walk.path == tuple(path)
    assert [visit.outcome for visit in walk.visits] == outcomes
    walk.step(Outcome.NEXT)  # after the end nothing happens
    assert len(walk.visits) == len(path)


def test_without_a_branch_of_its_own_no_answer_goes_next() -> None:
    walk = Walk(scenario_of("applets:\n  talk: {talk: {}, next: b}\n  b: {hangup: }\n").scenario)
    walk.step(Outcome.NO_ANSWER)
    assert walk.path == ("talk", "b")


def test_after_the_caller_left_only_passthru_runs() -> None:
    walk = Walk(scenario_of(FLOW).scenario)
    walk.caller_gone = True
    walk.step(Outcome.NEXT)
    assert walk.path == ("talk", "decide")
    walk.step(Outcome.OK)  # would be Connect
    assert walk.applet is None
    assert walk.path == ("talk", "decide")


def test_a_flow_that_never_ends_is_cut() -> None:
    text = "start: a\napplets:\n  a: {greeting: {}, next: b}\n  b: {greeting: {}, next: a}\n"
    walk = Walk(scenario_of(text).scenario)
    while walk.applet is not None:
        walk.step(Outcome.NEXT)
    assert walk.cut
    assert len(walk.visits) == MAX_VISITS
