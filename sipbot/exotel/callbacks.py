"""What Exotel's applets and status callbacks say, in whichever encoding they say it. No I/O.

Query, form, multipart and JSON carry the same names. ``Stream`` comes flat (``Stream[Status]``) or
as one JSON text, sometimes with a brace too many; ``digits`` stand in double quotes; numbers may
begin with a stray quote, or with a space where a ``+`` was not escaped. Whatever cannot be read is
left out: a callback is answered in any case.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.parser import BytesParser
from email.policy import HTTP
from enum import Enum
from types import MappingProxyType
from typing import Any, Final, TypeAlias
from urllib.parse import unquote_plus

MAX_FIELDS: Final = 256  # values of one callback; more are left out
MAX_VALUE: Final = 4_096  # characters of one value; the rest is cut off
MAX_ID: Final = 128  # characters of a CallSid
_MAX_DEPTH: Final = 4  # objects within objects
_NESTED: Final = ("stream", "legs", "sipcustomheader", "call")  # may come as JSON texts
_QUOTES: Final = "\"'“”"
_PAIR: Final = re.compile(r'"([^"\\]{1,64})"\s*:\s*(?:"((?:[^"\\]|\\.)*)"|(-?[0-9.]+|true|false))')
_SPACED_NUMBER: Final = re.compile(r" +([0-9]{7,15})")

Pair: TypeAlias = tuple[str, str]


class Stage(Enum):
    """Where in the flow a Passthru applet stands. The value is how URLs name it."""

    BOT = "bot"  # after the bot: is the caller to be connected?
    TALKED = "call-end"  # Connect: after the conversation
    NO_ANSWER = "no-answer"  # Connect: nobody answered
    NO_DIAL = "no-dial"  # Connect: nobody was dialled


# The names of the flow in Exotel's own document, for those who built theirs after it.
_STAGES: Final = {one.value: one for one in Stage} | {
    "call_end": Stage.TALKED,
    "nobody_ans": Stage.NO_ANSWER,
    "didnt_dial_anyone": Stage.NO_DIAL,
}
# Fact -> names that it has been seen under, the best first.
_FACTS: Final[dict[str, tuple[str, ...]]] = {
    "status": ("callstatus", "status", "call[status]"),
    "call_type": ("calltype",),
    "direction": ("direction", "call[direction]"),
    "event_type": ("eventtype",),
    "flow_id": ("flow_id",),
    "custom_field": ("customfield", "call[customfield]"),
    "recording_url": ("recordingurl", "stream[recordingurl]", "call[recordingurl]"),
    "dial_status": ("dialcallstatus",),
    "dialled": ("dialwhomnumber",),
    "dial_duration_s": ("dialcallduration",),
    "conversation_s": ("conversationduration",),
    "duration_s": ("duration",),
    "answered_by": ("answeredby", "legs[0][answeredby]", "call[answeredby]"),
    "leg1_ringing_s": ("leg1ringingduration",),
    "leg1_status": ("legs[0][status]",),
    "leg2_status": ("legs[1][status]",),
    "stream_sid": ("stream[streamsid]",),
    "stream_status": ("stream[status]",),
    "stream_duration_s": ("stream[duration]",),
    "disconnected_by": ("stream[disconnectedby]",),
    "detailed_status": ("stream[detailedstatus]",),
    "disposition": ("stream[disposition]", "disposition"),
    "stream_error": ("stream[error]",),
}


@dataclass(frozen=True, slots=True)
class Callback:
    """One request of Exotel. ``values`` have lower-case names: ``stream[status]``, ``callsid``."""

    values: Mapping[str, str]

    def get(self, *names: str) -> str:
        """The first of these that says something, or an empty text."""
        return next((self.values[name] for name in names if self.values.get(name)), "")

    @property
    def call_sid(self) -> str:
        """Empty when it is missing or cannot be one."""
        sid = self.get("callsid", "sid", "call[sid]")
        return sid if len(sid) <= MAX_ID and sid.isprintable() else ""

    @property
    def caller(self) -> str:
        return self.get("callfrom", "from", "call[from]")

    @property
    def callee(self) -> str:
        return self.get("callto", "to", "call[to]")

    @property
    def stream_sid(self) -> str:
        return self.get("stream[streamsid]")

    @property
    def dialled(self) -> str:
        """Whom the Connect applet tried last."""
        return self.get("dialwhomnumber")

    @property
    def sip_headers(self) -> Mapping[str, str]:
        """What StreamKit took from SIP, as on a SIP call: ``x-uui``, ``x-custom-header``."""
        start = "sipcustomheader["
        found = {
            f"x-{name[len(start) : -1].removeprefix('x-')}": value
            for name, value in self.values.items()
            if name.startswith(start)
        }
        return MappingProxyType(found)

    def facts(self) -> dict[str, str]:
        """What is worth keeping. Keys that were pressed are not among it."""
        found = {fact: self.get(*names) for fact, names in _FACTS.items()}
        return {fact: value for fact, value in found.items() if value}

    def stage(self, asked: str) -> Stage:
        """Where this Passthru stands, as its URL says; else it is the one after the bot.

        What Exotel itself sends does not tell: after a bot on a vSIP trunk there is a
        ``DialCallStatus`` too, since a Connect applet dialled the bot.
        """
        return _STAGES.get(asked.strip().lower(), Stage.BOT)


def parse_callback(query: str, content_type: str = "", body: bytes = b"") -> Callback:
    """Read the query of the URL and a body of any documented kind; the body counts more."""
    values: dict[str, str] = {}
    for name, value in (*_form(query), *_body(content_type.lower(), body, content_type)):
        if len(values) >= MAX_FIELDS:
            break
        key = name.strip().strip(_QUOTES).lower()
        values[key] = _clean(value)
        if key in _NESTED and value.lstrip(_QUOTES + " ")[:1] in ("{", "["):
            for path, leaf in _leaves(key, _loads(value.lstrip(_QUOTES + " ")), 0):
                if len(values) < MAX_FIELDS:
                    values[path] = _clean(leaf)
    return Callback(MappingProxyType(values))


def _clean(value: str) -> str:
    spaced = _SPACED_NUMBER.fullmatch(value.strip(_QUOTES))
    text = f"+{spaced[1]}" if spaced else value.strip().strip(_QUOTES).strip()
    return text[:MAX_VALUE].replace("\x00", "")


def _form(text: str) -> Iterator[Pair]:
    for field in text.split("&", MAX_FIELDS)[:MAX_FIELDS]:
        name, _, value = field.partition("=")
        if name:
            yield unquote_plus(name), unquote_plus(value)


def _body(kind: str, body: bytes, content_type: str) -> Iterator[Pair]:
    stripped = body.strip()
    if not stripped:
        return
    if kind.startswith("multipart/") or stripped.startswith(b"--"):
        yield from _multipart(content_type, stripped)
    elif stripped.startswith(b"{"):
        content = _loads(stripped.decode("utf-8", "replace"))
        for name, value in content.items() if isinstance(content, dict) else ():
            yield from _leaves(str(name), value, 0)
    else:
        yield from _form(stripped.decode("utf-8", "replace"))


def _multipart(content_type: str, body: bytes) -> Iterator[Pair]:
    """The parts of a form. A boundary that the header does not tell is read from the body."""
    if "boundary=" not in content_type.lower():
        first = body.split(b"\n", 1)[0].strip().decode("latin-1")
        content_type = f'multipart/form-data; boundary="{first.removeprefix("--")}"'
    head = f"Content-Type: {content_type}\r\n\r\n".encode("latin-1", "replace")
    message = BytesParser(policy=HTTP).parsebytes(head + body)
    for part in message.walk():
        name = part.get_param("name", header="content-disposition")
        payload = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(payload, bytes):
            yield name, payload.decode("utf-8", "replace")


def _loads(text: str) -> Any:
    """JSON with something behind it, or what can be picked out of JSON that is broken."""
    try:
        return json.JSONDecoder(strict=False).raw_decode(text)[0]
    except (ValueError, RecursionError):
        return {match[1]: match[2] or match[3] or "" for match in _PAIR.finditer(text)}


def _leaves(path: str, value: Any, depth: int) -> Iterator[Pair]:
    if isinstance(value, dict) and depth < _MAX_DEPTH:
        for name, inner in value.items():
            yield from _leaves(f"{path}[{name}]".lower(), inner, depth + 1)
    elif isinstance(value, list) and depth < _MAX_DEPTH:
        for index, inner in enumerate(value[:MAX_FIELDS]):
            yield from _leaves(f"{path}[{index}]", inner, depth + 1)
    elif isinstance(value, str):
        yield path, value
    elif isinstance(value, bool):
        yield path, str(value).lower()
    elif isinstance(value, int | float):
        yield path, str(value)
