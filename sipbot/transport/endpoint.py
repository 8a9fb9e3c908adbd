"""All listeners and connections of one process. Knows bytes and flows, not what SIP means."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from sipbot.errors import TransportError
from sipbot.sip.effects import Address, Attempt, Flow, Hop, Send, Transport
from sipbot.transport.limits import TransportLimits
from sipbot.transport.local import Listen, ListenAt, address_of, bound_socket
from sipbot.transport.resolve import Candidate, HopResolver, literal
from sipbot.transport.tcp import StreamPool
from sipbot.transport.tls import TlsContexts
from sipbot.transport.udp import UdpListener

__all__ = ["Listen", "SipEndpoint", "TransportLimits"]

SEND_TIMEOUT_S = 32.0  # names, connections and handshakes of one message: 64 * T1 (RFC 3261)


class SipEndpoint:
    """Moves SIP messages.

    ``receive`` gets each framed message with its flow. ``admit(ip, transport)`` is asked for every
    datagram and every new connection. ``on_drop(rule, ip)`` hears of everything that was dropped
    or refused, ``on_unreachable(hop, cause)`` of every next hop that could not be reached.
    All of them are called on the event loop, and none may block.
    """

    def __init__(
        self,
        *,
        receive: Callable[[bytes, Flow], None],
        admit: Callable[[str, Transport], bool],
        on_drop: Callable[[str, str], None],
        resolver: HopResolver,
        tls: TlsContexts | None = None,
        limits: TransportLimits | None = None,
        on_unreachable: Callable[[Hop, str], None] | None = None,
    ) -> None:
        self._hear, self._admit, self._on_drop = receive, admit, on_drop
        self._resolver = resolver
        self._limits = limits or TransportLimits()
        self._on_unreachable = on_unreachable or (lambda hop, cause: None)
        self._udp: list[UdpListener] = []
        self._streams = StreamPool(
            receive=self._receive, admit=admit, on_drop=on_drop, tls=tls, limits=self._limits
        )
        self._pending: set[asyncio.Task[Any]] = set()
        self._closing = False

    @property
    def connections(self) -> int:
        """Stream connections, handshakes included."""
        return len(self._streams)

    @property
    def pending_sends(self) -> int:
        """Messages that wait for a name or a connection."""
        return len(self._pending)

    async def listen(self, url: ListenAt, bound: socket.socket | None = None) -> Address:
        """Open a listener; returns the address really bound. Raises TransportError.

        ``bound`` is a non-blocking socket that is bound already; it is taken over.
        """
        if bound is None:
            bound = await bound_socket(url)
        address = address_of(bound.getsockname())
        if url.transport == "udp":
            self._udp.append(
                UdpListener(
                    bound,
                    receive=self._receive,
                    admit=lambda ip: self._admit(ip, "udp"),
                    on_drop=self._on_drop,
                    receive_buffer=self._limits.udp_receive_buffer,
                )
            )
        else:
            self._streams.listen(bound, url.transport)
        return address

    def send(self, send: Send, failed: Callable[[str], None]) -> None:
        """Send the first attempt that works, without waiting.

        ``failed(send.key)`` is called later, never from within ``send``, when none works.
        """
        if not self._closing:
            for index, attempt in enumerate(send.attempts):
                done = self._at_once(attempt)
                if done:
                    return
                if done is None:
                    self._later(send, index, failed)
                    return
        asyncio.get_running_loop().call_soon(failed, send.key)

    def connect_anew(self) -> None:
        """Open a new connection for the next message that goes to a hop; flows stay as they are."""
        self._streams.connect_anew()

    async def close(self) -> None:
        """Close everything; what still waits for a name or a connection is given up.

        Nothing is received from the moment of the call.
        """
        self._closing = True
        for listener in self._udp:
            listener.close()
        self._udp.clear()
        for task in tuple(self._pending):
            task.cancel()
        await asyncio.gather(*self._pending, return_exceptions=True)
        await self._streams.close()

    def _receive(self, data: bytes, flow: Flow) -> None:
        if not self._closing:
            self._hear(data, flow)

    def _at_once(self, attempt: Attempt) -> bool | None:
        """True: sent. False: this attempt cannot work. None: it has to wait for something."""
        if attempt.flow is not None and self._over_flow(attempt.wire, attempt.flow):
            return True
        if attempt.hop is None:
            return False
        target = literal(attempt.hop)
        if target is None:
            return None
        if target.transport == "udp":
            return self._over_udp(attempt.wire, target)
        connection = self._streams.find(target)
        return True if connection is not None and connection.write(attempt.wire) else None

    def _over_flow(self, wire: bytes, flow: Flow) -> bool:
        if flow.transport == "udp":
            listener = next((one for one in self._udp if one.serves(flow.local)), None)
            return listener is not None and listener.send(wire, flow.remote)
        connection = None if flow.connection is None else self._streams.get(flow.connection)
        return connection is not None and connection.write(wire)

    def _over_udp(self, wire: bytes, target: Candidate) -> bool:
        """From the listener that ``target`` would see with its own address, else from any."""
        reaching = [one for one in self._udp if one.reaches(target.address)]
        reaching.sort(key=lambda one: not one.suits(target.address))
        return any(one.send(wire, (target.address, target.port)) for one in reaching)

    def _later(self, send: Send, start: int, failed: Callable[[str], None]) -> None:
        loop = asyncio.get_running_loop()
        if len(self._pending) >= self._limits.max_pending_sends:
            self._on_drop("send-queue-full", "")
            loop.call_soon(failed, send.key)
            return
        task = loop.create_task(self._work_through(send, start, failed))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def _work_through(self, send: Send, start: int, failed: Callable[[str], None]) -> None:
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                for attempt in send.attempts[start:]:
                    done = self._at_once(attempt)
                    if done is None and attempt.hop is not None:
                        done = await self._over_hop(attempt.wire, attempt.hop)
                    if done:
                        return
        except TimeoutError:
            self._on_drop("send-timed-out", "")
        failed(send.key)

    async def _over_hop(self, wire: bytes, hop: Hop) -> bool:
        """RFC 3263 section 4.3: try the candidates in turn until one takes the message."""
        cause = "no listener of that address family"
        try:
            for target in await self._resolver.resolve(hop):
                if target.transport == "udp":
                    if self._over_udp(wire, target):
                        return True
                    continue
                try:
                    connection = await self._streams.connect(target)
                except TransportError as error:
                    cause = str(error)
                    continue
                if connection.write(wire):
                    return True
        except TransportError as error:
            cause = str(error)
        self._on_unreachable(hop, cause)
        return False
