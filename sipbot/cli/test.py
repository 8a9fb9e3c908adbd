"""``sipbot test``: scripted callers talk to the agents of a configuration."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from sipbot.cli.output import ConfigOption, ExitCode, fail, indented, load_config_or_exit
from sipbot.errors import ConfigError, SipbotError

CallFiles: TypeAlias = Annotated[
    list[Path], typer.Argument(metavar="FILE...", exists=True, help="Scripted callers (YAML).")
]


def run_calls(
    files: CallFiles,
    config: ConfigOption = None,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Write JUnit's XML.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FOLDER", file_okay=False, help="Write a page a call.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Let scripted callers talk to the agents of a configuration, over SIP on loopback.

    Exit code 0 when all calls passed, 1 when one failed, 2 for a mistake in a file.
    """
    loaded = load_config_or_exit(config)

    from sipbot.ops import logs
    from sipbot.runtime.sim.output import as_json as json_text
    from sipbot.runtime.sim.output import as_junit, as_text
    from sipbot.runtime.trial.play import load_calls, run_trials
    from sipbot.runtime.trial.report import cases, write_pages

    logs.configure("error", "auto")
    try:
        calls = load_calls(files, os.environ)
        trials = run_trials(calls, loaded.config, loaded.base)
    except ConfigError as error:
        fail(f"a file is wrong\n{indented(error)}", ExitCode.USAGE)
    except SipbotError as error:
        fail(str(error), ExitCode.FAILED)
    found = cases(trials)
    try:
        if junit is not None:
            junit.write_text(as_junit(found), encoding="utf-8")
        if html is not None:
            write_pages(trials, html)
    except OSError as error:
        fail(f"the report cannot be written: {error.strerror}", ExitCode.USAGE)
    typer.echo(json_text(found) if as_json else as_text(found))
    raise typer.Exit(ExitCode.OK if all(one.passed for one in found) else ExitCode.FAILED)
