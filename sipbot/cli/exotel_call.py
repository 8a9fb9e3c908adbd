"""``sipbot exotel call``: calls that Exotel makes, and what became of them."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from sipbot.cli.exotel_shared import AccountOption, JsonOption, connected, read_account
from sipbot.cli.output import ExitCode, fail

if TYPE_CHECKING:
    from sipbot.exotel.rest.calls import CallOptions
    from sipbot.exotel.rest.values import CallRecord

CallerIdOption: TypeAlias = Annotated[
    str, typer.Option(metavar="EXOPHONE", help="The number that is shown: one of the account.")
]
ToOption: TypeAlias = Annotated[str, typer.Option("--to", metavar="NUMBER", help="Whom to ring.")]
RingOption: TypeAlias = Annotated[
    int | None, typer.Option("--ring", min=1, help="Seconds to ring at most.")
]
LimitOption: TypeAlias = Annotated[
    int | None, typer.Option("--time-limit", min=1, max=14_400, help="Longest call, in seconds.")
]
RecordOption: TypeAlias = Annotated[bool, typer.Option("--record", help="Let Exotel record it.")]
CustomOption: TypeAlias = Annotated[
    str, typer.Option("--custom-field", help="Comes back in callbacks; 128 characters at most.")
]
CallbackOption: TypeAlias = Annotated[
    str, typer.Option("--status-callback", metavar="URL", help="Where Exotel tells the end.")
]

app = typer.Typer(
    help="Calls that Exotel makes, and what became of them.",
    no_args_is_help=True,
    epilog="Example: sipbot exotel call voicebot --to +919812345610 --caller-id 08012345678"
    " --stream-url wss://bot.example.com/exotel/voicebot/reception",
)


@app.command(
    epilog="Example: sipbot exotel call connect --first +919812345610 --to +919812345611"
    " --caller-id 08012345678"
)
def connect(
    first: Annotated[str, typer.Option(metavar="NUMBER", help="Who is rung first.")],
    to: ToOption,
    caller_id: CallerIdOption,
    ring: RingOption = None,
    time_limit: LimitOption = None,
    record: RecordOption = False,
    custom_field: CustomOption = "",
    status_callback: CallbackOption = "",
    account: AccountOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ring two numbers and connect them."""
    options = _options(ring, time_limit, record, custom_field, status_callback)
    keys = read_account(account)
    call = connected(keys, lambda one: one.calls.connect(first, to, caller_id, options))
    typer.echo(_shown(call, as_json))


@app.command(
    epilog="Example: sipbot exotel call flow --to +919812345610 --caller-id 08012345678"
    " --app-id 123456"
)
def flow(
    to: ToOption,
    caller_id: CallerIdOption,
    app_id: Annotated[str, typer.Option(help="The flow's number in App Bazaar.")],
    ring: RingOption = None,
    time_limit: LimitOption = None,
    record: RecordOption = False,
    custom_field: CustomOption = "",
    status_callback: CallbackOption = "",
    account: AccountOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ring a number and take it through a flow of the account."""
    options = _options(ring, time_limit, record, custom_field, status_callback)
    keys = read_account(account)
    call = connected(keys, lambda one: one.calls.flow(to, caller_id, app_id, options))
    typer.echo(_shown(call, as_json))


@app.command(
    epilog="Example: sipbot exotel call voicebot --to +919812345610 --caller-id 08012345678"
    " --stream-url wss://bot.example.com/exotel/voicebot/reception"
)
def voicebot(
    to: ToOption,
    caller_id: CallerIdOption,
    stream_url: Annotated[str, typer.Option(metavar="WSS-URL", help="The agent's WebSocket.")],
    time_limit: LimitOption = None,
    record: RecordOption = False,
    custom_field: CustomOption = "",
    status_callback: CallbackOption = "",
    account: AccountOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ring a number and stream the call to an agent (Connect Voice AI)."""
    from sipbot.exotel.rest.client import ExotelClient

    options = _options(None, time_limit, record, custom_field, status_callback)

    async def start(exotel: ExotelClient) -> CallRecord:
        return await exotel.calls.voice_ai(to, caller_id, stream_url, options=options)

    try:
        call = connected(read_account(account), start)
    except ValueError as error:
        fail(f"--stream-url: {error}", ExitCode.USAGE)
    typer.echo(_shown(call, as_json))


@app.command(epilog="Example: sipbot exotel call show 80bfbec2d78bbbf10fb851f4fa165211 --json")
def show(
    sid: Annotated[str, typer.Argument(help="The call's Sid.")],
    account: AccountOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what became of a call. Duration and price are final some minutes after its end."""
    call = connected(read_account(account), lambda exotel: exotel.calls.get(sid))
    typer.echo(_shown(call, as_json))


@app.command("list", epilog='Example: sipbot exotel call list --since "2026-01-01 00:00:00" --json')
def list_(
    since: Annotated[str, typer.Option(metavar="TIME", help="YYYY-MM-DD HH:MM:SS")] = "",
    until: Annotated[str, typer.Option(metavar="TIME", help="At most a month later.")] = "",
    status: Annotated[str, typer.Option(help="completed, failed, busy, no-answer")] = "",
    number: Annotated[int, typer.Option("--number", "-n", min=1, max=100, help="At most.")] = 50,
    account: AccountOption = None,
    as_json: JsonOption = False,
) -> None:
    """List calls that have ended, the newest first."""
    filters = {"Status": status} if status else {}
    page = connected(
        read_account(account),
        lambda exotel: exotel.calls.list(
            since=since, until=until, page_size=number, filters=filters
        ),
    )
    if as_json:
        calls = [_values(call) for call in page.calls]
        typer.echo(json.dumps({"calls": calls, "more": page.after is not None}))
        return
    for call in page.calls:
        seconds = "-" if call.duration_s is None else f"{call.duration_s} s"
        typer.echo(f"{call.sid}  {call.started}  {call.direction}  {call.status}  {seconds}")
    if not page.calls:
        typer.echo("no calls")


def _options(
    ring: int | None, time_limit: int | None, record: bool, custom_field: str, callback: str
) -> CallOptions:
    from sipbot.exotel.rest.calls import CallOptions

    try:
        return CallOptions(
            ring_s=ring,
            time_limit_s=time_limit,
            record=record,
            custom_field=custom_field,
            status_callback=callback,
            status_events=("terminal",) if callback else (),
        )
    except ValueError as error:
        fail(str(error), ExitCode.USAGE)


def _values(call: CallRecord) -> dict[str, Any]:
    return dataclasses.asdict(call)


def _shown(call: CallRecord, as_json: bool) -> str:
    if as_json:
        return json.dumps(_values(call))
    rows = [f"call {call.sid}: {call.status}"]
    if call.started:
        rows.append(f"started: {call.started}, ended: {call.ended or '-'}")
    if call.duration_s is not None:
        rows.append(f"duration: {call.duration_s} s, price: {call.price or '-'}")
    if call.leg_statuses:
        rows.append(f"legs: {', '.join(call.leg_statuses)}")
    if call.recording_url:
        rows.append(f"recording: {call.recording_url}")
    return "\n".join(rows)
