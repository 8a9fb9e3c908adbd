"""The report of all runs: for people, as JSON, as JUnit's XML."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from sipbot.exotel.sim.judge import Check, Run


@dataclass(frozen=True, slots=True)
class Case:
    """One scenario over one transport. ``error`` tells why it could not be run at all."""

    name: str
    transport: str
    seconds: float
    run: Run
    checks: list[Check] = field(default_factory=list)
    error: str = ""

    @property
    def failures(self) -> list[str]:
        """What failed, one text each."""
        found = [self.error] if self.error else []
        for talk in self.run.talks:
            found += [f"{step.name}: {step.detail}" for step in talk.steps if not step.passed]
        found += [
            f"{check.name}: expected {check.expected}, found {check.found}"
            for check in self.checks
            if not check.passed
        ]
        return found

    @property
    def passed(self) -> bool:
        return not self.failures


def as_text(cases: Sequence[Case]) -> str:
    """For people."""
    lines = []
    for case in cases:
        verdict = "passed" if case.passed else "FAILED"
        lines.append(f"{verdict}  {case.name} [{case.transport}]  {case.seconds:.1f} s")
        lines += [f"    {line}" for line in _story(case)]
        lines += [f"    ! {failure}" for failure in case.failures]
    bad = sum(not case.passed for case in cases)
    lines.append(f"{len(cases)} run, {bad} failed")
    return "\n".join(lines)


def as_json(cases: Sequence[Case]) -> str:
    """One JSON object."""
    return json.dumps({"passed": all(case.passed for case in cases), "cases": [*map(_case, cases)]})


def as_junit(cases: Sequence[Case]) -> str:
    """JUnit's XML, as CI systems read it."""
    bad = sum(not case.passed and not case.error for case in cases)
    broken = sum(bool(case.error) for case in cases)
    suite = Element(
        "testsuite",
        name="sipbot sim",
        tests=str(len(cases)),
        failures=str(bad),
        errors=str(broken),
        time=f"{sum(case.seconds for case in cases):.3f}",
    )
    for case in cases:
        test = SubElement(
            suite,
            "testcase",
            classname=_printable(f"sim.{case.transport}"),
            name=_printable(case.name),
            time=f"{case.seconds:.3f}",
        )
        if not case.passed:
            kind = "error" if case.error else "failure"
            message = _printable(case.failures[0])
            SubElement(test, kind, message=message).text = _printable("\n".join(case.failures))
        SubElement(test, "system-out").text = _printable("\n".join(_story(case)))
    indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(suite, encoding="unicode") + "\n"


def _story(case: Case) -> Iterator[str]:
    for visit in case.run.visits:
        outcome = "" if visit.outcome is None else f" -> {visit.outcome.value}"
        detail = f" ({visit.detail})" if visit.detail else ""
        yield f"{visit.name}: {visit.kind}{outcome}{detail}"
    for talk in case.run.talks:
        for step in talk.steps:
            sign = "+" if step.passed else "-"
            yield f"{sign} {step.at_ms:>6} ms  {step.name}  {step.detail}".rstrip()
    for fault in case.run.faults:
        yield f"breaks a rule: {fault}"


def _case(case: Case) -> dict[str, Any]:
    run = case.run
    return {
        "name": case.name,
        "transport": case.transport,
        "passed": case.passed,
        "seconds": round(case.seconds, 3),
        "failures": case.failures,
        "path": [
            {
                "applet": visit.name,
                "kind": visit.kind,
                "outcome": visit.outcome.value if visit.outcome else None,
                "detail": visit.detail,
            }
            for visit in run.visits
        ],
        "talks": [asdict(talk) for talk in run.talks],
        "checks": [asdict(check) for check in case.checks],
        "stream": None if run.stream is None else _stream(run),
        "faults": run.faults,
    }


def _stream(run: Run) -> dict[str, str]:
    """The outcome of the stream, without its URL, which may hold credentials."""
    fields = {} if run.stream is None else run.stream.fields()
    return {name: value for name, value in fields.items() if name != "StreamUrl"}


def _printable(text: str) -> str:
    """Without what XML cannot hold."""
    return "".join(char for char in text if char in "\n\t" or char >= " ")
