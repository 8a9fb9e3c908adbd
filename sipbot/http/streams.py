"""A request for a WebSocket of Exotel's applets, and the port to those who take it.

``/exotel/voicebot/{agent}[/…]`` is the Voicebot applet, ``/exotel/stream/{agent}[/…]`` the Stream
applet, which only listens. Everything that can be judged is judged before the upgrade.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, Protocol, TypeAlias
from urllib.parse import parse_qsl, unquote

from sipbot.errors import SipbotError
from sipbot.exotel.wire import MAX_NAME, MAX_PARAMETERS, MAX_VALUE
from sipbot.http.socket import ServerSocket
from sipbot.ops.values import IpNetwork

StreamKind: TypeAlias = Literal["voicebot", "stream"]

PREFIXES: Final[Mapping[str, StreamKind]] = MappingProxyType(
    {"/exotel/voicebot": "voicebot", "/exotel/stream": "stream"}
)
MAX_CREDENTIALS: Final = 512  # characters of an Authorization header
MAX_FORWARDED: Final = 16  # addresses read from X-Forwarded-For, from its end


class StreamRefused(SipbotError):
    """The request is answered with ``status`` instead of the upgrade; ``rule`` says why.

    ``retry_after_s`` goes out as Retry-After; a 401 asks for Basic credentials.
    """

    def __init__(self, rule: str, status: int, retry_after_s: int | None = None) -> None:
        super().__init__(rule)
        self.rule, self.status, self.retry_after_s = rule, status, retry_after_s


@dataclass(frozen=True, slots=True)
class Credentials:
    """User and password as received."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """``agent`` is the first segment behind the prefix, decoded, and ``rest`` what follows it;
    both may be empty. ``path`` is the whole path. ``ip`` is the client's address."""

    kind: StreamKind
    agent: str
    rest: str
    path: str
    query: Mapping[str, str]
    ip: str
    port: int
    credentials: Credentials | None = None


class StreamDoor(Protocol):
    """Takes streams. ``admit`` holds a place until ``enter`` or ``leave`` is called with it."""

    def admit(self, request: StreamRequest) -> object:
        """A ticket for one socket. Raises StreamRefused."""
        ...

    def enter(self, ticket: object, socket: ServerSocket) -> None:
        """The upgrade was answered; the socket belongs to the door from now on."""
        ...

    def refused(self, refusal: StreamRefused, ip: str) -> None:
        """A request was refused, by ``admit`` or before: it wants to be counted and logged."""
        ...


def stream_kind(target: str) -> StreamKind | None:
    """Which applet a request target is for; None when it is for neither."""
    path = target.partition("?")[0]
    for prefix, kind in PREFIXES.items():
        if path == prefix or path.startswith(prefix + "/"):
            return kind
    return None


def stream_request(
    target: str,
    kind: StreamKind,
    headers: Mapping[str, str],
    client: tuple[str, int],
    trusted: Sequence[IpNetwork],
) -> StreamRequest:
    """Read a request. Raises StreamRefused."""
    raw_path, _, raw_query = target.partition("?")
    path = unquote(raw_path)
    behind = path[len("/exotel/") + len(kind) :].strip("/")
    agent, _, rest = behind.partition("/")
    if not path.isprintable() or len(agent) > MAX_NAME or len(rest) > MAX_VALUE:
        raise StreamRefused("bad-path", 400)
    return StreamRequest(
        kind=kind,
        agent=agent,
        rest=rest,
        path=path,
        query=_query(raw_query),
        ip=client_address(client[0], headers.get("x-forwarded-for", ""), trusted),
        port=client[1],
        credentials=_credentials(headers.get("authorization", "")),
    )


def client_address(peer: str, forwarded: str, trusted: Sequence[IpNetwork]) -> str:
    """The first address from the end of the chain that is no trusted proxy."""
    address = peer
    if not _is_in(address, trusted):
        return address
    for hop in reversed(forwarded.split(",")[-MAX_FORWARDED:]):
        named = hop.strip().strip('"')
        if _parsed(named) is None:
            return address
        address = named
        if not _is_in(address, trusted):
            return address
    return address


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _is_in(text: str, networks: Sequence[IpNetwork]) -> bool:
    address = _parsed(text)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address is not None and any(address in network for network in networks)


def _query(text: str) -> Mapping[str, str]:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise StreamRefused("bad-query", 400) from None
    for name, value in pairs:
        if len(name) > MAX_NAME or len(value) > MAX_VALUE:
            raise StreamRefused("bad-query", 400)
    return MappingProxyType(dict(pairs))


def _credentials(header: str) -> Credentials | None:
    """Those of ``Authorization: Basic`` (RFC 7617); None when there are none that can be read."""
    scheme, _, coded = header.partition(" ")
    if scheme.lower() != "basic" or len(header) > MAX_CREDENTIALS:
        return None
    try:
        user, colon, password = (
            base64.b64decode(coded.strip(), validate=True).decode().partition(":")
        )
    except (binascii.Error, ValueError):
        return None
    return Credentials(user, password) if colon else None
