"""What Exotel's interfaces speak of. Unknown fields are left out, missing ones are empty.

``read`` of each takes the object as it came. Numbers may come as texts; times have no zone in v1
and are kept as texts.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from sipbot.call.numbers import e164
from sipbot.exotel.rest.envelope import Data, whole_number
from sipbot.exotel.rest.v1 import records

DEFAULT_PRIORITY: Final = 0  # lower ones are tried first
DEFAULT_WEIGHT: Final = 1


class Mode(Enum):
    """What a number is for: ``PSTN`` where a Connect applet dials the trunk, ``FLOW`` for
    Voicebot applets over SIP and StreamKit."""

    PSTN = "pstn"
    FLOW = "flow"


@dataclass(frozen=True, slots=True)
class Trunk:
    sid: str
    name: str
    status: str
    domain: str
    nso_code: str
    auth_type: str
    secure: bool

    @classmethod
    def read(cls, data: Data) -> Trunk:
        return cls(
            sid=text(data, "trunk_sid"),
            name=text(data, "trunk_name"),
            status=text(data, "status"),
            domain=text(data, "domain_name"),
            nso_code=text(data, "nso_code"),
            auth_type=text(data, "auth_type"),
            secure=text(data, "secure_trunking").lower() == "enabled",
        )


@dataclass(frozen=True, slots=True)
class PhoneNumber:
    """A DID mapped to a trunk. ``id`` is Exotel's number of the mapping, not the number."""

    id: str
    number: str
    mode: Mode

    @classmethod
    def read(cls, data: Data) -> PhoneNumber:
        written = text(data, "phone_number")
        flow = text(data, "mode").lower() == Mode.FLOW.value  # pstn is stored as null
        return cls(text(data, "id"), e164(written) or written, Mode.FLOW if flow else Mode.PSTN)


@dataclass(frozen=True, slots=True)
class NumberMap:
    """Which trunk an ExoPhone is mapped to."""

    number: str
    trunk_sid: str
    mode: Mode

    @classmethod
    def read(cls, data: Data) -> NumberMap:
        written = text(data, "exophone")
        flow = text(data, "mode").lower() == Mode.FLOW.value
        mode = Mode.FLOW if flow else Mode.PSTN
        return cls(e164(written) or written, text(data, "trunk_sid"), mode)


@dataclass(frozen=True, slots=True)
class AllowedIp:
    """An address or network that may send calls; ``network`` is written ``198.51.100.0/24``."""

    id: str
    network: str

    @classmethod
    def read(cls, data: Data) -> AllowedIp:
        mask = whole_number(data.get("mask"))
        written = f"{text(data, 'ip')}/{32 if mask is None else mask}"
        try:
            network = str(ipaddress.ip_network(written, strict=False))
        except ValueError:
            network = written  # shown as it is
        return cls(text(data, "id"), network)

    @property
    def parsed(self) -> ipaddress.IPv4Network | None:
        """None when Exotel wrote something else."""
        try:
            return ipaddress.IPv4Network(self.network)
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the trunk sends calls; ``uri`` is ``host:port;transport=tcp`` in lower case."""

    id: str
    uri: str
    priority: int
    weight: int

    @classmethod
    def read(cls, data: Data) -> Destination:
        priority, weight = whole_number(data.get("priority")), whole_number(data.get("weight"))
        return cls(
            text(data, "id"),
            plain_uri(text(data, "destination")),
            DEFAULT_PRIORITY if priority is None else priority,
            DEFAULT_WEIGHT if weight is None else weight,
        )


@dataclass(frozen=True, slots=True)
class Credential:
    """A digest user; Exotel never tells the password."""

    id: str
    user_name: str
    friendly_name: str

    @classmethod
    def read(cls, data: Data) -> Credential:
        name = text(data, "user_name") or text(data, "username")  # an older document
        return cls(text(data, "id"), name, text(data, "friendly_name"))


@dataclass(frozen=True, slots=True)
class Setting:
    name: str
    value: str

    @classmethod
    def read(cls, data: Data) -> Setting:
        return cls(text(data, "name"), text(data, "value"))


@dataclass(frozen=True, slots=True)
class CallLeg:
    id: str
    on_call_s: int | None


@dataclass(frozen=True, slots=True)
class CallRecord:
    """A call as v1 tells it. Numbers are not shown by ``repr``; duration and price are final some
    minutes after the end only."""

    sid: str
    status: str
    direction: str
    from_: str = field(repr=False)
    to: str = field(repr=False)
    exophone: str
    started: str
    ended: str
    duration_s: int | None
    price: str
    answered_by: str
    recording_url: str = field(repr=False)
    parent_sid: str = ""
    conversation_s: int | None = None
    leg_statuses: tuple[str, ...] = ()
    legs: tuple[CallLeg, ...] = ()

    @classmethod
    def read(cls, data: Data) -> CallRecord:
        found = data.get("Details")
        details: Data = found if isinstance(found, dict) else {}
        legs = [
            CallLeg(text(leg, "Id"), whole_number(leg.get("OnCallDuration")))
            for leg in records(details.get("Legs"))
        ]
        statuses = [text(details, name) for name in ("Leg1Status", "Leg2Status")]
        return cls(
            sid=text(data, "Sid"),
            status=text(data, "Status"),
            direction=text(data, "Direction"),
            from_=text(data, "From"),
            to=text(data, "To"),
            exophone=text(data, "PhoneNumberSid"),
            started=text(data, "StartTime"),
            ended=text(data, "EndTime"),
            duration_s=whole_number(data.get("Duration")),
            price=text(data, "Price"),
            answered_by=text(data, "AnsweredBy"),
            recording_url=text(data, "RecordingUrl"),
            parent_sid=text(data, "ParentCallSid"),
            conversation_s=whole_number(details.get("ConversationDuration")),
            leg_statuses=tuple(status for status in statuses if status),
            legs=tuple(legs),
        )


@dataclass(frozen=True, slots=True)
class CallPage:
    """Part of a list of calls; ``after`` is the cursor of the next part, None at the end."""

    calls: tuple[CallRecord, ...]
    after: str | None


@dataclass(frozen=True, slots=True)
class ActiveStreams:
    """AgentStream sessions now, and how many the account may have at once (None: not told)."""

    active: int
    allowed: int | None


@dataclass(frozen=True, slots=True)
class ExoPhone:
    """A number of the account."""

    sid: str
    number: str
    name: str

    @classmethod
    def read(cls, data: Data) -> ExoPhone:
        number = text(data, "phone_number") or text(data, "PhoneNumber")
        return cls(
            text(data, "sid") or text(data, "Sid"),
            e164(number) or number,
            text(data, "friendly_name") or text(data, "FriendlyName"),
        )


@dataclass(frozen=True, slots=True)
class Leg:
    """A leg of the v2 interface."""

    sid: str
    state: str

    @classmethod
    def read(cls, data: Data) -> Leg:
        return cls(text(data, "leg_sid") or text(data, "sid"), text(data, "state"))


def text(data: Data, key: str) -> str:
    """A field as text; missing, null and nested ones are empty."""
    value = data.get(key)
    if value is None or isinstance(value, dict | list):
        return ""
    return str(value).strip()


def plain_uri(uri: str) -> str:
    """A destination in one form: Exotel adds ``sip:`` to what it was given."""
    lowered = uri.strip().lower()
    return lowered.removeprefix("sip:").replace(" ", "")
