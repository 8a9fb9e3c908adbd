"""``sipbot campaign``: lists of numbers to be called."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

import typer

from sipbot.cli.output import ConfigOption, ExitCode, fail, load_config_or_exit
from sipbot.errors import SipbotError

if TYPE_CHECKING:
    from sipbot.outbound.csvfiles import NumberList
    from sipbot.runtime.outbound_admin import Campaign, CampaignDesk

T = TypeVar("T")

NameArgument: TypeAlias = Annotated[str, typer.Argument(help="Name of the campaign.")]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
NumbersArgument: TypeAlias = Annotated[
    Path,
    typer.Argument(
        exists=True, dir_okay=False, help="CSV with a column number; the others are parameters."
    ),
]

app = typer.Typer(
    help="Lists of numbers to be called, kept in the store of the configuration.",
    no_args_is_help=True,
    epilog="Example: sipbot campaign load diwali numbers.csv --agent survey --trunk exotel"
    " --window 'mon-sat 10:00-19:00' --attempts 3 --retry busy=300,900 --retry no-answer=3600",
)
dnc = typer.Typer(
    help="Numbers that are never called.",
    no_args_is_help=True,
    epilog="Example: sipbot campaign dnc add +919812345610",
)
app.add_typer(dnc, name="dnc")


@app.command(
    epilog="Example: sipbot campaign load diwali numbers.csv --agent survey --trunk exotel"
)
def load(
    name: NameArgument,
    numbers: NumbersArgument,
    agent: Annotated[str, typer.Option("--agent", "-a", help="Who talks to them.")],
    trunk: Annotated[str, typer.Option("--trunk", "-t", help="By which trunk.")],
    via: Annotated[str, typer.Option(metavar="sip|api", help="How.")] = "sip",
    caller_id: Annotated[str, typer.Option(metavar="NUMBER", help="Default: the trunk's.")] = "",
    ring: Annotated[float, typer.Option(min=1, max=300, help="Seconds to ring at most.")] = 45.0,
    window: Annotated[
        list[str] | None,
        typer.Option(metavar="WHEN", help="'mon-fri 09:00-18:00'; may be repeated."),
    ] = None,
    zone: Annotated[str, typer.Option(help="Time zone of the windows.")] = "Asia/Kolkata",
    attempts: Annotated[int, typer.Option(min=1, max=20, help="Attempts a number, at most.")] = 1,
    retry: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OUTCOME=SECONDS,...",
            help="Waits before the second, third ... attempt after busy, no-answer, declined,"
            " refused, failed or unknown; may be repeated.",
        ),
    ] = None,
    max_calls: Annotated[int | None, typer.Option(min=1, help="Calls at the same time.")] = None,
    per_minute: Annotated[int | None, typer.Option(min=1, help="Calls begun a minute.")] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Make a campaign of a list, or add numbers to it. It calls nobody before it is started.

    Bad rows are told with their lines and left out; then the exit code is 1.
    """
    from sipbot.outbound.plan import Plan

    plain = {
        "agent": agent,
        "trunk": trunk,
        "via": via,
        "caller_id": caller_id,
        "ring_s": ring,
        "zone": zone,
        "windows": window or [],
        "attempts": attempts,
        "retries": _delays(retry or []),
        "max_calls": max_calls,
        "per_minute": per_minute,
    }
    try:
        plan = Plan.parse(plain)
    except ValueError as error:
        fail(f"the campaign is not possible: {error}", ExitCode.USAGE)
    text = _text(numbers)
    loaded = _at_desk(config, lambda desk: desk.load(name, plan, text))
    _tell_problems(loaded.listed, numbers)
    if as_json:
        typer.echo(json.dumps({"added": loaded.added, "bad": loaded.listed.bad}))
    else:
        typer.echo(f"campaign {name}: {loaded.added} numbers added")
    raise typer.Exit(ExitCode.FAILED if loaded.listed.bad else ExitCode.OK)


@app.command(epilog="Example: sipbot campaign start diwali")
def start(name: NameArgument, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Start a campaign, or go on with one that was stopped."""
    _show(_at_desk(config, lambda desk: desk.run(name, running=True)), as_json)


@app.command(epilog="Example: sipbot campaign stop diwali")
def stop(name: NameArgument, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Begin no more calls; those under way go on."""
    _show(_at_desk(config, lambda desk: desk.run(name, running=False)), as_json)


@app.command(epilog="Example: sipbot campaign status diwali --json")
def status(
    name: Annotated[str | None, typer.Argument(help="Default: all of them.")] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Say where campaigns stand."""
    if name is not None:
        _show(_at_desk(config, lambda desk: desk.get(name)), as_json)
        return
    found = _at_desk(config, lambda desk: desk.all())
    if as_json:
        typer.echo(json.dumps([_values(one) for one in found]))
        return
    for one in found:
        typer.echo(_line(one))
    if not found:
        typer.echo("no campaigns")


@app.command(epilog="Example: sipbot campaign results diwali -o results.csv")
def results(
    name: NameArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="CSV", help="Default: standard output.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Write every number with what came of it, as CSV."""
    if output is None:
        _at_desk(config, lambda desk: desk.results(name, sys.stdout))
        return
    try:
        with output.open("w", encoding="utf-8", newline="") as out:
            count = _at_desk(config, lambda desk: desk.results(name, out))
    except OSError as error:
        fail(f"cannot write {output}: {error.strerror}", ExitCode.FAILED)
    typer.echo(f"{count} numbers written to {output}")


@app.command(epilog="Example: sipbot campaign remove diwali --yes")
def remove(
    name: NameArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: ConfigOption = None,
) -> None:
    """Forget a campaign with its results."""
    if not yes:
        if not sys.stdin.isatty():
            fail("nothing was done: say --yes where nobody can be asked", ExitCode.USAGE)
        if not typer.confirm(f"Forget {name} and its results?", err=True):
            fail("nothing was done", ExitCode.FAILED)
    _at_desk(config, lambda desk: desk.remove(name))
    typer.echo(f"campaign {name} removed")


@dnc.command("add", epilog="Example: sipbot campaign dnc add +919812345610")
def dnc_add(
    numbers: Annotated[list[str], typer.Argument(help="Numbers.")], config: ConfigOption = None
) -> None:
    """Never call these numbers; jobs that wait for them are done."""
    added = _at_desk(config, lambda desk: desk.never_call(numbers))
    typer.echo(f"{added} numbers added")


@dnc.command("load", epilog="Example: sipbot campaign dnc load never.csv")
def dnc_load(numbers: NumbersArgument, config: ConfigOption = None) -> None:
    """Add the numbers of a CSV file. Bad rows are told; then the exit code is 1."""
    from sipbot.outbound.csvfiles import read_numbers

    try:
        listed = read_numbers(_text(numbers))
    except ValueError as error:
        fail(f"{numbers}: {error}", ExitCode.USAGE)
    given = [row.number for row in listed.rows]
    added = _at_desk(config, lambda desk: desk.never_call(given))
    _tell_problems(listed, numbers)
    typer.echo(f"{added} numbers added")
    raise typer.Exit(ExitCode.FAILED if listed.bad else ExitCode.OK)


@dnc.command("remove", epilog="Example: sipbot campaign dnc remove +919812345610")
def dnc_remove(
    number: Annotated[str, typer.Argument(help="The number.")], config: ConfigOption = None
) -> None:
    """Take a number off the list."""
    if not _at_desk(config, lambda desk: desk.may_call(number)):
        fail("this number is not on the list", ExitCode.FAILED)
    typer.echo("removed")


@dnc.command("list", epilog="Example: sipbot campaign dnc list > never.csv")
def dnc_list(config: ConfigOption = None) -> None:
    """Print the list, as a CSV file that `load` takes."""
    typer.echo("number")
    for number in _at_desk(config, lambda desk: desk.never_called()):
        typer.echo(number)


def _at_desk(path: Path | None, work: Callable[[CampaignDesk], Awaitable[T]]) -> T:
    """The result of ``work`` over the store of the configuration, or an exit code."""
    from sipbot.ops import logs
    from sipbot.runtime.outbound_admin import NotPossible, at_desk

    config = load_config_or_exit(path).config
    logs.configure("warning", "auto")
    try:
        return at_desk(config, work)
    except (NotPossible, ValueError) as error:
        fail(str(error), ExitCode.USAGE)
    except SipbotError as error:
        fail(str(error), ExitCode.FAILED)


def _delays(given: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in given:
        outcome, sign, seconds = one.partition("=")
        if not sign or outcome in found:
            fail("--retry looks like busy=300,900, each outcome once", ExitCode.USAGE)
        found[outcome] = seconds.split(",")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        fail(f"{path}: cannot be read as UTF-8 text", ExitCode.USAGE)


def _tell_problems(listed: NumberList, path: Path) -> None:
    for problem in listed.problems:
        typer.echo(f"{path}: {problem}", err=True)
    if listed.bad > len(listed.problems):
        typer.echo(f"{path}: {listed.bad - len(listed.problems)} more bad rows", err=True)


def _show(campaign: Campaign, as_json: bool) -> None:
    typer.echo(json.dumps(_values(campaign)) if as_json else _line(campaign))


def _values(campaign: Campaign) -> dict[str, Any]:
    return {
        "name": campaign.name,
        "running": campaign.running,
        "finished": campaign.finished,
        "jobs": campaign.jobs,
        "states": {state.value: count for state, count in campaign.states.items()},
        "outcomes": {outcome.value: count for outcome, count in campaign.outcomes.items()},
        "plan": campaign.plan.plain(),
    }


def _line(campaign: Campaign) -> str:
    state = "finished" if campaign.finished else "running" if campaign.running else "stopped"
    counts = {one.value: count for one, count in campaign.states.items() if one.value != "done"}
    counts |= {one.value: count for one, count in campaign.outcomes.items()}
    told = ", ".join(f"{count} {name}" for name, count in counts.items())
    return f"{campaign.name}: {state}, {campaign.jobs} numbers" + (f" ({told})" if told else "")
