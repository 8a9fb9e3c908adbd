"""Answers to Exotel's applets: the URL of a stream, the branch of a Passthru, whom to connect.

No I/O. Destinations are values that can be kept as JSON, since another node may give the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import quote, urlencode

import msgspec

from sipbot.call.numbers import e164

MAX_CUSTOM_PARAMS: Final = 3  # SIP headers that Exotel makes of custom_params
MAX_CUSTOM_BYTES: Final = 200  # of all of them together, as written
CCM_VERSION: Final = "1.1"  # of the header Exotel-Version: contact centre, users instead of numbers
MAX_STREAM_URL: Final = 599  # characters; Exotel takes fewer than 600


@dataclass(frozen=True, slots=True)
class Playback:
    """What is played when the callee answers: a text that is spoken, or the URL of a recording."""

    to: Literal["both", "callee"]
    type: Literal["text", "audio_url"]
    value: str


@dataclass(frozen=True, slots=True)
class MusicOnHold:
    """What the caller hears meanwhile; ``value`` is the URL of a ``custom`` tone."""

    type: str
    value: str = ""


@dataclass(frozen=True, slots=True)
class Contact:
    """One user of Exotel's contact centre (CCM)."""

    contact_uri: str
    device_contact_uri: str = ""


@dataclass(frozen=True, slots=True)
class Destination:
    """Whom a Connect applet is to dial, and how. What is None or empty is Exotel's default.

    With ``one_by_one`` each number is an attempt of its own, for which Exotel asks again.
    """

    numbers: tuple[str, ...] = ()
    trunk: str = ""  # trunk_sid of the vSIP trunk to dial through
    contacts: tuple[Contact, ...] = ()
    one_by_one: bool = False
    caller_id: str = ""
    custom_params: Mapping[str, str] | None = None  # become X- headers of the INVITE
    record: bool | None = None
    recording_channels: str = ""
    max_ringing_s: int | None = None
    max_conversation_s: int | None = None
    music_on_hold: MusicOnHold | None = None
    playback: Playback | None = None
    parallel_attempts: int = 0  # numbers that ring at the same time; 0: one after the other
    events_url: str = ""
    sticky_agent: bool | None = None

    @property
    def attempts(self) -> int:
        """How many different answers there are."""
        return len(self.numbers) if self.one_by_one else 1


def to_json(destination: Destination) -> dict[str, Any]:
    """As plain values."""
    plain: dict[str, Any] = msgspec.to_builtins(destination)
    return plain


def from_json(plain: object) -> Destination:
    """The opposite of ``to_json``. Raises ``msgspec.ValidationError``, a ValueError."""
    return msgspec.convert(plain, Destination)


def custom_params(parameters: Mapping[str, str]) -> str:
    """``param1=value1&param2=value2``, as Exotel's documents write it: nothing is escaped."""
    return "&".join(f"{name}={value}" for name, value in parameters.items())


def nobody() -> dict[str, Any]:
    """The answer that dials nobody: the flow goes on at "We didn't dial anyone"."""
    return {"fetch_after_attempt": False, "destination": {"numbers": []}}


def connect_answer(destination: Destination, attempt: int, version: str = "") -> dict[str, Any]:
    """The answer to a Connect applet, for an attempt that counts from 0.

    ``version`` is the header Exotel-Version of the request. Exotel is told to ask again only while
    there is another number, so that the last failure is "Nobody answered".
    """
    if attempt >= destination.attempts:
        return nobody()
    again = destination.one_by_one and attempt + 1 < destination.attempts
    optional = {
        "outgoing_phone_number": destination.caller_id or None,
        "custom_params": custom_params(destination.custom_params or {}) or None,
        "record": destination.record,
        "recording_channels": destination.recording_channels or None,
        "max_ringing_duration": destination.max_ringing_s,
        "max_conversation_duration": destination.max_conversation_s,
        "music_on_hold": _music(destination.music_on_hold),
        "start_call_playback": _playback(destination.playback),
        "parallel_ringing": _parallel(destination.parallel_attempts),
        "dial_passthru_event_url": destination.events_url or None,
    }
    ccm = version.strip() == CCM_VERSION
    return {
        "fetch_after_attempt": again,
        **(_users(destination, attempt) if ccm else {"destination": _target(destination, attempt)}),
        **{name: value for name, value in optional.items() if value is not None},
    }


def next_attempt(destination: Destination, given: int, dialled: str) -> int | None:
    """Which attempt a repeated request is for, by the number that Exotel says it dialled last.

    ``given`` is the attempt answered before. None when the request does not tell.
    """
    if not destination.one_by_one or not dialled:
        return None
    wanted = e164(dialled) or dialled
    for attempt, number in enumerate(destination.numbers):
        if wanted in (number, e164(number)):
            return max(given, attempt + 1)
    return None


def stream_url(
    base: str, path: Sequence[str], parameters: Mapping[str, str], login: tuple[str, str] | None
) -> str:
    """``wss://USER:PASSWORD@HOST/exotel/voicebot/AGENT/CALLSID?sample-rate=…``.

    ``base`` is how this server is reached: ``https://HOST`` or ``http://HOST``.
    """
    scheme, _, rest = base.partition("://")
    secure = scheme.lower() in ("https", "wss")
    who = f"{quote(login[0], safe='')}:{quote(login[1], safe='')}@" if login else ""
    where = "/".join(quote(part, safe="") for part in path)
    query = f"?{urlencode(parameters)}" if parameters else ""
    return f"{'wss' if secure else 'ws'}://{who}{rest.rstrip('/')}/{where}{query}"


def _target(destination: Destination, attempt: int) -> dict[str, Any]:
    numbers = destination.numbers
    if destination.one_by_one:
        numbers = numbers[attempt : attempt + 1]
    target: dict[str, Any] = {"numbers": list(numbers)} if numbers else {}
    return target | ({"trunk": destination.trunk} if destination.trunk else {})


def _users(destination: Destination, attempt: int) -> dict[str, Any]:
    numbers = destination.numbers
    if destination.one_by_one:
        numbers = numbers[attempt : attempt + 1]
    contacts = destination.contacts or tuple(Contact(number) for number in numbers)
    users = [
        {"contact_uri": one.contact_uri}
        | ({"device_contact_uri": one.device_contact_uri} if one.device_contact_uri else {})
        for one in contacts
    ]
    answer: dict[str, Any] = {"destination_type": "user", "destination": users}
    if destination.sticky_agent is not None:
        answer["sticky_agent"] = destination.sticky_agent
    return answer


def _music(music: MusicOnHold | None) -> dict[str, str] | None:
    if music is None:
        return None
    return {"type": music.type} | ({"value": music.value} if music.value else {})


def _playback(playback: Playback | None) -> dict[str, str] | None:
    if playback is None:
        return None
    return {"playback_to": playback.to, "type": playback.type, "value": playback.value}


def _parallel(attempts: int) -> dict[str, Any] | None:
    return {"activate": True, "max_parallel_attempts": attempts} if attempts else None
