"""Reads what a bot answers to Programmable Connect and to a dynamic stream URL, as Exotel does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

from sipbot.exotel.sim.facts import parameter_faults

MAX_REPLY_BYTES: Final = 65_536
MAX_PARALLEL: Final = 10  # the highest that integrators use
MAX_URL_CHARS: Final = 600  # below this a stream's URL must stay

_BOOLS: Final = ("fetch_after_attempt", "record")
_NUMBERS: Final = ("max_ringing_duration", "max_conversation_duration")
_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {"recording_channels": ("single", "dual")}


@dataclass(frozen=True, slots=True)
class ConnectReply:
    """Whom to dial. ``faults`` says what of the reply breaks the documented form."""

    numbers: tuple[str, ...] = ()
    trunk: str = ""
    parameters: tuple[tuple[str, str], ...] = ()
    again: bool = False  # fetch_after_attempt
    parallel: bool = False
    faults: tuple[str, ...] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        """What would be dialled, in order: numbers, or else the trunk."""
        return self.numbers or ((self.trunk,) if self.trunk else ())


def read_connect(status: int, body: bytes, version: str = "1.0") -> ConnectReply:
    """Read a reply. What cannot be read dials nobody and says why in ``faults``."""
    if status != 200:
        return ConnectReply(faults=(f"connect answered {status}",))
    try:
        found = json.loads(body[: MAX_REPLY_BYTES + 1])
    except ValueError:
        return ConnectReply(faults=("connect: the body is no JSON",))
    if not isinstance(found, dict):
        return ConnectReply(faults=("connect: the body is no JSON object",))
    faults = list(_field_faults(found))
    numbers, trunk = _destination(found, version, faults)
    parameters = _parameters(found.get("custom_params"), faults)
    parallel = found.get("parallel_ringing")
    active = isinstance(parallel, dict) and parallel.get("activate") is True
    if active and isinstance(parallel, dict):
        _parallel_faults(parallel, faults)
    return ConnectReply(
        numbers,
        trunk,
        parameters,
        again=found.get("fetch_after_attempt") is True,
        parallel=active,
        faults=tuple(faults),
    )


def read_stream_url(status: int, body: bytes) -> tuple[str, str]:
    """URL out of the answer of a dynamic URL, and what is wrong with it ("" if nothing)."""
    if status != 200:
        return "", f"stream url: answered {status}"
    try:
        found = json.loads(body[: MAX_REPLY_BYTES + 1])
    except ValueError:
        return "", "stream url: the body is no JSON"
    url = found.get("url") if isinstance(found, dict) else None
    if not isinstance(url, str) or not url.startswith(("ws://", "wss://")):
        return "", "stream url: no url that begins with ws:// or wss://"
    if len(url) >= MAX_URL_CHARS:
        return url, f"stream url: {MAX_URL_CHARS} characters or more"
    return url, ""


def _field_faults(found: Mapping[str, Any]) -> list[str]:
    faults = [
        f"connect: {name} is no boolean"
        for name in _BOOLS
        if name in found and not isinstance(found[name], bool)
    ]
    for name in _NUMBERS:
        value = found.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            faults.append(f"connect: {name} is no number of seconds")
    for name, allowed in _CHOICES.items():
        if name in found and found[name] not in allowed:
            faults.append(f"connect: {name} is none of {', '.join(allowed)}")
    return faults


def _destination(
    found: Mapping[str, Any], version: str, faults: list[str]
) -> tuple[tuple[str, ...], str]:
    destination = found.get("destination")
    if version == "1.1" and isinstance(destination, list):
        return _contacts(destination, faults), ""
    if not isinstance(destination, dict):
        faults.append("connect: destination is no object")
        return (), ""
    numbers = destination.get("numbers", [])
    if not isinstance(numbers, list) or not all(isinstance(one, str) for one in numbers):
        faults.append("connect: destination.numbers is no list of texts")
        numbers = []
    trunk = destination.get("trunk", "")
    if not isinstance(trunk, str):
        faults.append("connect: destination.trunk is no text")
        trunk = ""
    return tuple(number for number in numbers if number), trunk


def _contacts(users: list[Any], faults: list[str]) -> tuple[str, ...]:
    """The users of a call centre (Connect 1.1)."""
    found = []
    for user in users:
        contact = user.get("contact_uri") if isinstance(user, dict) else None
        if isinstance(contact, str) and contact:
            found.append(contact)
        else:
            faults.append("connect: a destination without contact_uri")
    return tuple(found)


def _parameters(value: object, faults: list[str]) -> tuple[tuple[str, str], ...]:
    if value is None:
        return ()
    if not isinstance(value, str):
        faults.append("connect: custom_params is no text a=b&c=d")
        return ()
    parameters = tuple(parse_qsl(value, keep_blank_values=True))
    faults += parameter_faults(parameters)
    return parameters


def _parallel_faults(parallel: Mapping[str, Any], faults: list[str]) -> None:
    most = parallel.get("max_parallel_attempts", 1)
    if isinstance(most, bool) or not isinstance(most, int) or not 1 <= most <= MAX_PARALLEL:
        faults.append(f"connect: max_parallel_attempts is not 1 to {MAX_PARALLEL}")
