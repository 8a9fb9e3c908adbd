"""All stream connections of one endpoint, TCP and TLS: accepted, opened, found again, closed."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from itertools import count
from typing import Any

from sipbot.errors import TransportError
from sipbot.sip.effects import Flow, Transport
from sipbot.transport.accept import Acceptor
from sipbot.transport.limits import TransportLimits
from sipbot.transport.resolve import Candidate
from sipbot.transport.stream import StreamConnection
from sipbot.transport.tls import TlsContexts


@dataclass(slots=True)
class _Place:
    """What a connection takes up."""

    connection: StreamConnection
    ip: str  # of the peer, as counted in the limits
    leads_to: Candidate | None = None  # its entry among the reusable ones
    bare: socket.socket | None = None  # accepted, not yet taken over by the event loop


class StreamPool:
    """Owns every stream connection, its handshake and its place in the limits."""

    def __init__(
        self,
        *,
        receive: Callable[[bytes, Flow], None],
        admit: Callable[[str, Transport], bool],
        on_drop: Callable[[str, str], None],
        tls: TlsContexts | None,
        limits: TransportLimits,
    ) -> None:
        self.received, self.dropped = receive, on_drop  # a StreamEvents
        self._admit, self._tls, self._limits = admit, tls, limits
        self._numbers = count(1)
        self._places: dict[int, _Place] = {}  # by connection number
        self._per_address: Counter[str] = Counter()
        self._reusable: dict[Candidate, StreamConnection] = {}
        self._connecting: dict[Candidate, asyncio.Task[StreamConnection]] = {}
        self._acceptors: list[Acceptor] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._empty = asyncio.Event()

    def __len__(self) -> int:
        return len(self._places)

    def listen(self, bound: socket.socket, kind: Transport) -> None:
        """Accept connections. Raises TransportError for TLS without a certificate."""
        try:
            if kind == "tls":
                _ = self._contexts().server
            acceptor = Acceptor(
                bound,
                accepted=lambda opened, ip: self._accepted(kind, opened, ip),
                on_drop=self.dropped,
            )
        except (OSError, TransportError) as error:
            bound.close()
            raise TransportError(f"cannot listen: {error}") from error
        self._acceptors.append(acceptor)

    def get(self, number: int) -> StreamConnection | None:
        """The connection of a flow, while it is open."""
        place = self._places.get(number)
        return place.connection if place is not None and place.connection.open else None

    def find(self, target: Candidate) -> StreamConnection | None:
        """An open connection that leads to ``target``."""
        found = self._reusable.get(_reuse_key(target))
        return found if found is not None and found.open else None

    async def connect(self, target: Candidate) -> StreamConnection:
        """An open connection to ``target``; callers at the same time share one.

        Raises TransportError with the cause.
        """
        found = self.find(target)
        if found is not None:
            return found
        key = _reuse_key(target)
        task = self._connecting.get(key)
        if task is None:
            task = self._spawn(self._open(target))
            self._connecting[key] = task
            task.add_done_callback(lambda _: self._connecting.pop(key, None))
        return await asyncio.shield(task)

    def connect_anew(self) -> None:
        """Use the open connections for what belongs to them, and for nothing new."""
        self._reusable.clear()

    async def close(self) -> None:
        """Stop listening, flush and close every connection within ``close_s``."""
        for acceptor in self._acceptors:
            acceptor.close()
        self._acceptors.clear()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for place in tuple(self._places.values()):
            place.connection.close()
        if not await self._wait_empty(self._limits.close_s):
            for place in tuple(self._places.values()):
                place.connection.abort()
            await self._wait_empty(self._limits.close_s)

    def closed(self, connection: StreamConnection) -> None:
        """A connection is over: its place is free again."""
        place = self._places.pop(connection.number, None)
        if place is None:
            return
        self._per_address[place.ip] -= 1
        if not self._per_address[place.ip]:
            del self._per_address[place.ip]
        if place.leads_to is not None and self._reusable.get(place.leads_to) is connection:
            del self._reusable[place.leads_to]
        if not self._places:
            self._empty.set()

    async def _wait_empty(self, seconds: float) -> bool:
        self._empty.clear()
        if not self._places:
            return True
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    def _contexts(self) -> TlsContexts:
        if self._tls is None:
            raise TransportError("TLS is not configured")
        return self._tls

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _full(self, ip: str) -> str:
        """The rule that forbids one more connection, or ""."""
        if len(self._places) >= self._limits.max_connections:
            return "too-many-connections"
        if self._per_address[ip] >= self._limits.max_connections_per_address:
            return "too-many-connections-from-address"
        return ""

    def _new(self, kind: Transport, ip: str, *, accepted: bool) -> StreamConnection:
        connection = StreamConnection(
            next(self._numbers), kind, accepted=accepted, limits=self._limits, events=self
        )
        self._places[connection.number] = _Place(connection, ip)
        self._per_address[ip] += 1
        return connection

    def _accepted(self, kind: Transport, opened: socket.socket, ip: str) -> None:
        rule = self._full(ip) if self._admit(ip, kind) else "source-refused"
        if rule:
            self.dropped(rule, ip)
            opened.close()
            return
        connection = self._new(kind, ip, accepted=True)
        place = self._places[connection.number]
        place.bare = opened
        task = self._spawn(self._welcome(place, opened, kind))
        task.add_done_callback(lambda done: self._welcomed(done, place, kind))

    async def _welcome(self, place: _Place, opened: socket.socket, kind: Transport) -> None:
        """Handshake, if it is TLS."""
        options: dict[str, Any] = {}
        if kind == "tls":
            options = {"ssl": self._contexts().server, **self._handshake_limits()}
        place.bare = None  # from here the loop closes it
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(lambda: place.connection, opened, **options)

    def _welcomed(self, done: asyncio.Task[Any], place: _Place, kind: Transport) -> None:
        """Clean up after a failed welcome, also after one that was cancelled before it began."""
        connection = place.connection
        error = None if done.cancelled() else done.exception()
        if error is None and not done.cancelled():
            if kind == "tcp" and connection.open:  # RFC 5923: usable for requests to the peer
                self._reuse(connection, Candidate(kind, *connection.flow.remote))
            return
        if place.bare is not None:
            place.bare.close()
        connection.abort()
        self.closed(connection)
        if isinstance(error, OSError | TransportError):
            self.dropped("tls-handshake-failed" if kind == "tls" else "accept-failed", place.ip)
        elif error is not None:
            context = {"message": "accepting a connection failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)

    def _handshake_limits(self) -> dict[str, float]:
        return {
            "ssl_handshake_timeout": self._limits.handshake_s,
            "ssl_shutdown_timeout": self._limits.close_s,
        }

    async def _open(self, target: Candidate) -> StreamConnection:
        rule = self._full(target.address)
        if rule:
            raise TransportError(rule)
        connection = self._new(target.transport, target.address, accepted=False)
        try:
            await self._connect(connection, target)
        except BaseException as error:
            connection.abort()
            self.closed(connection)
            if isinstance(error, OSError | ValueError):
                raise TransportError(_cause(error)) from error
            raise
        self._reuse(connection, _reuse_key(target))
        return connection

    def _reuse(self, connection: StreamConnection, leads_to: Candidate) -> None:
        place = self._places.get(connection.number)
        if place is not None:  # not lost meanwhile
            place.leads_to = leads_to
            self._reusable[leads_to] = connection

    async def _connect(self, connection: StreamConnection, target: Candidate) -> None:
        loop = asyncio.get_running_loop()
        limits = self._limits
        secure = target.transport == "tls"
        options: dict[str, Any] = {}
        if secure:
            # RFC 5922 section 4: the identity to check is the host of the URI, not what DNS said.
            name, context = target.server_name or target.address, self._contexts().client
            # A name that no certificate can have raises here, before there is a socket to lose.
            context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=name)
            options = {"ssl": context, "server_hostname": name, **self._handshake_limits()}
        async with asyncio.timeout(limits.connect_s + (limits.handshake_s if secure else 0.0)):
            await loop.create_connection(lambda: connection, target.address, target.port, **options)


def _reuse_key(target: Candidate) -> Candidate:
    """A TCP connection leads to an address, a TLS connection to a verified name at it."""
    if target.transport == "tls":
        return target
    return Candidate(target.transport, target.address, target.port)


def _cause(error: Exception) -> str:
    """A short text without addresses or user data."""
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {getattr(error, 'verify_message', '') or error.reason or 'failed'}"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return type(error).__name__
