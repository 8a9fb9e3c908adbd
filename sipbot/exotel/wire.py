"""Messages of Exotel's AgentStream WebSocket, both ways. No I/O, no clock.

Exotel documents snake_case fields and prints numbers now as numbers, now as texts; samples of its
own and of others write camelCase. Both are read. What is sent is what its receiver, a Go program
with text fields, reads in any case: numbers as texts. Unknown events and fields are no errors.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

import msgspec

from sipbot.errors import StreamError

MAX_MESSAGE_BYTES: Final = 262_144  # bytes of one message; 100 kB of audio in base64 are 137 kB
MAX_PAYLOAD_BYTES: Final = 100_000  # bytes of audio in one message, the documented maximum
MAX_NAME: Final = 128  # characters of event names, ids, parameter names, marks
MAX_VALUE: Final = 1_024  # characters of one parameter's value, and of a caller or callee
MAX_PARAMETERS: Final = 64  # custom parameters; Exotel itself documents 3, its console 25
FRAME_BYTES: Final = 320  # audio in a message is always a multiple of this many bytes
RATES: Final = (8_000, 16_000, 24_000)  # Hz
DEFAULT_RATE: Final = 8_000  # Hz
DIGITS: Final = frozenset("0123456789*#ABCD")

Encoding: TypeAlias = Literal["L16", "PCMU"]
_Fields: TypeAlias = Mapping[str, Any]

_TRAILING_COMMA: Final = re.compile(r",(\s*[}\]])")
_NUMBER: Final = re.compile(r"(\d{1,12})(?:\.0+)?\s*(khz|hz|ms)?", re.IGNORECASE)
_DIGITS: Final = 12  # of a number
_MU_LAW: Final = re.compile(r"mu-?law|u-?law|pcmu", re.IGNORECASE)
_QUOTES: Final = "\"'"


# --- what Exotel says -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connected:
    """The first message; says nothing else."""


@dataclass(frozen=True, slots=True)
class Start:
    """The second message: what the stream is.

    ``rate`` (Hz) is None when it is not declared. ``parameters`` hold the query of the URL and what
    StreamKit takes from SIP headers, with names as received (``UUI``, ``Custom-Header``). With
    ``camel_case`` the peer writes ``streamSid``.
    """

    stream_sid: str
    call_sid: str
    account_sid: str
    caller: str
    callee: str
    rate: int | None = None
    encoding: Encoding = "L16"
    parameters: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    camel_case: bool = False


@dataclass(frozen=True, slots=True)
class Media:
    """Audio of the caller: bytes of the stream's encoding; ms since the start, where told."""

    payload: bytes
    timestamp_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Dtmf:
    """The caller pressed a key."""

    digit: str
    duration_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """Our mark comes back: all audio sent before it was played."""

    name: str


@dataclass(frozen=True, slots=True)
class Clear:
    """Listed by Exotel among its messages, with no meaning given."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The stream ends. ``reason`` is ``callended``, ``stopped``, or whatever else was said."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """An event of another name."""

    name: str


StreamEvent: TypeAlias = Connected | Start | Media | Dtmf | Mark | Clear | Stop | Unknown


class _Payload(msgspec.Struct, gc=False):
    payload: bytes  # from base64
    timestamp: str | int | None = None


class _MediaOnly(msgspec.Struct, gc=False):
    """Media as nearly all of it comes; whatever does not fit is read the long way."""

    event: Literal["media"]
    media: _Payload


_MEDIA: Final = msgspec.json.Decoder(_MediaOnly)


def parse(message: str | bytes) -> StreamEvent:
    """Read one message. Raises StreamError."""
    if len(message) > MAX_MESSAGE_BYTES:
        raise StreamError("message-too-big")
    try:
        media = _MEDIA.decode(message).media
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return _parse_any(message)
    if len(media.payload) > MAX_PAYLOAD_BYTES:
        raise StreamError("payload-too-big")
    return Media(media.payload, _count(media.timestamp))


def _parse_any(message: str | bytes) -> StreamEvent:
    fields = _object(message)
    name = _text(fields, "event", most=MAX_NAME).lower()
    if not name:
        raise StreamError("no-event")
    match name:
        case "media":
            return _media(_part(fields, "media"))
        case "mark":
            return Mark(_needed(_part(fields, "mark"), "name"))
        case "dtmf":
            return _dtmf(fields)
        case "connected":
            return Connected()
        case "start":
            return _start(fields)
        case "stop":
            return Stop(_text(_part(fields, "stop"), "reason", most=MAX_NAME).lower())
        case "clear":
            return Clear()
    return Unknown(name)


def rate_of(value: object) -> int | None:
    """A sample rate as ``8000``, ``"8000"``, ``"16kHz"`` or ``"8000Hz"``; None for anything else.

    Rates that Exotel does not offer are returned as they are.
    """
    match = _NUMBER.fullmatch(_plain(value))
    if match is None:
        return None
    number = int(match[1])
    return number * 1000 if (match[2] or "").lower() == "khz" else number


def _media(media: _Fields) -> Media:
    payload = media.get("payload")
    if not isinstance(payload, str):
        raise StreamError("no-payload")
    if len(payload) > MAX_PAYLOAD_BYTES * 4 // 3 + 4:
        raise StreamError("payload-too-big")
    try:
        audio = binascii.a2b_base64(payload, strict_mode=True)
    except (binascii.Error, ValueError):  # ValueError: characters beyond ASCII
        raise StreamError("payload-not-base64") from None
    return Media(audio, _count(media.get("timestamp")))


def _dtmf(fields: _Fields) -> Dtmf:
    # One page of Exotel's documentation has the digit at the top level.
    inner = _part(fields, "dtmf")
    digit = (_text(inner, "digit") or _text(fields, "digit")).upper()
    if digit not in DIGITS:
        raise StreamError("bad-digit")  # also where the applet encrypts keys
    return Dtmf(digit, _count(inner.get("duration")))


def _start(fields: _Fields) -> Start:
    start = _part(fields, "start")
    audio = _part(start, "media_format", "mediaFormat")
    stream_sid = _id(start, "stream_sid", "streamSid") or _id(fields, "stream_sid", "streamSid")
    rate = audio.get("sample_rate", audio.get("sampleRate"))
    return Start(
        stream_sid=stream_sid,
        call_sid=_id(start, "call_sid", "callSid"),
        account_sid=_id(start, "account_sid", "accountSid"),
        caller=_text(start, "from"),
        callee=_text(start, "to"),
        rate=rate_of(rate),
        encoding="PCMU" if _MU_LAW.search(_text(audio, "encoding")) else "L16",
        parameters=_parameters(_part(start, "custom_parameters", "customParameters")),
        camel_case=("streamSid" in start or "streamSid" in fields)
        and not ("stream_sid" in start or "stream_sid" in fields),
    )


def _parameters(given: _Fields) -> Mapping[str, str]:
    if len(given) > MAX_PARAMETERS:
        raise StreamError("too-many-parameters")
    found = {}
    for name, value in given.items():
        if len(name) > MAX_NAME:
            raise StreamError("name-too-long")
        found[name] = _checked(_plain(value), MAX_VALUE)
    return MappingProxyType(found)


# --- what we say ----------------------------------------------------------------------------------


class Writer:
    """Writes the messages of one stream, with running numbers."""

    def __init__(self, start: Start) -> None:
        key = "streamSid" if start.camel_case else "stream_sid"
        self._id = f',"{key}":{json.dumps(start.stream_sid)}' if start.stream_sid else ""
        self._sequence = self._chunk = 0

    def media(self, payload: bytes, timestamp_ms: int) -> str:
        """Audio: a multiple of ``FRAME_BYTES``, in the encoding of the stream."""
        self._sequence += 1
        self._chunk += 1
        audio = binascii.b2a_base64(payload, newline=False).decode("ascii")
        return (
            f'{{"event":"media","sequence_number":"{self._sequence}"{self._id},'
            f'"media":{{"chunk":"{self._chunk}","timestamp":"{timestamp_ms}",'
            f'"payload":"{audio}"}}}}'
        )

    def mark(self, name: str) -> str:
        """Ask for ``name`` to come back when what was sent so far was played."""
        self._sequence += 1
        return (
            f'{{"event":"mark","sequence_number":"{self._sequence}"{self._id},'
            f'"mark":{{"name":{json.dumps(name)}}}}}'
        )

    def clear(self) -> str:
        """Drop the messages whose audio has not begun to play."""
        return f'{{"event":"clear"{self._id}}}'


# --- fields ---------------------------------------------------------------------------------------


def _object(message: str | bytes) -> _Fields:
    try:
        found = _decoded(message)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise StreamError("not-json") from None
    if not isinstance(found, dict):
        raise StreamError("no-object")
    return found


def _decoded(message: str | bytes) -> object:
    try:
        return msgspec.json.decode(message)
    except msgspec.DecodeError:
        # Exotel's own samples have commas before closing braces.
        text = message if isinstance(message, str) else message.decode()
        mended = _TRAILING_COMMA.sub(r"\1", text)
        if mended == text:
            raise
        return msgspec.json.decode(mended)


def _part(fields: _Fields, *names: str) -> _Fields:
    """The object of the first of these names; an empty one when there is none."""
    for name in names:
        found = fields.get(name)
        if isinstance(found, dict):
            return found
    return {}


def _plain(value: object) -> str:
    """Texts and numbers as text, without stray quotes around it; anything else is empty."""
    if isinstance(value, str):
        return value.strip().strip(_QUOTES).strip()
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _checked(text: str, most: int) -> str:
    if len(text) > most:
        raise StreamError("value-too-long")
    return text


def _text(fields: _Fields, name: str, most: int = MAX_VALUE) -> str:
    return _checked(_plain(fields.get(name)), most)


def _id(fields: _Fields, *names: str) -> str:
    return next((found for name in names if (found := _text(fields, name, MAX_NAME))), "")


def _needed(fields: _Fields, name: str) -> str:
    found = _text(fields, name, MAX_NAME)
    if not found:
        raise StreamError(f"no-{name}")
    return found


def _count(value: object) -> int | None:
    if isinstance(value, str) and len(value) <= _DIGITS and value.isdecimal():
        return int(value)
    match = _NUMBER.fullmatch(_plain(value))
    return None if match is None else int(match[1])
