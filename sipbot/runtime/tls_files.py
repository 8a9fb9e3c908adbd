"""Which certificate the TLS listeners show."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sipbot.clock import Clock
from sipbot.ops.config import SipConfig
from sipbot.ops.logs import Logger
from sipbot.runtime.directories import state_directory
from sipbot.transport.local import is_wildcard, local_address_towards
from sipbot.transport.tls import TlsContexts, ensure_self_signed


def tls_contexts(sip: SipConfig, clock: Clock, log: Logger) -> TlsContexts:
    """The configured certificate, or a self-signed pair, made when a TLS listener needs one.

    The self-signed pair lies in the user's state directory, so that peers which were told to trust
    it may go on doing so after a restart. Raises TransportError.
    """
    certificate, key = sip.tls.certificate, sip.tls.private_key
    if certificate is None and any(listen.transport == "tls" for listen in sip.listen):
        folder = state_directory() / "tls"
        folder.mkdir(parents=True, exist_ok=True)
        certificate, key = folder / "self-signed.crt", folder / "self-signed.key"
        now = datetime.fromtimestamp(clock.wall(), UTC)
        made = ensure_self_signed(certificate, key, _names(sip), now)
        log.warning("self-signed certificate", file=str(certificate), made=made)
    return TlsContexts(certificate, key, ca=sip.tls.ca, verify=sip.tls.verify)


def _names(sip: SipConfig) -> Sequence[str]:
    names = [] if sip.public_address == "auto" else [sip.public_address]
    for listen in sip.listen:
        host = local_address_towards("") if is_wildcard(listen.host) else listen.host
        if listen.transport == "tls" and host not in names:
            names.append(host)
    return [*names, "localhost"]
