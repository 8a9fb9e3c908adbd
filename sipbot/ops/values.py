"""Values that a configuration file writes as one short text: listeners, port ranges, networks.

Every ``parse`` raises ``ValueError`` with a sentence that says what is allowed; pydantic turns it
into a configuration problem with its line.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BeforeValidator, PlainSerializer, ValidationInfo, WithJsonSchema

ListenTransport: TypeAlias = Literal["udp", "tcp", "tls"]
IpNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

# RFC 3261 section 19.1.2: 5060 for UDP and TCP, 5061 for TLS.
DEFAULT_PORT: Final[dict[str, int]] = {"udp": 5060, "tcp": 5060, "tls": 5061}
HIGHEST_PORT: Final = 65535
LOWEST_RTP_PORT: Final = 1024  # lower ones are privileged
BASE_DIRECTORY: Final = "base"  # key of the validation context: what relative paths start from

_LISTEN: Final = re.compile(
    r"(?P<transport>[a-z]+)://(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^\[\]:/]+))(?::(?P<port>\d+))?/?"
)
_HTTP_LISTEN: Final = re.compile(
    r"(?P<scheme>https?)://(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^\[\]:/]+)):(?P<port>\d+)/?"
)


@dataclass(frozen=True, slots=True)
class Listen:
    """One SIP listener, written ``udp://127.0.0.1:5070`` or ``tls://[::]:5061``.

    ``host`` is an IP literal without brackets; ``port`` 0 lets the system choose.
    """

    transport: ListenTransport
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.transport}://{host}:{self.port}"

    @classmethod
    def parse(cls, text: object) -> Listen:
        if isinstance(text, cls):
            return text
        match = _LISTEN.fullmatch(str(text))
        if match is None or match["transport"] not in DEFAULT_PORT:
            raise ValueError("must look like udp://ADDRESS:PORT, tcp://ADDRESS:PORT or tls://…")
        host = match["v6"] or match["host"]
        try:
            ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            raise ValueError(
                "the address must be an IP address such as 127.0.0.1, 0.0.0.0 or [::]"
            ) from None
        transport = match["transport"]
        port = int(match["port"]) if match["port"] else DEFAULT_PORT[transport]
        if port > HIGHEST_PORT:
            raise ValueError(f"the port must be between 0 and {HIGHEST_PORT}")
        return cls(transport, host, port)  # type: ignore[arg-type]  # checked against DEFAULT_PORT


@dataclass(frozen=True, slots=True)
class HttpListen:
    """Where HTTP is to be served, written ``http://127.0.0.1:8080``; ``https`` when ``secure``."""

    host: str
    port: int
    secure: bool = False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.secure else ''}://{host}:{self.port}"

    @classmethod
    def parse(cls, text: object) -> HttpListen:
        if isinstance(text, cls):
            return text
        match = _HTTP_LISTEN.fullmatch(str(text))
        if match is None or int(match["port"]) > HIGHEST_PORT:
            raise ValueError("must look like http://ADDRESS:PORT or https://ADDRESS:PORT")
        return cls(match["v6"] or match["host"], int(match["port"]), match["scheme"] == "https")


@dataclass(frozen=True, slots=True)
class PortRange:
    """UDP ports for RTP and RTCP, both ends included, written ``10000-20000``."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    @property
    def pairs(self) -> int:
        """How many calls fit: pairs of an even port (RTP) and the odd one after it (RTCP)."""
        first_even = self.first + self.first % 2
        return max(0, (self.last - first_even + 1) // 2)

    @classmethod
    def parse(cls, text: object) -> PortRange:
        if isinstance(text, cls):
            return text
        match = re.fullmatch(r"\s*(\d+)\s*-\s*(\d+)\s*", str(text))
        if match is None:
            raise ValueError("must look like FIRST-LAST, for example 10000-20000")
        ports = cls(int(match[1]), int(match[2]))
        if not LOWEST_RTP_PORT <= ports.first <= ports.last <= HIGHEST_PORT:
            raise ValueError(
                f"ports must lie between {LOWEST_RTP_PORT} and {HIGHEST_PORT}, the lower first"
            )
        if ports.pairs == 0:
            raise ValueError("must hold at least one even port and the odd one after it")
        return ports


def parse_network(text: object) -> IpNetwork:
    """An address or network: ``203.0.113.7``, ``203.0.113.0/24``, ``2001:db8::/32``."""
    if isinstance(text, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return text
    try:
        return ipaddress.ip_network(str(text), strict=True)
    except ValueError as error:
        if "host bits" in str(error):
            network = ipaddress.ip_network(str(text), strict=False)
            raise ValueError(f"has bits set beyond its prefix; meant {network}?") from None
        raise ValueError(
            "must be an IP address or network such as 203.0.113.7 or 203.0.113.0/24"
        ) from None


def resolve_path(value: object, info: ValidationInfo) -> object:
    """Make a path absolute: ``~`` is the home directory, relative ones start at the file."""
    if not isinstance(value, str | Path) or str(value) == "":
        return value
    path = Path(value).expanduser()
    base: Any = (info.context or {}).get(BASE_DIRECTORY)
    return path if path.is_absolute() or base is None else (Path(base) / path).resolve()


def _text_schema(pattern: str, *examples: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": list(examples)})


ListenUrl = Annotated[
    Listen,
    BeforeValidator(Listen.parse),
    PlainSerializer(str),
    _text_schema(r"^(udp|tcp|tls)://", "udp://127.0.0.1:5070", "tls://[::]:5061"),
]
HttpListenUrl = Annotated[
    HttpListen,
    BeforeValidator(HttpListen.parse),
    PlainSerializer(str),
    _text_schema(r"^https?://", "http://127.0.0.1:8080", "https://0.0.0.0:8443"),
]
Ports = Annotated[
    PortRange,
    BeforeValidator(PortRange.parse),
    PlainSerializer(str),
    _text_schema(r"^[0-9]+-[0-9]+$", "10000-20000"),
]
Network = Annotated[
    IpNetwork,
    BeforeValidator(parse_network),
    PlainSerializer(str),
    _text_schema(r"^[0-9a-fA-F.:/]+$", "203.0.113.7", "203.0.113.0/24", "2001:db8::/32"),
]
FilePath = Annotated[Path, BeforeValidator(resolve_path)]
