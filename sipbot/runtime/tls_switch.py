"""TLS settings that can be exchanged while connections are open."""

from __future__ import annotations

from sipbot.clock import Clock
from sipbot.ops.config import SipConfig
from sipbot.ops.logs import Logger
from sipbot.runtime.tls_files import tls_contexts
from sipbot.transport.tls import TlsContexts


class SwitchableTls(TlsContexts):
    """Takes over the certificates of another one, for connections that come from then on."""

    def adopt(self, other: TlsContexts) -> None:
        """Show what ``other`` shows now."""
        self._client, self._server = other._client, other._server


def switchable(sip: SipConfig, clock: Clock, log: Logger) -> SwitchableTls:
    """As ``tls_contexts``. Raises TransportError."""
    made = SwitchableTls()
    made.adopt(tls_contexts(sip, clock, log))
    return made
