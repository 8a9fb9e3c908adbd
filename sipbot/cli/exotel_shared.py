"""What the commands below ``sipbot exotel`` share: keys, files, one client, errors in words."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias, TypeVar

import typer

from sipbot.cli.output import ExitCode, fail, indented
from sipbot.errors import ConfigError

if TYPE_CHECKING:
    from sipbot.exotel.rest.account import Account
    from sipbot.exotel.rest.client import ExotelClient
    from sipbot.exotel.rest.settings import AccountSection
    from sipbot.exotel.rest.trunkfile import Loaded

T = TypeVar("T")

AccountOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--account",
        "-a",
        metavar="FILE",
        help="YAML file with account_sid, api_key, api_token, region. Default: the environment.",
    ),
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
YesOption: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def read_account(path: Path | None, section: AccountSection | None = None) -> Account:
    """Keys from ``path``, else from a file's ``section`` and the environment, or exit code 2."""
    from sipbot.exotel.rest import settings

    try:
        if path is not None:
            return settings.account_from_file(path, os.environ)
        return settings.account(section, os.environ)
    except ConfigError as error:
        fail(f"the account's keys are missing or wrong\n{indented(error)}", ExitCode.USAGE)


def load_trunk_file(path: Path) -> Loaded:
    """The file without mistakes, or exit code 2 with all of them."""
    from sipbot.exotel.rest import trunkfile

    try:
        return trunkfile.load(path, os.environ)
    except ConfigError as error:
        fail(f"the trunk's file is wrong\n{indented(error)}", ExitCode.USAGE)


def connected(account: Account, work: Callable[[ExotelClient], Awaitable[T]]) -> T:
    """The result of ``work`` with a client; what Exotel refuses ends with exit code 1."""
    from sipbot.exotel.rest.errors import ExotelError

    try:
        return attempt(account, work)
    except ExotelError as error:
        fail(str(error), ExitCode.FAILED)


def attempt(account: Account, work: Callable[[ExotelClient], Awaitable[T]]) -> T:
    """The result of ``work`` with a client. Raises ``ExotelError``."""
    import asyncio

    from sipbot.exotel.rest.client import ExotelClient

    async def run() -> T:
        async with ExotelClient(account) as exotel:
            return await work(exotel)

    quiet_logs()
    return asyncio.run(run())


def quiet_logs() -> None:
    """Warnings, such as repeated requests, to standard error: standard output is for results."""
    from sipbot.ops import logs

    logs.configure("warning", "auto")


def confirm(question: str, *, yes: bool) -> None:
    """Go on, or end the command: with code 1 after a no, with 2 where nobody can be asked."""
    import sys

    if yes:
        return
    if not sys.stdin.isatty():
        fail("nothing was done: say --yes where nobody can be asked", ExitCode.USAGE)
    if not typer.confirm(question, err=True):
        fail("nothing was done", ExitCode.FAILED)
