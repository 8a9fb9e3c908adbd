"""What can be told about a configuration and this machine before the first call.

Each check returns findings. ``PROBLEM`` means that ``sipbot run`` would fail or serve wrongly,
``WARNING`` that something will surprise somebody, ``OK`` says what was found in order.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from sipbot.ops.config import Config, SipConfig
from sipbot.ops.values import HttpListen, Listen

EXPIRY_WARNING: Final = timedelta(days=14)


class Grade(Enum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One result: which check, how bad, and a sentence."""

    check: str
    grade: Grade
    message: str


def check_certificate(sip: SipConfig, now: datetime) -> Iterator[Finding]:
    """Dates, key and names of the TLS certificate, where a TLS listener needs one."""
    if not any(one.transport == "tls" for one in sip.listen):
        return
    if sip.tls.certificate is None or sip.tls.private_key is None:
        yield Finding(
            "certificate",
            Grade.WARNING,
            "none configured: a self-signed pair will be made, which peers that verify refuse",
        )
        return
    try:
        certificate = x509.load_pem_x509_certificate(sip.tls.certificate.read_bytes())
    except (OSError, ValueError) as error:
        yield _problem("certificate", f"{sip.tls.certificate} cannot be read as PEM: {error}")
        return
    findings = [
        *_dates(certificate, now),
        *_key(certificate, sip.tls.private_key),
        *_names(certificate, sip.public_address),
    ]
    yield from findings
    if not findings:
        until = certificate.not_valid_after_utc.date().isoformat()
        yield Finding("certificate", Grade.OK, f"valid until {until}, fits its key")


def _problem(check: str, message: str) -> Finding:
    return Finding(check, Grade.PROBLEM, message)


def _dates(certificate: x509.Certificate, now: datetime) -> Iterator[Finding]:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < start:
        yield _problem("certificate", f"not valid before {start:%Y-%m-%d %H:%M} UTC")
    if now > end:
        yield _problem("certificate", f"expired on {end:%Y-%m-%d %H:%M} UTC")
    elif end - now < EXPIRY_WARNING:
        yield Finding("certificate", Grade.WARNING, f"expires on {end:%Y-%m-%d %H:%M} UTC")


def _key(certificate: x509.Certificate, path: Path) -> Iterator[Finding]:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
        mode = path.stat().st_mode
    except (OSError, ValueError, TypeError):  # TypeError: the key is encrypted
        yield _problem("certificate", f"the key {path} cannot be read as unencrypted PEM")
        return
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        yield _problem("certificate", f"the key {path} belongs to another certificate")
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield Finding("certificate", Grade.WARNING, f"others may read the key {path}: chmod 600")


def _names(certificate: x509.Certificate, public_address: str) -> Iterator[Finding]:
    if public_address == "auto":
        return
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        yield Finding("certificate", Grade.WARNING, "it names no host (no subjectAltName)")
        return
    addresses = {str(ip) for ip in extension.value.get_values_for_type(x509.IPAddress)}
    names = [name.lower() for name in extension.value.get_values_for_type(x509.DNSName)]
    wanted = public_address.lower()
    wildcard = "*." + wanted.partition(".")[2]
    if wanted not in addresses and wanted not in names and wildcard not in names:
        yield Finding(
            "certificate", Grade.WARNING, f"it does not name the public address {public_address}"
        )


def check_listeners(listen: Iterable[Listen | HttpListen]) -> Iterator[Finding]:
    """Whether each address can be bound now."""
    for one in listen:
        datagram = isinstance(one, Listen) and one.transport == "udp"
        kind = socket.SOCK_DGRAM if datagram else socket.SOCK_STREAM
        family = socket.AF_INET6 if ":" in one.host else socket.AF_INET
        try:
            with contextlib.closing(socket.socket(family, kind)) as sock:
                if kind is socket.SOCK_STREAM:
                    # As the server does: an old connection in TIME_WAIT does not count as in use.
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family is socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.bind((one.host, one.port))
        except OSError as error:
            hint = " (is sipbot running already?)" if "in use" in str(error).lower() else ""
            yield _problem("listeners", f"{one}: {error.strerror or error}{hint}")
        else:
            yield Finding("listeners", Grade.OK, f"{one} is free")


def check_public_address(sip: SipConfig) -> Iterator[Finding]:
    """Whether the advertised address can be reached by those who are to call."""
    loopback = all(_parsed(one.host).is_loopback for one in sip.listen)
    if sip.public_address != "auto":
        yield from _resolve(sip.public_address)
    elif loopback:
        yield Finding(
            "public address", Grade.OK, "only loopback listeners: calls from this machine only"
        )
    else:
        yield Finding(
            "public address",
            Grade.OK,
            "auto: each call is told the address that it came in by; behind NAT set"
            " sip.public_address",
        )


def _parsed(literal: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(literal.partition("%")[0])  # without the zone of link-local ones


def _resolve(name: str) -> Iterator[Finding]:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        yield _problem("public address", f"{name} is no address and no name that DNS knows")
        return
    addresses = sorted({str(info[4][0]) for info in found})
    private = [one for one in addresses if not _parsed(one).is_global]
    if private:
        yield Finding(
            "public address",
            Grade.WARNING,
            f"{', '.join(private)} cannot be reached from the Internet",
        )
    else:
        yield Finding("public address", Grade.OK, f"{name} is {', '.join(addresses)}")


def check_signalling(config: Config, now: datetime) -> tuple[Finding, ...]:
    """All checks of this module; ``now`` is in UTC."""
    return (
        *check_certificate(config.sip, now),
        *check_listeners(config.sip.listen),
        *check_listeners([] if config.http.listen is None else [config.http.listen]),
        *check_public_address(config.sip),
    )
