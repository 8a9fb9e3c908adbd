"""``sipbot sim``: plays Exotel towards a bot, for tests of whole conversations."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from sipbot.cli.output import ExitCode, fail, indented
from sipbot.errors import ConfigError, SipbotError

if TYPE_CHECKING:
    from sipbot.runtime.sim.output import Loaded, TransportName

app = typer.Typer(
    help="Play Exotel towards a bot: flows, callers, assertions, reports.", no_args_is_help=True
)


class Leg(StrEnum):
    SIP = "sip"
    STREAM = "stream"


FilesArgument: TypeAlias = Annotated[
    list[Path], typer.Argument(metavar="FILE...", exists=True, help="Scenario files (YAML).")
]
BotOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--bot",
        metavar="URL",
        help="Where the bot is: sip:..., ws(s)://... (or http(s)://... for callbacks). May be"
        " given once for each kind.",
    ),
]
TransportOption: TypeAlias = Annotated[
    list[Leg] | None, typer.Option(help="Run only these. Default: what each scenario says.")
]
JunitOption: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Write JUnit's XML.")
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
InsecureOption: TypeAlias = Annotated[
    bool, typer.Option("--insecure", help="Accept any TLS certificate.")
]


@app.command(
    epilog="Example: sipbot sim run config/sim/reception.yaml"
    " --bot 'sip:reception@127.0.0.1:5070;transport=tcp' --junit report.xml"
)
def run(
    files: FilesArgument,
    bot: BotOption = None,
    transport: TransportOption = None,
    junit: JunitOption = None,
    as_json: JsonOption = False,
    insecure: InsecureOption = False,
) -> None:
    """Play scenarios against a running bot.

    Exit code 0 when all passed, 1 when one failed, 2 for a mistake in a file or in the command.
    """
    scenarios = _load(files)
    addresses = _addresses(bot or [])

    from sipbot.ops import logs
    from sipbot.runtime.sim.output import as_json as json_text
    from sipbot.runtime.sim.output import as_junit, as_text
    from sipbot.runtime.sim.run import Wish, missing, run_all

    logs.configure("warning", "auto")  # to standard error: standard output is for the report
    wanted: tuple[TransportName, ...] = tuple(leg.value for leg in transport or ())
    wish = Wish(addresses, wanted, insecure)
    unknown = missing(scenarios, wish)
    if unknown:
        fail("\n".join(("the bot's address is not known", *unknown)), ExitCode.USAGE)
    try:
        cases = run_all(scenarios, wish)
    except SipbotError as error:
        fail(str(error), ExitCode.FAILED)
    if not cases:
        fail("no scenario runs over the transports asked for", ExitCode.USAGE)
    if junit is not None:
        _write(junit, as_junit(cases))
    typer.echo(json_text(cases) if as_json else as_text(cases))
    raise typer.Exit(ExitCode.OK if all(case.passed for case in cases) else ExitCode.FAILED)


@app.command(epilog="Example: sipbot sim check config/sim/reception.yaml")
def check(files: FilesArgument) -> None:
    """Find mistakes in scenario files, without calling anybody."""
    for loaded in _load(files):
        typer.echo(f"{loaded.file}: {', '.join(loaded.scenario.transport)}: no mistakes")


@app.command(
    epilog="Example: sipbot sim api --port 8090, then EXOTEL_BASE_URL=http://127.0.0.1:8090"
)
def api(
    port: Annotated[int, typer.Option(min=1, max=65_535)] = 8090,
    account_sid: Annotated[str, typer.Option(help="The one account that it knows.")] = "acme1",
    key: Annotated[str, typer.Option(help="Its API key.")] = "key1",
    token: Annotated[str, typer.Option(help="Its API token.")] = "token1",
    exophone: Annotated[list[str] | None, typer.Option(metavar="NUMBER")] = None,
) -> None:
    """Serve a stand-in for Exotel's REST interfaces on 127.0.0.1, until Ctrl-C."""
    from sipbot.runtime.sim.api import serve

    typer.echo(f"ready: http://127.0.0.1:{port} account {account_sid}", err=True)
    serve(port, account_sid, key, token, exophone or [])


def _load(files: list[Path]) -> list[Loaded]:
    """The scenarios without mistakes, or exit code 2 with the mistakes."""
    from sipbot.runtime.sim.run import load_all

    try:
        return load_all(files, os.environ)
    except ConfigError as error:
        fail(f"the scenario is wrong\n{indented(error)}", ExitCode.USAGE)


def _addresses(urls: list[str]) -> dict[str, str]:
    """``--bot`` by what it is, or exit code 2."""
    from sipbot.runtime.sim.run import kind_of

    found: dict[str, str] = {}
    for url in urls:
        kind = kind_of(url)
        if kind is None:
            fail("--bot takes sip:, sips:, ws://, wss://, http:// or https://", ExitCode.USAGE)
        if kind in found:
            fail(f"--bot: two addresses for {kind}", ExitCode.USAGE)
        found[kind] = url
    return found


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"--junit: {path} cannot be written: {error.strerror}", ExitCode.USAGE)
