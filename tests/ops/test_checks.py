"""Certificate, listeners and public address: each thing that can be wrong is told."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from sipbot.ops.checks import (
    Finding,
    Grade,
    check_certificate,
    check_listeners,
    check_public_address,
    check_signalling,
)
from sipbot.ops.config import Config, SipConfig, TlsConfig
from sipbot.ops.values import HttpListen, Listen

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def write_pair(
    directory: Path,
    *,
    days: int = 90,
    starts_in_days: int = -1,
    names: Sequence[str] = ("bot.example",),
    password: bytes | None = None,
) -> TlsConfig:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bot")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW + timedelta(days=starts_in_days))
        .not_valid_after(NOW + timedelta(days=max(days, starts_in_days + 1)))
    )
    if names:
        alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
        alternatives.append(x509.IPAddress(ipaddress.ip_address("198.51.100.7")))
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    directory.mkdir(exist_ok=True)
    (directory / "crt").write_bytes(certificate.public_bytes(Encoding.PEM))
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    (directory / "key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    )
    (directory / "key").chmod(0o600)
    return TlsConfig(certificate=directory / "crt", private_key=directory / "key")


def certificate_findings(tls: TlsConfig, **sip: Any) -> list[Finding]:
    return list(check_certificate(SipConfig(tls=tls, **sip), NOW))


def graded(findings: Sequence[Finding]) -> list[tuple[Grade, str]]:
    return [(finding.grade, finding.message) for finding in findings]


def test_a_good_certificate(tmp_path: Path) -> None:
    for address in ("auto", "bot.example", "BOT.example", "198.51.100.7"):
        (finding,) = certificate_findings(write_pair(tmp_path), public_address=address)
        assert finding.grade is Grade.OK
        assert "2026-08-30" in finding.message


def test_a_wildcard_name(tmp_path: Path) -> None:
    tls = write_pair(tmp_path, names=["*.example"])
    (finding,) = certificate_findings(tls, public_address="bot.example")
    assert finding.grade is Grade.OK


@pytest.mark.parametrize(
    ("days", "starts", "grade", "says"),
    [
        (-0, -30, Grade.WARNING, "expires on"),
        (-5, -30, Grade.PROBLEM, "expired on 2026-05-27"),
        (13, -30, Grade.WARNING, "expires on 2026-06-14"),
        (90, 3, Grade.PROBLEM, "not valid before 2026-06-04"),
    ],
)
def test_dates(tmp_path: Path, days: int, starts: int, grade: Grade, says: str) -> None:
    ((found, message),) = graded(
        certificate_findings(write_pair(tmp_path, days=days, starts_in_days=starts))
    )
    assert found is grade
    assert says in message


def test_a_key_of_another_certificate(tmp_path: Path) -> None:
    one, two = write_pair(tmp_path / "1"), write_pair(tmp_path / "2")
    mixed = TlsConfig(certificate=one.certificate, private_key=two.private_key)
    ((grade, message),) = graded(certificate_findings(mixed))
    assert grade is Grade.PROBLEM
    assert "another certificate" in message


def test_unusable_files(tmp_path: Path) -> None:
    locked = write_pair(tmp_path, password=b"x")
    assert "unencrypted" in certificate_findings(locked)[0].message
    (tmp_path / "crt").write_text("no certificate")
    ((grade, message),) = graded(certificate_findings(locked))
    assert grade is Grade.PROBLEM
    assert "PEM" in message


def test_a_key_that_others_may_read(tmp_path: Path) -> None:
    tls = write_pair(tmp_path)
    (tmp_path / "key").chmod(0o644)
    ((grade, message),) = graded(certificate_findings(tls))
    assert grade is Grade.WARNING
    assert "chmod 600" in message


@pytest.mark.parametrize(("names", "says"), [((), "no host"), (("x.org",), "does not name")])
def test_names_that_do_not_fit(tmp_path: Path, names: Sequence[str], says: str) -> None:
    tls = write_pair(tmp_path, names=names)
    ((grade, message),) = graded(certificate_findings(tls, public_address="bot.example"))
    assert grade is Grade.WARNING
    assert says in message


def test_no_certificate() -> None:
    assert [one.grade for one in certificate_findings(TlsConfig())] == [Grade.WARNING]
    plain = (Listen("udp", "127.0.0.1", 5070),)
    assert certificate_findings(TlsConfig(), listen=plain) == []


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_listener_in_use(transport: str) -> None:
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    with closing(socket.socket(socket.AF_INET, kind)) as taken:
        taken.bind(("127.0.0.1", 0))
        if transport == "tcp":
            taken.listen()
        one = Listen.parse(f"{transport}://127.0.0.1:{taken.getsockname()[1]}")
        (finding,) = check_listeners([one])
    assert finding.grade is Grade.PROBLEM
    assert "is sipbot running already?" in finding.message
    (finding,) = check_listeners([one])
    assert finding.grade is Grade.OK


def test_the_http_port_is_checked_too() -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        (finding,) = check_listeners([HttpListen.parse(url)])
    assert finding.grade is Grade.PROBLEM
    assert url in finding.message


def test_a_foreign_address() -> None:
    (finding,) = check_listeners([Listen("udp", "192.0.2.1", 5070)])
    assert finding.grade is Grade.PROBLEM
    assert "udp://192.0.2.1:5070" in finding.message


def names_resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    def getaddrinfo(name: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        if not addresses:
            raise socket.gaierror("unknown")
        return [(0, 0, 0, "", (address, 0)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize(
    ("addresses", "grade", "says"),
    [
        (["8.8.8.8"], Grade.OK, "bot.example is 8.8.8.8"),
        (["10.0.0.1"], Grade.WARNING, "10.0.0.1 cannot be reached"),
        ([], Grade.PROBLEM, "no name that DNS knows"),
    ],
)
def test_public_address(
    monkeypatch: pytest.MonkeyPatch, addresses: list[str], grade: Grade, says: str
) -> None:
    names_resolve_to(monkeypatch, *addresses)
    (finding,) = check_public_address(SipConfig(public_address="bot.example"))
    assert finding.grade is grade
    assert says in finding.message


def test_public_address_auto() -> None:
    (local,) = check_public_address(SipConfig())
    assert "this machine only" in local.message
    (wide,) = check_public_address(SipConfig(listen=(Listen("udp", "0.0.0.0", 5060),)))
    assert "sip.public_address" in wide.message


def test_all_together() -> None:
    config = Config(sip=SipConfig(listen=(Listen("udp", "127.0.0.1", 0),)))
    found = check_signalling(config, NOW)
    assert [one.check for one in found] == ["listeners", "public address"]
