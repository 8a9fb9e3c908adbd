"""Retries, and what becomes of a job after each outcome."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sipbot.outbound.job import Job, JobState, NewJob, Result, abandoned, after
from sipbot.outbound.numbers import canonical, dialled
from sipbot.outbound.outcome import Outcome
from sipbot.outbound.plan import Plan
from sipbot.outbound.retries import HELD_BACK_S, RetryPolicy

POLICY = RetryPolicy(3, {Outcome.BUSY: (60.0, 600.0), Outcome.NO_ANSWER: (3600.0,)})
JOB = Job(
    id="1",
    number="+919812345610",
    agent="desk",
    trunk="exotel",
    via="sip",
    parameters={},
    campaign=None,
    line=0,
    caller_id="",
    ring_s=30.0,
    state=JobState.DIALLING,
    attempts=1,
    due_at=0.0,
    expires_at=None,
    created_at=0.0,
)


def test_delays_by_outcome_and_attempt() -> None:
    assert POLICY.next_due(Outcome.BUSY, 1, 100.0) == 160.0
    assert POLICY.next_due(Outcome.BUSY, 2, 100.0) == 700.0
    assert POLICY.next_due(Outcome.BUSY, 3, 100.0) is None  # the third was the last
    assert POLICY.next_due(Outcome.NO_ANSWER, 2, 0.0) == 3600.0  # the last delay serves on
    assert POLICY.next_due(Outcome.DECLINED, 1, 0.0) is None


@pytest.mark.parametrize("outcome", [Outcome.ANSWERED, Outcome.CANCELLED, Outcome.INVALID])
def test_final_outcomes_cannot_be_retried(outcome: Outcome) -> None:
    with pytest.raises(ValueError, match="retries are possible after"):
        RetryPolicy(3, {outcome: (1.0,)})


@pytest.mark.parametrize(
    ("attempts", "delays"), [(0, {}), (99, {}), (2, {Outcome.BUSY: ()}), (2, {Outcome.BUSY: (0,)})]
)
def test_policies_that_make_no_sense(
    attempts: int, delays: dict[Outcome, tuple[float, ...]]
) -> None:
    with pytest.raises(ValueError, match=r"."):
        RetryPolicy(attempts, delays)


def test_busy_waits_then_ends() -> None:
    first = after(JOB, Result(Outcome.BUSY), POLICY, 100.0)
    assert (first.state, first.due_at, first.counts) == (JobState.WAITING, 160.0, True)
    last = after(replace(JOB, attempts=3), Result(Outcome.BUSY), POLICY, 100.0)
    assert (last.state, last.due_at) == (JobState.DONE, None)


def test_a_call_without_room_is_no_attempt() -> None:
    then = after(replace(JOB, attempts=3), Result(Outcome.HELD_BACK), POLICY, 100.0)
    assert (then.state, then.due_at, then.counts) == (JobState.WAITING, 100.0 + HELD_BACK_S, False)


def test_no_retry_after_the_job_expired_or_was_stopped() -> None:
    busy = Result(Outcome.BUSY)
    assert after(replace(JOB, expires_at=150.0), busy, POLICY, 100.0).state is JobState.DONE
    assert after(replace(JOB, stop_wanted=True), busy, POLICY, 100.0).state is JobState.DONE


def test_abandoned_before_dialling_waits_again() -> None:
    result, then = abandoned(replace(JOB, state=JobState.CLAIMED), now=50.0)
    assert result.outcome is Outcome.HELD_BACK
    assert (then.state, then.counts) == (JobState.WAITING, False)


def test_abandoned_while_dialling_is_never_dialled_blindly() -> None:
    result, then = abandoned(JOB, POLICY, now=50.0)
    assert result.outcome is Outcome.UNKNOWN
    assert then.state is JobState.DONE


def test_abandoned_while_dialling_is_dialled_when_somebody_asked_for_it() -> None:
    asked = RetryPolicy(2, {Outcome.UNKNOWN: (900.0,)})
    _, then = abandoned(JOB, asked, now=50.0)
    assert (then.state, then.due_at) == (JobState.WAITING, 950.0)


def test_abandoned_while_talking_was_answered() -> None:
    result, then = abandoned(replace(JOB, state=JobState.TALKING, answered_at=9.0), now=50.0)
    assert (result.outcome, result.answered_at) == (Outcome.ANSWERED, 9.0)
    assert then.state is JobState.DONE


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("+91 98123 45610", "+919812345610"),
        ("09812345610", "+919812345610"),
        ("07411179773", "+917411179773"),  # not +7 ..., a number of another country
        ("9812345610", "+919812345610"),
        ("0044 20 7946 0000", "+442079460000"),
        ("echo", "echo"),
        ("100", "100"),
    ],
)
def test_one_spelling(written: str, number: str) -> None:
    assert canonical(written) == number


@pytest.mark.parametrize(
    "written", ["", "+", "+12", "a b", "x@y", "a" * 65, "<x>", "+91981234561a"]
)
def test_nobody_can_be_called_by_this(written: str) -> None:
    with pytest.raises(ValueError, match="must be a number"):
        canonical(written)


def test_dialled_forms() -> None:
    assert dialled("+919812345610", "e164") == "+919812345610"
    assert dialled("+919812345610", "national0") == "09812345610"
    assert dialled("+442079460000", "national0") == "+442079460000"
    assert dialled("echo", "national0") == "echo"


def test_a_plan_survives_the_store() -> None:
    plan = Plan.parse(
        {
            "agent": "desk",
            "trunk": "exotel",
            "windows": ["mon-fri 09:00-18:00"],
            "zone": "Asia/Kolkata",
            "attempts": 3,
            "retries": {"busy": [60, 600]},
            "max_calls": 5,
        }
    )
    assert Plan.parse(plan.plain()) == plan


@pytest.mark.parametrize(
    "wrong",
    [
        {"agent": ""},
        {"via": "post"},
        {"ring_s": 0},
        {"max_calls": 0},
        {"colour": "red"},
        {"retries": {"answered": [1]}},
        {"retries": {"busy": "soon"}},
        {"zone": "nowhere"},
    ],
)
def test_a_plan_with_a_mistake(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Plan.parse({"agent": "desk", "trunk": "exotel", **wrong})


def test_parameters_are_bounded() -> None:
    with pytest.raises(ValueError, match="parameter"):
        NewJob("echo", "a", "t", parameters={"x": "y" * 1_000})
    with pytest.raises(ValueError, match="parameters"):
        NewJob("echo", "a", "t", parameters={str(at): "" for at in range(65)})
