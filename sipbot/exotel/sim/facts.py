"""What Exotel tells of a call: query parameters of the applets' requests, headers of the INVITE."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Final, Literal
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from sipbot.exotel.sim.model import CallFacts

INDIA: Final = timezone(timedelta(hours=5, minutes=30))
NO_END: Final = "1970-01-01 05:30:00"  # EndTime of a call that goes on: the epoch in India
ALLOW: Final = "INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, SUBSCRIBE, NOTIFY, INFO, PUBLISH, MESSAGE"
MAX_PARAMETERS: Final = 3  # custom headers, and custom parameters of a stream
MAX_PARAMETER_BYTES: Final = 200  # of all custom headers
MAX_QUERY_CHARS: Final = 256  # of all custom parameters of a stream
RESERVED: Final = ("exotel-", "veeno-")  # beginnings of custom headers' names
RATE_NAMES: Final = ("sample-rate", "sample_rate")

Query = list[tuple[str, str]]
Encoding = Literal["flat", "json", "json-extra-brace"]


@dataclass(slots=True)
class StreamOutcome:
    """What Passthru is told of the last stream."""

    stream_sid: str = ""
    status: str = "completed"  # completed | failed | cancelled
    duration_s: int = 0
    url: str = ""
    disconnected_by: str = "NA"  # user | bot | NA
    detailed_status: str = ""
    error: str = ""
    recording_url: str = ""

    def fields(self) -> dict[str, str]:
        """By their names in the documents; those that are empty are left out."""
        found = {
            "StreamSID": self.stream_sid,
            "Status": self.status,
            "Duration": str(self.duration_s),
            "StreamUrl": self.url,
            "RecordingUrl": self.recording_url,
            "DisconnectedBy": self.disconnected_by,
            "DetailedStatus": self.detailed_status,
            "Error": self.error,
        }
        return {name: value for name, value in found.items() if value}


@dataclass(slots=True)
class DialOutcome:
    """What later applets are told of the last Connect."""

    status: str = ""  # completed | no-answer | busy | failed
    whom: str = ""
    duration_s: int = 0
    recording_url: str = ""


@dataclass(slots=True)
class CallState:
    """One call as Exotel sees it, filled in while it is walked."""

    facts: CallFacts
    call_sid: str
    began: float  # wall clock, seconds
    digits: str = ""
    stream: StreamOutcome | None = None
    dial: DialOutcome | None = None
    status: str = "in-progress"
    call_type: str = "call-attempt"


def stamp(seconds: float) -> str:
    """A time as Exotel writes it: local to India, without a zone."""
    return datetime.fromtimestamp(seconds, UTC).astimezone(INDIA).strftime("%Y-%m-%d %H:%M:%S")


def call_query(state: CallState, now: float) -> Query:
    """The parameters that every applet's request has."""
    facts, began = state.facts, stamp(state.began)
    query = [
        ("CallSid", state.call_sid),
        ("CallFrom", facts.from_),
        ("CallTo", facts.to),
        ("Direction", facts.direction),
        ("Created", began),
        ("DialCallDuration", str(state.dial.duration_s if state.dial else 0)),
        ("StartTime", began),
        ("EndTime", NO_END),
        ("CallType", state.call_type),
    ]
    if state.dial is not None:
        query += [("DialWhomNumber", state.dial.whom), ("DialCallStatus", state.dial.status)]
        if state.dial.recording_url:
            query.append(("RecordingUrl", state.dial.recording_url))
    query += [
        ("flow_id", facts.flow_id),
        ("tenant_id", facts.tenant_id),
        ("From", facts.from_),
        ("To", facts.to),
        ("CurrentTime", stamp(now)),
    ]
    if facts.custom_field:
        query.append(("CustomField", facts.custom_field))
    if state.digits:
        query.append(("digits", f'"{state.digits}"'))
    if facts.sip_headers:
        query.append(("SIPCustomHeader", json.dumps(facts.sip_headers)))
    return query


def passthru_query(state: CallState, now: float, encoding: Encoding) -> Query:
    """Parameters of a Passthru, with the outcome of the stream before it."""
    query = [*call_query(state, now), ("CallStatus", state.status)]
    if state.stream is None:
        return query
    fields = state.stream.fields()
    if encoding == "flat":
        return query + [(f"Stream[{name}]", value) for name, value in fields.items()]
    text = json.dumps(fields, separators=(",", ":"))
    # The sample in Exotel's document has one closing brace too many.
    return [*query, ("Stream", text + ("}" if encoding == "json-extra-brace" else ""))]


def custom_parameters(url: str, sip_headers: Mapping[str, str]) -> dict[str, str]:
    """``start.custom_parameters``: the query of the URL, and SIP headers without their ``X-``."""
    pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    found = {name: value for name, value in pairs if name not in RATE_NAMES}
    return found | {name.removeprefix("X-"): value for name, value in sip_headers.items()}


def recording(account_sid: str, sid: str) -> str:
    """Where a recording would be."""
    return f"https://recordings.exotel.com/exotelrecordings/{account_sid}/{sid}.mp3"


def with_query(url: str, query: str) -> str:
    """``url`` with more query parameters (``a=b&c=d``) behind those that it has."""
    if not query:
        return url
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query=f"{parts.query}&{query}" if parts.query else query))


def parameter_faults(parameters: Sequence[tuple[str, str]]) -> list[str]:
    """Which rules custom SIP headers break."""
    faults = []
    if len(parameters) > MAX_PARAMETERS:
        faults.append(f"custom_params: more than {MAX_PARAMETERS}")
    size = sum(len(f"X-{name}: {value}".encode()) for name, value in parameters)
    if size > MAX_PARAMETER_BYTES:
        faults.append(f"custom_params: more than {MAX_PARAMETER_BYTES} bytes in all")
    faults += [
        f"custom_params: names beginning with {prefix} are reserved"
        for prefix in RESERVED
        if any(name.lower().startswith(prefix) for name, _ in parameters)
    ]
    return faults


@dataclass(frozen=True, slots=True)
class Edge:
    """Our side of a SIP leg: address and port of the signalling, its transport."""

    host: str
    port: int
    transport: str


def invite_headers(
    state: CallState,
    edge: Edge,
    *,
    call_id: str,
    leg_sid: str,
    to_host: str,
    sid_header: str,
    record_route: bool,
    custom: Sequence[tuple[str, str]] = (),
) -> list[tuple[str, str]]:
    """Headers of an INVITE from Exotel's trunks, in the order of its documents.

    Record-Route says ``transport=tls`` whatever the transport is; From and the asserted identity
    are the caller; the rest is what Asterisk writes.
    """
    facts = state.facts
    identity = f"<sip:{facts.from_}@exotelt.pstn.exotel.com>"
    headers = [
        ("Record-Route", f"<sip:{edge.host}:{edge.port};transport=tls;lr>"),
        ("To", f"<sip:{facts.to}@{to_host}>"),
        ("Call-ID", call_id),
        ("CSeq", "102 INVITE"),
        ("Max-Forwards", "67"),
        ("Allow", ALLOW),
        ("Supported", "replaces"),
        ("P-Asserted-Identity", identity),
        ("P-Early-Media", "supported"),
        (sid_header, state.call_sid),
        ("X-Exotel-LegSid", leg_sid),
        ("X-Exotel-TrunkSid", facts.trunk_sid),
        *((f"X-{name}", value) for name, value in custom),
    ]
    return headers if record_route else headers[1:]
