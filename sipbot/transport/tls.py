"""TLS contexts for SIP, and a self-signed pair for those who have no certificate yet.

TLS 1.2 and newer. Certificates are read again by ``reload``; connections that exist keep what
they agreed on.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sipbot.errors import TransportError

SELF_SIGNED_DAYS: Final = 825  # the longest that common verifiers accept
RENEW_BEFORE: Final = timedelta(days=14)
_KEY_MODE: Final = 0o600
_MAX_COMMON_NAME: Final = 64  # characters (RFC 5280 appendix A, ub-common-name)


class TlsContexts:
    """The TLS settings of one endpoint, for accepted and for opened connections.

    Without ``certificate`` only connections that we open are possible. ``verify`` False takes any
    certificate of a peer that we connect to: for tests and for trunks on private lines.
    Raises TransportError when a file cannot be used.
    """

    def __init__(
        self,
        certificate: Path | None = None,
        private_key: Path | None = None,
        *,
        ca: Path | None = None,
        verify: bool = True,
    ) -> None:
        self._certificate, self._private_key = certificate, private_key
        self._ca, self._verify = ca, verify
        self._server: ssl.SSLContext | None = None
        self.reload()

    @property
    def server(self) -> ssl.SSLContext:
        """For accepted connections. Raises TransportError when there is no certificate."""
        if self._server is None:
            raise TransportError("a TLS listener needs a certificate")
        return self._server

    @property
    def client(self) -> ssl.SSLContext:
        """For connections that we open."""
        return self._client

    def reload(self) -> None:
        """Read the files again, for new connections.

        Raises TransportError, and then keeps what it had.
        """
        try:
            client = ssl.create_default_context(cafile=self._ca)
            client.minimum_version = ssl.TLSVersion.TLSv1_2
            if not self._verify:
                client.check_hostname = False
                client.verify_mode = ssl.CERT_NONE
            server = None
            if self._certificate is not None:
                server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                server.minimum_version = ssl.TLSVersion.TLSv1_2
                for context in (server, client):  # peers may ask a client for one, too
                    context.load_cert_chain(self._certificate, self._private_key)
        except OSError as error:  # ssl.SSLError is one
            cause = getattr(error, "reason", None) or error.strerror or type(error).__name__
            raise TransportError(f"TLS certificate or key cannot be used: {cause}") from error
        self._client, self._server = client, server


def ensure_self_signed(
    certificate: Path, private_key: Path, names: Sequence[str], now: datetime
) -> bool:
    """Make a self-signed pair unless there is one that stays valid; True when it was made.

    ``names`` are host names and IP literals for subjectAltName; ``now`` has a time zone. The key
    file is readable by its owner only. Raises TransportError when a file cannot be written.
    """
    if private_key.exists() and _valid_until(certificate) > now + RENEW_BEFORE:
        return False
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    signed = _self_signed(key, names, now).public_bytes(serialization.Encoding.PEM)
    try:
        _write_private(private_key, pem)
        _write_private(certificate, signed)
    except OSError as error:
        cause = error.strerror or type(error).__name__
        raise TransportError(f"cannot write a self-signed certificate: {cause}") from error
    return True


def _valid_until(certificate: Path) -> datetime:
    """End of validity; the beginning of time for a file that cannot be read."""
    try:
        return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        return datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def _self_signed(
    key: ec.EllipticCurvePrivateKey, names: Sequence[str], now: datetime
) -> x509.Certificate:
    common = names[0] if names and len(names[0]) <= _MAX_COMMON_NAME else "sipbot"
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    public = key.public_key()
    usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # clocks of peers may be slow
        .not_valid_after(now + timedelta(days=SELF_SIGNED_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
    )
    if names:
        alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
        builder = builder.add_extension(alternatives, critical=False)
    return builder.sign(key, hashes.SHA256())


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write_private(path: Path, content: bytes) -> None:
    """Write in one step, with the mode set before the first byte is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _KEY_MODE), "wb") as file:
        file.write(content)
    draft.replace(path)
