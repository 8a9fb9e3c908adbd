"""The section ``trunks.*.outbound``: calls that sipbot makes through a trunk."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from sipbot.ops.section import Section
from sipbot.ops.values import IpNetwork

_URI: Final = re.compile(
    r"sips?:(?:[^@;?\s]+@)?(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[A-Za-z0-9_.-]+))"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<parameters>(?:;[^;?@\s]+)*)"
)
_TRANSPORTS: Final = ("udp", "tcp", "tls")
_HOST: Final = re.compile(r"[A-Za-z0-9_.-]{1,253}")


def _uri(text: str) -> str:
    match = _URI.fullmatch(text)
    named = [
        part.partition("=")[2].lower()
        for part in (match["parameters"] if match else "").split(";")
        if part.lower().startswith("transport=")
    ]
    if match is None or int(match["port"] or 1) > 65_535 or not set(named) <= set(_TRANSPORTS):
        raise ValueError("must look like sip:HOST:PORT;transport=tcp (udp, tcp or tls)")
    return text


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise ValueError("must be a host name such as acme1.pstn.exotel.com")
    return text


Target = Annotated[
    str, AfterValidator(_uri), Field(examples=["sip:pstn.in1.exotel.com:5070;transport=tcp"])
]


class OutboundApiConfig(Section):
    """Calls that Exotel makes for us by its API; the answered call comes in by this trunk.

    Give `app_id` or `stream_url`, not both.
    """

    account_sid: str = Field(min_length=1, max_length=64)
    """The account."""
    api_key: SecretStr
    """Its API key."""
    api_token: SecretStr
    """Its API token."""
    region: Literal["mumbai", "singapore"] = "mumbai"
    """Where the account lives."""
    base_url: str | None = None
    """Instead of the hosts of the region, for a stand-in."""
    app_id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_]+$")
    """Number of a flow in App Bazaar that leads the answered call to us, by a Voicebot applet or by
    a Connect applet that dials the trunk."""
    stream_url: str | None = Field(default=None, pattern=r"^wss?://\S+$", max_length=500)
    """`wss://…/exotel/voicebot` of this sipbot, as Exotel reaches it, for calls without a flow. The
    agent's name and the job are added to its path."""
    time_limit_s: int | None = Field(default=None, ge=1, le=14_400)
    """Longest call, in seconds, that Exotel allows."""
    record: bool = False
    """Whether Exotel records the calls."""
    match_s: float = Field(default=120.0, ge=5, le=3_600)
    """Seconds after the request in which the answered call must come to us."""

    empty_means_defaults: ClassVar[bool] = False

    @model_validator(mode="after")
    def _one_way(self) -> OutboundApiConfig:
        if (self.app_id is None) == (self.stream_url is None):
            raise ValueError("needs either app_id or stream_url")
        return self


class OutboundConfig(Section):
    """Calls that sipbot makes through a trunk, see `docs/outbound.md`."""

    uri: Annotated[tuple[Target, ...], BeforeValidator(_one_or_more)] = ()
    """Where the calls go: `sip:HOST:PORT;transport=tcp`, or a list; the next one is tried when one
    cannot be reached or answers 500, 502, 503 or 504. Empty: no calls by SIP."""
    user: str | None = Field(default=None, min_length=1, max_length=128)
    """User name for digest authentication, where the trunk asks for it (401 or 407)."""
    password: SecretStr | None = None
    """Its password."""
    from_domain: Annotated[str, AfterValidator(_host)] | None = None
    """Host of the From header; Exotel wants `<account_sid>.pstn.exotel.com` and answers 403 to
    others. Absent: our own address."""
    caller_id: str = Field(default="", max_length=64, pattern=r"^\S*$")
    """Number that the callee sees, unless a call has its own. Exotel wants an ExoPhone of the
    trunk."""
    number_format: Literal["e164", "national0"] = "e164"
    """How numbers are written: `e164` is `+919812345610`, `national0` is `09812345610`."""
    srtp: Literal["off", "required"] | None = None
    """Whether audio is encrypted. Absent: `required` where `media.srtp` says so, else plain RTP."""
    max_calls: int = Field(default=10, ge=1, le=20_000)
    """Calls made by this trunk at the same time, over all processes and nodes that share the
    store."""
    calls_per_minute: int = Field(default=200, ge=1, le=100_000)
    """Calls begun by this trunk in any minute, over all of them. Exotel allows 200."""
    ring_s: float = Field(default=45.0, ge=1, le=300)
    """Seconds that it may ring before sipbot gives up."""
    api: OutboundApiConfig | None = None
    """Calls by Exotel's API. Absent: none."""

    empty_means_defaults: ClassVar[bool] = False

    @model_validator(mode="after")
    def _complete(self) -> OutboundConfig:
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password must be given together")
        if not self.uri and self.api is None:
            raise ValueError("needs uri, api or both")
        if self.api is not None and not self.caller_id:
            raise ValueError("calls by the API need caller_id, an ExoPhone of the account")
        return self


def check_reachable(outbound: OutboundConfig | None, allow: Sequence[IpNetwork]) -> None:
    """Raises ValueError for an address whose answers ``allow`` would have dropped."""
    for uri in () if outbound is None else outbound.uri:
        match = _URI.fullmatch(uri)
        if match is None:
            continue
        try:
            address = ipaddress.ip_address(match["v6"] or match["host"])
        except ValueError:
            continue  # a name: told by DNS at the call
        if not any(address in network for network in allow):
            raise ValueError(
                f"outbound.uri: {address} must stand in allow too, or its answers are lost"
            )
