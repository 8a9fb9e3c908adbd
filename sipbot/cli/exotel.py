"""``sipbot exotel``: Exotel's side of things, from here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from sipbot.cli import exotel_call, exotel_trunk
from sipbot.cli.exotel_shared import (
    AccountOption,
    JsonOption,
    connected,
    load_trunk_file,
    quiet_logs,
    read_account,
)
from sipbot.cli.output import ExitCode, fail

_MARKS = {"ok": "ok     ", "warning": "warning", "problem": "PROBLEM"}

app = typer.Typer(
    help="Exotel: trunks, calls, streams. Keys come from EXOTEL_ACCOUNT_SID, EXOTEL_API_KEY,"
    " EXOTEL_API_TOKEN and EXOTEL_REGION (mumbai, singapore), or from a file.",
    no_args_is_help=True,
    epilog="Example: sipbot exotel trunk apply -f trunk.yaml",
)
app.add_typer(exotel_trunk.app, name="trunk")
app.add_typer(exotel_call.app, name="call")


@app.command(epilog="Example: sipbot exotel streams --json")
def streams(account: AccountOption = None, as_json: JsonOption = False) -> None:
    """Say how many AgentStream sessions run, and how many may."""
    found = connected(read_account(account), lambda exotel: exotel.lookups.streams())
    if as_json:
        typer.echo(json.dumps({"active": found.active, "allowed": found.allowed}))
        return
    allowed = "" if found.allowed is None else f" of {found.allowed}"
    typer.echo(f"streams: {found.active}{allowed}")


@app.command(epilog="Example: sipbot exotel doctor -f trunk.yaml --own sip.example.com:5061")
def doctor(
    file: Annotated[
        Path | None, typer.Option("--file", "-f", metavar="FILE", help="The trunk's file.")
    ] = None,
    trunk: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name or sid of the trunk, without a file.")
    ] = None,
    own: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST[:PORT]", help="An address of ours to look at: DNS, port, certificate."
        ),
    ] = None,
    account: AccountOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check keys, region, trunk, numbers, allowed addresses, destinations and certificates.

    Exit code 0 when calls can arrive, 1 when a check found a problem, 2 for mistakes in the
    command or in a file.
    """
    import asyncio

    from sipbot.exotel.rest.doctor import Case, Doctor
    from sipbot.exotel.rest.network import Endpoint
    from sipbot.ops.checks import Grade

    loaded = load_trunk_file(file) if file else None
    keys = read_account(account, loaded.account if loaded else None)
    try:
        endpoints = tuple(Endpoint.parse(one) for one in own or ())
    except ValueError as error:
        fail(f"--own: {error}", ExitCode.USAGE)
    quiet_logs()
    case = Case(trunk, loaded.trunk if loaded else None, endpoints)
    findings = asyncio.run(Doctor(keys).examine(case))
    good = all(one.grade is not Grade.PROBLEM for one in findings)
    if as_json:
        rows = [
            {"check": one.check, "grade": one.grade.value, "message": one.message}
            for one in findings
        ]
        typer.echo(json.dumps({"ok": good, "findings": rows}))
    else:
        for one in findings:
            typer.echo(f"{_MARKS[one.grade.value]}  {one.check}: {one.message}")
    raise typer.Exit(ExitCode.OK if good else ExitCode.FAILED)
