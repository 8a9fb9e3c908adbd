"""``sipbot dial``: have a running server call somebody."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

import typer

from sipbot.cli.output import ConfigOption, ExitCode, fail, load_config_or_exit
from sipbot.errors import SipbotError

if TYPE_CHECKING:
    from sipbot.runtime.outbound_client import OrderClient

TOKEN: Final = "SIPBOT_TOKEN"  # environment: instead of http.token of the configuration

NumberArgument: TypeAlias = Annotated[str, typer.Argument(help="Whom to call: +919812345610")]
AgentOption: TypeAlias = Annotated[str, typer.Option("--agent", "-a", help="Who talks to them.")]
TrunkOption: TypeAlias = Annotated[
    str | None, typer.Option("--trunk", "-t", help="May be left out where only one makes calls.")
]
ViaOption: TypeAlias = Annotated[
    str | None, typer.Option(metavar="sip|api", help="How. Default: sip where the trunk can.")
]
ParameterOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--param", "-p", metavar="NAME=VALUE", help="For the agent; may be repeated."),
]
CallerIdOption: TypeAlias = Annotated[
    str, typer.Option(metavar="NUMBER", help="The number that is shown. Default: the trunk's.")
]
RingOption: TypeAlias = Annotated[
    float | None, typer.Option("--ring", min=1, max=300, help="Seconds to ring at most.")
]
WaitOption: TypeAlias = Annotated[bool, typer.Option("--wait", "-w", help="Wait for the end.")]
UrlOption: TypeAlias = Annotated[
    str | None, typer.Option(metavar="URL", help="The server. Default: http.listen of the file.")
]
InsecureOption: TypeAlias = Annotated[
    bool, typer.Option("--insecure", help="Accept any TLS certificate.")
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def dial(
    number: NumberArgument,
    agent: AgentOption,
    trunk: TrunkOption = None,
    via: ViaOption = None,
    param: ParameterOption = None,
    caller_id: CallerIdOption = "",
    ring: RingOption = None,
    wait: WaitOption = False,
    url: UrlOption = None,
    insecure: InsecureOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Have a running server call a number and connect it to an agent.

    The token of its API comes from SIPBOT_TOKEN or from the configuration. Exit code 0 when the
    order was taken; with --wait when somebody answered, else 1.
    """
    order: dict[str, Any] = {"to": number, "agent": agent, "parameters": parameters(param or [])}
    given = {"trunk": trunk, "via": via, "caller_id": caller_id or None, "ring_s": ring}
    order |= {name: value for name, value in given.items() if value is not None}
    client = _client(config, url, insecure)
    try:
        job = client.order(order)
        if wait:
            job = client.wait(job["id"])
    except SipbotError as error:
        fail(str(error), ExitCode.FAILED)
    finally:
        client.close()
    typer.echo(json.dumps(job) if as_json else shown(job))
    answered = not wait or job["outcome"] == "answered"
    raise typer.Exit(ExitCode.OK if answered else ExitCode.FAILED)


def parameters(given: list[str]) -> dict[str, str]:
    """``NAME=VALUE`` texts as a mapping, or exit code 2."""
    found = dict[str, str]()
    for one in given:
        name, sign, value = one.partition("=")
        if not sign or not name:
            fail("--param looks like NAME=VALUE", ExitCode.USAGE)
        found[name] = value
    return found


def shown(job: dict[str, Any]) -> str:
    """A job for people."""
    if job["state"] != "done":
        return f"job {job['id']}: {job['state']}"
    text = f"job {job['id']}: {job['outcome']}"
    if job["outcome"] == "answered":
        return f"{text}, {job['talk_s']:.1f} s, call {job['call_id']}"
    detail = " ".join(str(part) for part in (job["status"] or "", job["detail"]) if part)
    return f"{text} ({detail})" if detail else text


def _client(path: Path | None, url: str | None, insecure: bool) -> OrderClient:
    from sipbot.runtime.outbound_client import OrderClient, server_url

    config = load_config_or_exit(path).config
    found = url or server_url(config)
    if found is None:
        fail("the configuration has no http.listen: name the server with --url", ExitCode.USAGE)
    token = os.environ.get(TOKEN)
    if not token and config.http.token is not None:
        token = config.http.token.get_secret_value()
    return OrderClient(found, token or None, insecure=insecure)
