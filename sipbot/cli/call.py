"""``sipbot call``: a test caller with audio, keys, a recording and a result for scripts."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias

import typer

from sipbot.cli.output import ExitCode, fail
from sipbot.errors import SipbotError, SipSyntaxError

if TYPE_CHECKING:
    from sipbot.runtime.caller_types import CallRequest, CallResult

KEYS: Final = re.compile(r"[0-9*#A-Da-d,]*")
MAX_KEYS: Final = 64  # keys in --dtmf
TRANSPORT_FAILED: Final = "transport-failed"  # reason of a result
MAX_SECONDS: Final = 86_400.0


class Transport(StrEnum):
    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"


class CodecChoice(StrEnum):
    PCMA = "pcma"
    PCMU = "pcmu"


class Srtp(StrEnum):
    OFF = "off"
    SDES = "sdes"


UriArgument: TypeAlias = Annotated[
    str, typer.Argument(help="Whom to call: sip:echo@127.0.0.1:5070")
]
TransportOption: TypeAlias = Annotated[
    Transport | None, typer.Option(help="Default: what the URI says, else udp.")
]
CodecOption: TypeAlias = Annotated[
    CodecChoice | None, typer.Option(help="Offer this codec only. Default: pcma, then pcmu.")
]
SrtpOption: TypeAlias = Annotated[Srtp, typer.Option(help="Encrypt audio, with keys in the SDP.")]
PlayOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="WAV", exists=True, dir_okay=False, help="Play this to the callee."),
]
RecordOption: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="WAV", dir_okay=False, help="Record what is heard.")
]
DtmfOption: TypeAlias = Annotated[
    str, typer.Option(metavar="KEYS", help="Keys to press; a comma waits one second.")
]
SecondsOption: TypeAlias = Annotated[
    float, typer.Option(min=0.1, max=MAX_SECONDS, help="Hang up after this long in the call.")
]
FromOption: TypeAlias = Annotated[str, typer.Option("--from", help="User part of From.")]
InsecureOption: TypeAlias = Annotated[
    bool, typer.Option("--insecure", help="Accept any TLS certificate.")
]
JsonOption: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON object.")
]


def call(
    uri: UriArgument,
    transport: TransportOption = None,
    codec: CodecOption = None,
    srtp: SrtpOption = Srtp.OFF,
    play: PlayOption = None,
    record: RecordOption = None,
    dtmf: DtmfOption = "",
    seconds: SecondsOption = 15.0,
    from_user: FromOption = "sipbot",
    insecure: InsecureOption = False,
    as_json: JsonOption = False,
) -> None:
    """Call a SIP URI, play, press keys, record, and say how it went.

    Exit code 0 when the call was answered, 1 when not.
    """
    from sipbot.runtime.caller_types import CallRequest

    _check_options(dtmf, record)
    request = CallRequest(
        uri=uri if re.match(r"(?i)sips?:", uri) else f"sip:{uri}",
        transport=transport.value if transport else None,
        codec=_codec(codec),
        srtp=srtp.value,
        play=play,
        record=record,
        dtmf=dtmf.upper(),
        seconds=seconds,
        insecure=insecure,
        from_user=from_user,
    )
    result = _place(request)
    typer.echo(as_json_text(result) if as_json else summary(result))
    if result.reason == TRANSPORT_FAILED and transport is Transport.TLS and not insecure:
        typer.echo("sipbot: a self-signed certificate is accepted with --insecure", err=True)
    raise typer.Exit(ExitCode.OK if result.answered else ExitCode.FAILED)


def _check_options(dtmf: str, record: Path | None) -> None:
    if not KEYS.fullmatch(dtmf) or len(dtmf) > MAX_KEYS:
        fail(f"--dtmf takes up to {MAX_KEYS} of 0-9 * # A-D and commas", ExitCode.USAGE)
    if record is not None and not os.access(record.parent, os.W_OK):
        fail(f"--record: the directory {record.parent} cannot be written", ExitCode.USAGE)


def _place(request: CallRequest) -> CallResult:
    """Make the call; what prevents it ends the command with a message."""
    from sipbot.ops import logs
    from sipbot.runtime.caller import place_call

    logs.configure("warning", "auto")  # to standard error: standard output is for the result
    try:
        return place_call(request)
    except SipSyntaxError as error:
        fail(f"this is no URI that can be called: {error.reason}", ExitCode.USAGE)
    except SipbotError as error:
        fail(str(error), ExitCode.FAILED)


def _codec(choice: CodecChoice | None) -> Literal["PCMA", "PCMU"] | None:
    match choice:
        case CodecChoice.PCMA:
            return "PCMA"
        case CodecChoice.PCMU:
            return "PCMU"
    return None


def as_json_text(result: CallResult) -> str:
    """The result as one JSON object; times and rates rounded to three places."""
    values = {
        name: round(value, 3) if isinstance(value, float) else value
        for name, value in dataclasses.asdict(result).items()
    }
    return json.dumps(values)


def summary(result: CallResult) -> str:
    """The result for people."""
    if not result.answered:
        return f"not answered: {result.status or 'no answer'} {result.reason}".rstrip()
    secured = " with SRTP" if result.srtp else ""
    packets = (
        f"packets: {result.packets_sent} sent, {result.packets_received} received,"
        f" {result.lost} lost ({result.loss_percent:.2f} %)"
    )
    lines = [
        f"answered: {result.status} {result.reason}, {result.codec}{secured}",
        f"set-up: {_ms(result.setup_ms)}, ringing after {_ms(result.ring_ms)}",
        f"duration: {result.duration_s:.1f} s, ended by the {result.ended_by}",
        packets,
        f"jitter: {result.jitter_ms:.1f} ms, round trip: {_ms(result.round_trip_ms)}",
    ]
    if result.dtmf_sent:
        lines.append(f"keys pressed: {result.dtmf_sent}")
    if result.recorded_s:
        lines.append(f"recorded: {result.recorded_s:.1f} s")
    return "\n".join(lines)


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"
