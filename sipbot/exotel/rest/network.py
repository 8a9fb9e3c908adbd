"""Looks at a SIP destination from outside: its name, its port, its certificate."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

CONNECT_TIMEOUT_S: Final = 5.0
DEFAULT_PORT: Final = {"tcp": 5060, "tls": 5061}
HIGHEST_PORT: Final = 65_535

_ENDPOINT: Final = re.compile(
    r"(?:sips?:)?(?P<host>[A-Za-z0-9.-]+)(?::(?P<port>\d{1,5}))?(?:;transport=(?P<transport>tcp|tls))?"
)


class Unreachable(Exception):
    """Why a destination cannot be reached; a sentence without its name."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A destination taken apart."""

    host: str
    port: int
    tls: bool

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """``HOST[:PORT][;transport=tcp|tls]``, TLS unless it says otherwise. ``ValueError``."""
        match = _ENDPOINT.fullmatch(text.strip())
        transport = (match["transport"] or "tls") if match else ""
        port = int(match["port"] or DEFAULT_PORT[transport]) if match else 0
        if match is None or not 0 < port <= HIGHEST_PORT:
            raise ValueError("must look like HOST, HOST:PORT or HOST:PORT;transport=tcp")
        return cls(match["host"].lower(), port, transport == "tls")


async def resolve(host: str) -> tuple[str, ...]:
    """The addresses of ``host``, itself when it is one. Raises ``Unreachable``."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Unreachable("DNS knows no such name") from None
    return tuple(sorted({str(info[4][0]) for info in found}))


def is_public(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_global


async def connect(endpoint: Endpoint, trust: ssl.SSLContext | None = None) -> datetime | None:
    """Open and close a connection. For TLS, when the certificate ends; else None.

    ``trust`` is what certificates are checked against, by default the system's authorities.
    Raises ``Unreachable``.
    """
    context = (trust or ssl.create_default_context()) if endpoint.tls else None
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, writer = await asyncio.open_connection(
                endpoint.host,
                endpoint.port,
                ssl=context,
                server_hostname=endpoint.host if context else None,
            )
    except ssl.SSLCertVerificationError as error:
        raise Unreachable(f"its certificate is not accepted: {error.verify_message}") from None
    except ssl.SSLError as error:
        raise Unreachable(f"no TLS there ({error.reason or 'handshake failed'})") from None
    except TimeoutError:
        raise Unreachable(f"no connection within {CONNECT_TIMEOUT_S:g} s") from None
    except OSError as error:
        raise Unreachable(f"no connection ({error.strerror or 'I/O error'})") from None
    try:
        return _until(writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await writer.wait_closed()


def _until(writer: asyncio.StreamWriter) -> datetime | None:
    certificate = writer.get_extra_info("peercert")
    if not certificate:
        return None
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)
