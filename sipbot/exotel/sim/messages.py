"""Messages of a stream from Exotel's side: written in all spellings, and the bot's read strictly.

``sipbot.exotel.wire`` is the bot's view of the same messages; the two share nothing but the size of
a frame, so that a misunderstanding of one does not hide in the other.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from sipbot.exotel.sim.model import StreamManner

FRAME_BYTES: Final = 320  # audio in a message must be a multiple of this
MAX_AUDIO_BYTES: Final = 100_000  # the documented maximum of one message
MAX_MESSAGE_BYTES: Final = 262_144
_CAMEL: Final = {
    "sequence_number": "sequenceNumber",
    "stream_sid": "streamSid",
    "call_sid": "callSid",
    "account_sid": "accountSid",
    "custom_parameters": "customParameters",
    "media_format": "mediaFormat",
    "sample_rate": "sampleRate",
    "bit_rate": "bitRate",
}


@dataclass(frozen=True, slots=True)
class Parties:
    """Ids and numbers of one stream."""

    stream_sid: str
    call_sid: str
    account_sid: str
    caller: str
    callee: str


class ExotelWriter:
    """Writes the messages of one stream as ``manner`` says."""

    def __init__(self, manner: StreamManner, parties: Parties) -> None:
        self._manner, self._parties = manner, parties
        self._sequence = self._chunk = 0

    def connected(self) -> str:
        """The first message."""
        return json.dumps({"event": "connected"})

    def start(self, parameters: dict[str, str]) -> str:
        """The second message."""
        manner, parties = self._manner, self._parties
        start: dict[str, Any] = {
            "stream_sid": parties.stream_sid,
            "call_sid": parties.call_sid,
            "account_sid": parties.account_sid,
            "from": parties.caller,
            "to": parties.callee,
            "media_format": {
                "encoding": manner.encoding,
                "sample_rate": _declared(manner),
                "bit_rate": "128kbps",
            },
        }
        if parameters:
            start["custom_parameters"] = parameters
        return self._message("start", {"start": start})

    def media(self, pcm: bytes, timestamp_ms: int) -> str:
        """A piece of the caller's audio, 16 bits little-endian."""
        self._chunk += 1
        payload = base64.b64encode(pcm).decode("ascii")
        media = {
            "chunk": self._number(self._chunk),
            "timestamp": str(timestamp_ms),
            "payload": payload,
        }
        return self._message("media", {"media": media})

    def dtmf(self, digit: str, duration_ms: int = 100) -> str:
        """One key."""
        return self._message("dtmf", {"dtmf": {"duration": str(duration_ms), "digit": digit}})

    def mark(self, name: str) -> str:
        """The bot's mark comes back."""
        return self._message("mark", {"mark": {"name": name}})

    def stop(self, reason: str) -> str:
        """The last message: ``callended`` or ``stopped``."""
        parties = self._parties
        stop = {
            "call_sid": parties.call_sid,
            "account_sid": parties.account_sid,
            "reason": reason,
        }
        return self._message("stop", {"stop": stop})

    def _message(self, event: str, body: dict[str, Any]) -> str:
        self._sequence += 1
        whole = {
            "event": event,
            "sequence_number": self._number(self._sequence),
            "stream_sid": self._parties.stream_sid,
            **body,
        }
        return json.dumps(_spelled(whole) if self._manner.names == "camel" else whole)

    def _number(self, value: int) -> int | str:
        return value if self._manner.numbers == "int" else str(value)


def _declared(manner: StreamManner) -> int | str:
    match manner.declare:
        case "int":
            return manner.rate
        case "hz":
            return f"{manner.rate}Hz"
        case "khz":
            return f"{manner.rate // 1000}kHz"
    return str(manner.rate)


def _spelled(value: Any) -> Any:
    """Keys of our own in camelCase; those of custom parameters stay as they are."""
    if not isinstance(value, dict):
        return value
    return {
        _CAMEL.get(key, key): inner if key == "custom_parameters" else _spelled(inner)
        for key, inner in value.items()
    }


# --- the bot's ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BotMedia:
    """Audio to be played, 16 bits little-endian."""

    audio: bytes


@dataclass(frozen=True, slots=True)
class BotMark:
    """To be sent back once everything before it was played."""

    name: str


@dataclass(frozen=True, slots=True)
class BotClear:
    """Drop the messages that have not begun to play."""


BotMessage: TypeAlias = BotMedia | BotMark | BotClear


def read_bot(message: str | bytes) -> tuple[BotMessage | None, list[str]]:
    """One message of the bot, if it can be used, and the documented rules that it breaks."""
    if len(message) > MAX_MESSAGE_BYTES:
        return None, ["message-too-big"]
    try:
        found = json.loads(message)
    except ValueError:
        return None, ["not-json"]
    if not isinstance(found, dict):
        return None, ["not-an-object"]
    faults = []
    if "sequence_number" in found and not isinstance(found["sequence_number"], str):
        faults.append("sequence-number-not-text")  # the receiver's field is a text
    match found.get("event"):
        case "media":
            return _media(found, faults)
        case "mark":
            mark = found.get("mark")
            name = mark.get("name") if isinstance(mark, dict) else None
            if not isinstance(name, str) or not name:
                return None, [*faults, "mark-without-name"]
            return BotMark(name), faults
        case "clear":
            return BotClear(), faults
    return None, [*faults, "unknown-event"]


def _media(found: dict[str, Any], faults: list[str]) -> tuple[BotMessage | None, list[str]]:
    media = found.get("media")
    if not isinstance(media, dict) or not isinstance(media.get("payload"), str):
        return None, [*faults, "media-without-payload"]
    faults += [
        f"media-{name}-not-text"
        for name in ("chunk", "timestamp")
        if name in media and not isinstance(media[name], str)
    ]
    try:
        audio = binascii.a2b_base64(media["payload"], strict_mode=True)
    except (binascii.Error, ValueError):
        return None, [*faults, "payload-not-base64"]
    if not audio:
        return None, [*faults, "payload-empty"]
    if len(audio) % FRAME_BYTES:
        faults.append("payload-no-multiple-of-320")
    if len(audio) > MAX_AUDIO_BYTES:
        return None, [*faults, "payload-too-big"]
    return BotMedia(audio), faults
