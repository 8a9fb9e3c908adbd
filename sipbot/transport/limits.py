"""What one endpoint may cost, and how long it waits for anybody."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TransportLimits:
    """Bounds of a ``SipEndpoint``. Seconds are floats, sizes are bytes."""

    max_connections: int = 2_000  # stream connections in all, handshakes included
    max_connections_per_address: int = 500  # of them from or to one IP address
    max_queued_bytes: int = 1 << 20  # unsent bytes of one connection; a slower reader is cut off
    max_pending_sends: int = 2_000  # messages that wait for a name or a connection
    connect_s: float = 5.0  # TCP connection set-up
    handshake_s: float = 5.0  # TLS handshake after it
    first_message_s: float = 32.0  # an accepted connection that never says anything (64 * T1)
    idle_s: float = 3_600.0  # since the last message or keep-alive, either way
    close_s: float = 2.0  # flushing at close
    udp_receive_buffer: int = 4 << 20  # SO_RCVBUF; the kernel may grant less
