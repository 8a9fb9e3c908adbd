"""What came of a run, and whether that is what the scenario expects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sipbot.call.numbers import e164
from sipbot.exotel.sim.caller import StepResult
from sipbot.exotel.sim.facts import StreamOutcome
from sipbot.exotel.sim.line import EndedBy
from sipbot.exotel.sim.model import Expect, Scenario, TransportName
from sipbot.exotel.sim.walk import Visit
from sipbot.ops.redact import uri


@dataclass(slots=True)
class TalkResult:
    """One talk with the bot. Times in milliseconds, of audio heard where they are of audio."""

    transport: str
    answered: bool = False
    failure: str = ""  # why it was not answered
    ended_by: EndedBy | None = None
    setup_ms: int | None = None
    first_speech_ms: int | None = None
    speech_ms: int = 0
    duration_ms: int = 0
    steps: list[StepResult] = field(default_factory=list)
    details: dict[str, int | str] = field(default_factory=dict)  # of the line: codec, messages


@dataclass(slots=True)
class Run:
    """Everything that happened in one call."""

    talks: list[TalkResult] = field(default_factory=list)
    visits: list[Visit] = field(default_factory=list)
    dialled: list[str] = field(default_factory=list)  # targets of Connect, in full
    stream: StreamOutcome | None = None
    faults: list[str] = field(default_factory=list)  # documented rules that the bot broke
    trouble: str = ""  # why the call was cut: too long, too many applets

    def fault(self, text: str) -> None:
        """Note a fault, each once."""
        if text not in self.faults:
            self.faults.append(text)


@dataclass(frozen=True, slots=True)
class Check:
    """One expectation. ``found`` holds no number in full."""

    name: str
    passed: bool
    expected: str
    found: str


def judge(scenario: Scenario, run: Run, transport: TransportName) -> list[Check]:
    """Every expectation of the scenario, held against what happened over ``transport``."""
    expect = scenario.expect
    talk = run.talks[0] if run.talks else TalkResult("none")
    checks = [*_talk_checks(expect, talk), *_flow_checks(expect, run)]
    if transport == "stream" or run.stream is not None:
        checks += _stream_checks(expect, run.stream or StreamOutcome(status="none"))
    if scenario.stream.strict:
        found = "; ".join(run.faults)
        checks.append(Check("strict", not run.faults, "no documented rule broken", found))
    if run.trouble:
        checks.append(Check("limits", False, "the call ends by itself", run.trouble))
    return checks


def same_target(expected: str, found: str) -> bool:
    """Whether two targets are one: numbers in any spelling, everything else as text."""
    if expected == found:
        return True
    one, other = e164(expected), e164(found)
    return one is not None and one == other


def _talk_checks(expect: Expect, talk: TalkResult) -> Iterator[Check]:
    if expect.answered is not None:
        found = "answered" if talk.answered else f"not answered: {talk.failure or 'no talk'}"
        wanted = "answered" if expect.answered else "not answered"
        yield Check("answered", talk.answered is expect.answered, wanted, found)
    if expect.ended_by is not None:
        found = talk.ended_by or "nobody"
        yield Check("ended_by", found == expect.ended_by, expect.ended_by, found)
    most = (
        ("setup_within_ms", expect.setup_within_ms, talk.setup_ms),
        ("first_speech_within_ms", expect.first_speech_within_ms, talk.first_speech_ms),
        ("max_speech_ms", expect.max_speech_ms, talk.speech_ms),
        ("max_duration_ms", expect.max_duration_ms, talk.duration_ms),
    )
    for name, limit, value in most:
        if limit is not None:
            passed = value is not None and value <= limit
            yield Check(name, passed, f"at most {limit} ms", _ms(value))
    least = (
        ("min_speech_ms", expect.min_speech_ms, talk.speech_ms),
        ("min_duration_ms", expect.min_duration_ms, talk.duration_ms),
    )
    for name, limit, value in least:
        if limit is not None:
            yield Check(name, value >= limit, f"at least {limit} ms", _ms(value))


def _flow_checks(expect: Expect, run: Run) -> Iterator[Check]:
    shown = ", ".join(uri(target) for target in run.dialled) or "nobody"
    if expect.transferred_to is not None:
        passed = any(same_target(expect.transferred_to, target) for target in run.dialled)
        yield Check("transferred_to", passed, uri(expect.transferred_to), shown)
    if expect.not_transferred:
        yield Check("not_transferred", not run.dialled, "nobody", shown)
    if expect.path is not None:
        walked = tuple(visit.name for visit in run.visits)
        yield Check("path", walked == expect.path, _way(expect.path), _way(walked))


def _stream_checks(expect: Expect, stream: StreamOutcome) -> Iterator[Check]:
    wanted = expect.stream
    pairs = (
        ("stream.status", wanted.status, stream.status),
        ("stream.disconnected_by", wanted.disconnected_by, stream.disconnected_by),
        ("stream.detailed_status", wanted.detailed_status, stream.detailed_status),
    )
    for name, expected, found in pairs:
        if expected is not None:
            yield Check(name, expected == found, expected, found)
    if wanted.error is not None:
        yield Check("stream.error", wanted.error in stream.error, wanted.error, stream.error)


def _ms(value: int | None) -> str:
    return "never" if value is None else f"{value} ms"


def _way(names: Sequence[str]) -> str:
    return " > ".join(names)
