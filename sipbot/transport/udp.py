"""One UDP listener: receives bursts, sends from the same socket, never waits."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from sipbot.sip.effects import Address, Flow
from sipbot.transport.local import address_of, family_of, is_wildcard, local_address_towards

MAX_BURST: Final = 64  # datagrams read in one go before others get their turn
MAX_DATAGRAM: Final = 65_535  # bytes
_MAX_KNOWN_LOCALS: Final = 1_024  # remembered remote addresses
_KEEP_ALIVE_BYTES: Final = 4  # CRLFCRLF, CRLF or NULs that some phones send to keep a NAT open


class UdpListener:
    """Owns one bound datagram socket.

    ``receive`` gets every datagram that ``admit`` lets in; the others and what cannot be SIP are
    told to ``on_drop`` with their rule and source address.
    """

    def __init__(
        self,
        bound: socket.socket,
        *,
        receive: Callable[[bytes, Flow], None],
        admit: Callable[[str], bool],
        on_drop: Callable[[str, str], None],
        receive_buffer: int,
    ) -> None:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket = bound
        self.address: Address = address_of(bound.getsockname())
        self._receive, self._admit, self._on_drop = receive, admit, on_drop
        self._wildcard = is_wildcard(self.address[0])
        self._locals: dict[str, Address] = {}
        self._arena = bytearray(MAX_DATAGRAM)
        self._view = memoryview(self._arena)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(bound.fileno(), self._readable)

    def serves(self, local: Address) -> bool:
        """Whether a flow with this local address came through this socket."""
        host, port = local
        if port != self.address[1]:
            return False
        return host == self.address[0] or (self._wildcard and self.reaches(host))

    def reaches(self, ip: str) -> bool:
        """Whether the socket is of the address family of ``ip``."""
        return family_of(ip) == family_of(self.address[0])

    def suits(self, ip: str) -> bool:
        """Whether datagrams to ``ip`` would leave with the address that the socket is bound to."""
        return self._wildcard or self.address[0] == local_address_towards(ip)

    def send(self, wire: bytes, remote: Address) -> bool:
        """Send one datagram; False when the system refuses it."""
        if not self.reaches(remote[0]):
            return False
        try:
            self._socket.sendto(wire, remote)
        except BlockingIOError:
            # The interface's queue is full: as good as lost on the way, and repeated like that.
            self._on_drop("udp-send-queue-full", remote[0])
        except OSError:
            return False
        return True

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _readable(self) -> None:
        for _ in range(MAX_BURST):
            try:
                length, source = self._socket.recvfrom_into(self._arena)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error of an earlier send; it is gone once reported
                continue
            self._datagram(bytes(self._view[:length]), address_of(source))
            if self._socket.fileno() < 0:  # closed by what was just received
                return

    def _datagram(self, data: bytes, remote: Address) -> None:
        if not self._admit(remote[0]):
            self._on_drop("source-refused", remote[0])
        elif len(data) <= _KEEP_ALIVE_BYTES and not data.strip(b"\r\n\0"):
            return  # keeps a NAT open; no answer is due (RFC 5626 uses STUN over UDP)
        elif remote[1] == 0:
            self._on_drop("udp-source-port-zero", remote[0])
        else:
            self._receive(data, Flow("udp", self._local_towards(remote[0]), remote))

    def _local_towards(self, ip: str) -> Address:
        """Our address as ``ip`` sees it: the bound one, or what routing picks for a wildcard."""
        if not self._wildcard:
            return self.address
        known = self._locals.get(ip)
        if known is None:
            if len(self._locals) >= _MAX_KNOWN_LOCALS:
                self._locals.clear()
            known = self._locals[ip] = (local_address_towards(ip), self.address[1])
        return known
