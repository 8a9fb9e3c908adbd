"""What the commands share: exit codes, messages to people, reading the configuration."""

from __future__ import annotations

import os
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeAlias

import typer

from sipbot.errors import ConfigError

if TYPE_CHECKING:
    from sipbot.ops.load import Loaded


class ExitCode(IntEnum):
    """What a command's exit code says."""

    OK = 0
    FAILED = 1  # the thing itself failed
    USAGE = 2  # a mistake in the command or in the configuration


ConfigOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="Configuration file. Without it: the default that comes with sipbot.",
    ),
]


def fail(message: str, code: ExitCode) -> NoReturn:
    """End the command with one message on standard error."""
    typer.echo(f"sipbot: {message}", err=True)
    raise typer.Exit(code)


def load_config(path: Path | None) -> Loaded:
    """Read the configuration, or raise ``ConfigError`` with every mistake in it."""
    from sipbot.ops.load import load  # here, because pydantic is slow to import

    return load(path, os.environ)


def load_config_or_exit(path: Path | None) -> Loaded:
    """``load_config``; mistakes are shown on standard error and end the command with code 2."""
    try:
        return load_config(path)
    except ConfigError as error:
        fail(f"the configuration is wrong\n{indented(error)}", ExitCode.USAGE)


def indented(error: ConfigError) -> str:
    """The problems, one a line."""
    return "\n".join(f"  {problem}" for problem in error.problems)
