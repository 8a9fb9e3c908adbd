"""One TCP or TLS connection: framing, keep-alive, bounded writing, idle time-out."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Final, Protocol, cast

from sipbot.sip.effects import Flow, Transport
from sipbot.sip.framing import Frame, KeepAlivePing, MessageBytes, StreamError, StreamFramer
from sipbot.transport.limits import TransportLimits
from sipbot.transport.local import address_of

_PONG: Final = b"\r\n"  # RFC 5626 section 4.4.1
_KEEPALIVE_IDLE_S: Final = 120  # TCP keep-alive probes after this silence
_KEEPALIVE_INTERVAL_S: Final = 30
_KEEPALIVE_PROBES: Final = 4


class StreamEvents(Protocol):
    """Who owns connections and hears of them."""

    def received(self, data: bytes, flow: Flow) -> None: ...

    def dropped(self, rule: str, ip: str) -> None: ...

    def closed(self, connection: StreamConnection) -> None: ...


class StreamConnection(asyncio.Protocol):
    """A connection in either direction, usable both ways.

    It is open from ``connection_made`` (after the TLS handshake, if any) until its owner is told
    ``closed``.
    """

    def __init__(
        self,
        number: int,
        kind: Transport,
        *,
        accepted: bool,
        limits: TransportLimits,
        events: StreamEvents,
    ) -> None:
        self.number, self.accepted = number, accepted
        self.flow = Flow(kind, ("", 0), ("", 0), number)
        self._kind, self._limits, self._events = kind, limits, events
        self._framer = StreamFramer()
        self._transport: asyncio.Transport | None = None
        self._spoken = not accepted  # whether first_message_s has done its duty
        self._last_used = 0.0  # loop time in seconds
        self._alarm: asyncio.TimerHandle | None = None

    @property
    def open(self) -> bool:
        """Whether ``write`` may work."""
        return self._transport is not None and not self._transport.is_closing()

    def write(self, wire: bytes) -> bool:
        """Queue bytes; False when the connection is closing or its peer does not read."""
        if self._transport is None or self._transport.is_closing():
            return False
        self._transport.write(wire)
        if self._transport.get_write_buffer_size() > self._limits.max_queued_bytes:
            self._events.dropped("stream-slow-reader", self.flow.remote[0])
            self.abort()
            return False
        self._used()
        return True

    def close(self) -> None:
        """Flush, then close."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once; what was not sent is lost."""
        if self._transport is not None:
            self._transport.abort()

    # What asyncio calls:

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        # A connection through a wildcard listener still has one real local address.
        local = address_of(transport.get_extra_info("sockname"))
        remote = address_of(transport.get_extra_info("peername"))
        self.flow = Flow(self._kind, local, remote, self.number)
        _tune(transport.get_extra_info("socket"))
        self._used()
        self._arm()

    def data_received(self, data: bytes) -> None:
        try:
            self._handle(self._framer.feed(data))
        except StreamError as error:
            self._handle(error.frames)  # the core answers the faulty message if it can
            self._events.dropped("stream-syntax", self.flow.remote[0])
            self.close()

    def eof_received(self) -> bool:
        return False  # close, after what is queued was sent

    def connection_lost(self, exc: Exception | None) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._transport = None
        self._events.closed(self)

    def _handle(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            if not self.open:
                return
            self._spoken = True
            self._used()
            if isinstance(frame, MessageBytes):
                self._events.received(frame.data, self.flow)
            elif isinstance(frame, KeepAlivePing):
                self.write(_PONG)

    def _used(self) -> None:
        self._last_used = asyncio.get_running_loop().time()

    def _limit(self) -> float:
        return self._limits.idle_s if self._spoken else self._limits.first_message_s

    def _arm(self) -> None:
        loop = asyncio.get_running_loop()
        self._alarm = loop.call_at(self._last_used + self._limit(), self._on_alarm)

    def _on_alarm(self) -> None:
        """One lazy alarm: traffic only moves ``_last_used``."""
        if asyncio.get_running_loop().time() - self._last_used < self._limit():
            self._arm()
            return
        rule = "stream-idle" if self._spoken else "stream-silent"
        self._events.dropped(rule, self.flow.remote[0])
        self.close()


def _tune(opened: socket.socket | None) -> None:
    """No Nagle delay; find peers that vanished without a word."""
    if opened is None:
        return
    options = {
        "TCP_NODELAY": 1,
        "TCP_KEEPIDLE": _KEEPALIVE_IDLE_S,
        "TCP_KEEPINTVL": _KEEPALIVE_INTERVAL_S,
        "TCP_KEEPCNT": _KEEPALIVE_PROBES,
    }
    with suppress(OSError):  # the peer may have reset it already
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in options.items():
            if hasattr(socket, name):
                opened.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
