"""``sipbot check``: what would go wrong, told before it does."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sipbot.cli.output import ConfigOption, ExitCode, fail, indented, load_config
from sipbot.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sipbot.errors import ConfigProblem
    from sipbot.ops.checks import Finding

_MARKS = {"ok": "ok     ", "warning": "warning", "problem": "PROBLEM"}


def check(
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check the configuration and this machine: certificate, ports, addresses, limits, agents.

    Exit code 0 when calls can be taken, 1 when a check found a problem, 2 when the configuration
    is wrong.
    """
    try:
        loaded = load_config(config)
    except ConfigError as error:
        if as_json:
            typer.echo(json.dumps(_report((), error.problems, ok=False)))
            raise typer.Exit(ExitCode.USAGE) from None
        fail(f"the configuration is wrong\n{indented(error)}", ExitCode.USAGE)

    from sipbot.clock import SystemClock
    from sipbot.ops.checks import Finding, Grade
    from sipbot.runtime.preflight import preflight

    odd = (Finding("configuration", Grade.WARNING, str(one)) for one in loaded.warnings)
    read = Finding("configuration", Grade.OK, str(loaded.path))
    findings = (read, *odd, *preflight(loaded.config, loaded.base, SystemClock()))
    ok = all(one.grade is not Grade.PROBLEM for one in findings)
    if as_json:
        typer.echo(json.dumps(_report(findings, (), ok=ok)))
    else:
        for one in findings:
            typer.echo(f"{_MARKS[one.grade.value]}  {one.check}: {one.message}")
    raise typer.Exit(ExitCode.OK if ok else ExitCode.FAILED)


def _report(
    findings: Sequence[Finding], problems: Sequence[ConfigProblem], *, ok: bool
) -> dict[str, Any]:
    return {
        "ok": ok,
        "findings": [
            {"check": one.check, "grade": one.grade.value, "message": one.message}
            for one in findings
        ],
        "problems": [dataclasses.asdict(one) for one in problems],
    }
