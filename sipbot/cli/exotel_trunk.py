"""``sipbot exotel trunk``: trunks brought to the state of a file, listed, shown, deleted."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeAlias

import typer

from sipbot.cli.exotel_shared import (
    AccountOption,
    JsonOption,
    YesOption,
    attempt,
    confirm,
    connected,
    load_trunk_file,
    read_account,
)
from sipbot.cli.output import ExitCode, fail

if TYPE_CHECKING:
    from sipbot.exotel.rest.account import Account
    from sipbot.exotel.rest.plan import Plan, Step
    from sipbot.exotel.rest.state import State
    from sipbot.exotel.rest.trunkfile import TrunkSection

_SIGNS = {"create": "+", "change": "~", "remove": "-"}

FileOption: TypeAlias = Annotated[
    Path, typer.Option("--file", "-f", metavar="FILE", help="What the trunk is to be.")
]
RotateOption: TypeAlias = Annotated[
    bool,
    typer.Option("--rotate-passwords", help="Set all passwords: Exotel never tells the old ones."),
]
NameArgument: TypeAlias = Annotated[str, typer.Argument(metavar="TRUNK", help="Its name or sid.")]

app = typer.Typer(
    help="Trunks of the Exotel account.",
    no_args_is_help=True,
    epilog="Example: sipbot exotel trunk plan -f trunk.yaml",
)


@app.command(epilog="Example: sipbot exotel trunk plan -f trunk.yaml --check")
def plan(
    file: FileOption,
    account: AccountOption = None,
    rotate_passwords: RotateOption = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit code 1 when something would change.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what apply would do. Changes nothing."""
    loaded = load_trunk_file(file)
    keys = read_account(account, loaded.account)
    made = _plan(keys, loaded.trunk, rotate_passwords)
    typer.echo(json.dumps(_as_json(made)) if as_json else _as_text(made))
    bad = made.problems or (check and made.steps)
    raise typer.Exit(ExitCode.FAILED if bad else ExitCode.OK)


@app.command(epilog="Example: sipbot exotel trunk apply -f trunk.yaml --yes --json")
def apply(
    file: FileOption,
    account: AccountOption = None,
    rotate_passwords: RotateOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Bring a trunk to the state of a file: create it, change it, or leave it as it is.

    What it will do is shown and asked about first. A second run does nothing.
    """
    loaded = load_trunk_file(file)
    keys = read_account(account, loaded.account)
    made = _plan(keys, loaded.trunk, rotate_passwords)
    if not as_json:
        typer.echo(_as_text(made))
    if made.problems:
        if as_json:
            typer.echo(json.dumps(_as_json(made, done=[])))
        raise typer.Exit(ExitCode.FAILED)
    if made.steps:
        confirm("Do this?", yes=yes)
    _carry_out(keys, loaded.trunk, made, as_json=as_json)


def _plan(keys: Account, wanted: TrunkSection, rotate_passwords: bool) -> Plan:
    from sipbot.exotel.rest import apply as applying

    return connected(
        keys,
        lambda exotel: applying.plan(exotel, wanted, rotate_passwords=rotate_passwords),
    )


def _carry_out(keys: Account, wanted: TrunkSection, made: Plan, *, as_json: bool) -> None:
    from sipbot.exotel.rest import apply as applying
    from sipbot.exotel.rest.errors import ExotelError

    done: list[Step] = []

    def tell(step: Step) -> None:
        done.append(step)
        if not as_json:
            typer.echo(f"done: {step.verb.value} {step.kind.value} {step.subject}")

    sid = made.sid
    failure: ExotelError | None = None
    if made.steps:
        try:
            sid = attempt(keys, lambda exotel: applying.apply(exotel, wanted, made, tell))
        except ExotelError as error:
            failure = error
    if as_json:
        error_text = None if failure is None else str(failure)
        shown = _as_json(dataclasses.replace(made, sid=sid), done=done)
        typer.echo(json.dumps({**shown, "error": error_text}))
    if failure is not None:
        _failed(failure, len(done), len(made.steps))
    if not as_json and made.steps:
        typer.echo(f"the trunk {wanted.name} is as the file says: {sid}")


def _failed(failure: Exception, done: int, steps: int) -> NoReturn:
    text = f"{failure}\n  {done} of {steps} steps are done; run it again for the rest"
    fail(text, ExitCode.FAILED)


@app.command("list", epilog="Example: sipbot exotel trunk list --json")
def list_(account: AccountOption = None, as_json: JsonOption = False) -> None:
    """List the trunks of the account."""
    trunks = connected(read_account(account), lambda exotel: exotel.trunks.all())
    if as_json:
        typer.echo(json.dumps({"trunks": [dataclasses.asdict(one) for one in trunks]}))
        return
    for one in trunks:
        typer.echo(f"{one.sid}  {one.name}  {one.status}  {one.domain}")
    if not trunks:
        typer.echo("no trunks")


@app.command(epilog="Example: sipbot exotel trunk show front_desk --json")
def show(trunk: NameArgument, account: AccountOption = None, as_json: JsonOption = False) -> None:
    """Show a trunk with its numbers, allowed addresses, destinations, credentials and alias."""
    state = _state(read_account(account), trunk)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(state), default=lambda mode: mode.value))
    else:
        typer.echo(_state_text(state))


@app.command(epilog="Example: sipbot exotel trunk delete front_desk --yes")
def delete(
    trunk: NameArgument,
    account: AccountOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Delete a trunk with everything that belongs to it. This cannot be undone."""
    keys = read_account(account)
    state = _state(keys, trunk)
    sid = state.trunk.sid if state.trunk else trunk
    if not as_json:
        typer.echo(_state_text(state))
    confirm("Delete all of this?", yes=yes)
    connected(keys, lambda exotel: exotel.trunks.delete(sid))
    typer.echo(json.dumps({"deleted": sid}) if as_json else f"deleted: {sid}")


def _state(keys: Account, name: str) -> State:
    from sipbot.exotel.rest import state
    from sipbot.exotel.rest.client import ExotelClient

    async def read(exotel: ExotelClient) -> State:
        return await state.read(exotel, await state.find(exotel, name))

    found = connected(keys, read)
    if found.trunk is None:
        fail(f"there is no trunk {name}", ExitCode.FAILED)
    return found


def _state_text(state: State) -> str:
    trunk = state.trunk
    if trunk is None:
        return ""
    rows = [f"trunk        {trunk.name}  {trunk.sid}  {trunk.status}  {trunk.domain}"]
    rows += [f"number       {one.number}  mode {one.mode.value}" for one in state.numbers]
    rows += [f"allowed      {one.network}" for one in state.allowed_ips]
    rows += [
        f"destination  {one.uri}  priority {one.priority}, weight {one.weight}"
        for one in state.destinations
    ]
    rows += [f"credentials  {one.user_name}  {one.friendly_name}" for one in state.credentials]
    rows += [f"alias        {state.alias}"] if state.alias else []
    return "\n".join(row.rstrip() for row in rows)


def _as_text(made: Plan) -> str:
    rows = [_row(step) for step in made.steps]
    rows += [f"PROBLEM  {problem}" for problem in made.problems]
    if not rows:
        return f"the trunk {made.name} is as the file says: nothing to do"
    return "\n".join([f"trunk {made.name} ({made.sid or 'new'}):", *rows])


def _row(step: Step) -> str:
    detail = f" ({step.detail})" if step.detail else ""
    return f"  {_SIGNS[step.verb.value]} {step.kind.value} {step.subject}{detail}"


def _as_json(made: Plan, *, done: list[Step] | None = None) -> dict[str, Any]:
    content: dict[str, Any] = {
        "trunk": made.name,
        "sid": made.sid,
        "steps": [
            {
                "verb": step.verb.value,
                "kind": step.kind.value,
                "subject": step.subject,
                "detail": step.detail,
            }
            for step in made.steps
        ],
        "problems": list(made.problems),
    }
    if done is not None:
        content["done"] = len(done)
    return content
