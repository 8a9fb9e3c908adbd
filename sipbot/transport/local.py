"""Local sockets and local addresses."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from dataclasses import dataclass
from typing import Final, Protocol

from sipbot.errors import TransportError
from sipbot.sip.effects import Address, Transport

# Addresses for documentation (RFC 5737, RFC 3849): a probe towards them sends nothing.
_PROBE: Final = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
_LOOPBACK: Final = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
_PROBE_PORT: Final = 9  # discard; connecting a datagram socket sends nothing


class ListenAt(Protocol):
    """Anything that says where to listen, such as a configuration value."""

    @property
    def transport(self) -> Transport: ...

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to listen; port 0 lets the system choose. ``host`` has no brackets."""

    transport: Transport
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.transport}://{bracketed(self.host)}:{self.port}"


def is_ip(host: str) -> bool:
    """Whether ``host`` is an IP literal (no brackets)."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_wildcard(host: str) -> bool:
    """Whether ``host`` is 0.0.0.0 or ``::``."""
    return is_ip(host) and ipaddress.ip_address(host).is_unspecified


def family_of(ip: str) -> socket.AddressFamily:
    """The address family of an IP literal."""
    return socket.AF_INET6 if ":" in ip else socket.AF_INET


def local_address_towards(remote_ip: str) -> str:
    """Our address from which ``remote_ip`` is reached, as the routing table has it now.

    For "" the address of the default route. Without a route it is the loopback address. Sends
    nothing.
    """
    family = family_of(remote_ip)
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((remote_ip or _PROBE[family], _PROBE_PORT))
        except OSError:
            return _LOOPBACK[family]
        return str(probe.getsockname()[0])


async def bound_socket(listen: ListenAt) -> socket.socket:
    """A non-blocking socket bound to ``listen``. Raises TransportError with its cause."""
    try:
        ip = await _literal(listen.host)
        return _bind(ip, listen.port, datagram=listen.transport == "udp")
    except OSError as error:
        where = f"{listen.transport}://{bracketed(listen.host)}:{listen.port}"
        cause = error.strerror or type(error).__name__
        raise TransportError(f"cannot listen on {where}: {cause}") from error


def bracketed(host: str) -> str:
    """``host`` as it stands in a URI: IPv6 literals in brackets."""
    return f"[{host}]" if ":" in host else host


def address_of(name: object) -> Address:
    """What ``getsockname`` or ``getpeername`` gave, without flow label; ("", 0) for nothing."""
    if isinstance(name, tuple) and len(name) >= 2:
        return str(name[0]), int(name[1])
    return "", 0


async def _literal(host: str) -> str:
    if is_ip(host):
        return host
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return str(found[0][4][0])


def _bind(ip: str, port: int, *, datagram: bool) -> socket.socket:
    family = family_of(ip)
    made = socket.socket(family, socket.SOCK_DGRAM if datagram else socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        if family == socket.AF_INET6:  # so that [::] and 0.0.0.0 can share a port
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if not datagram:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((ip, port))
    except OSError:
        made.close()
        raise
    return made
