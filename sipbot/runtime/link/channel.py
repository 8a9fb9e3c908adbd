"""Messages over one end of a Unix socket pair, with descriptors where a message carries some.

A sequenced-packet socket keeps messages apart, tells at once when the other process is gone, and
holds a few hundred messages for a peer that is slow. What does not fit waits here; a peer that
lets ``MAX_QUEUED`` messages wait is cut off as dead.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

import msgspec

from sipbot.errors import LocalProtocolError

MAX_MESSAGE: Final = 200_000  # bytes of one message
MAX_QUEUED: Final = 4_096  # messages that wait for a slow peer
MAX_BURST: Final = 64  # messages read in one go before others get their turn
MAX_DESCRIPTORS: Final = 8  # that one message may carry
_SEND_BUFFER: Final = 1 << 20  # bytes of SO_SNDBUF; the kernel may grant less

M = TypeVar("M")


def channel_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends, both non-blocking and not inherited by other programs."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    return ends


class Channel(Generic[M]):
    """One end. ``on_message(message, descriptors)`` gets what comes in and owns the descriptors.

    ``on_closed(rule)`` is called once when the other side is gone or broke a rule (``peer-gone``,
    ``slow-peer``, ``bad-message``), but not after ``close``. ``kind`` is the union of the messages
    that may come in. Neither is called from within ``send``.
    """

    def __init__(
        self,
        end: socket.socket,
        kind: Any,
        on_message: Callable[[M, Sequence[int]], None],
        on_closed: Callable[[str], None],
        *,
        max_queued: int = MAX_QUEUED,
    ) -> None:
        self._socket, self._on_message, self._on_closed = end, on_message, on_closed
        self._decoder: msgspec.msgpack.Decoder[M] = msgspec.msgpack.Decoder(kind)
        self._encoder = msgspec.msgpack.Encoder(enc_hook=_plain)
        self._arena = bytearray(MAX_MESSAGE)
        self._view = memoryview(self._arena)
        self._queue: deque[tuple[bytes, Sequence[int]]] = deque()
        self._max_queued = max_queued
        self._loop = asyncio.get_running_loop()
        self.open = True
        end.setblocking(False)
        self._loop.add_reader(end.fileno(), self._readable)

    @property
    def queued(self) -> int:
        """Messages that wait for the peer."""
        return len(self._queue)

    def send(self, message: object, descriptors: Sequence[int] = ()) -> None:
        """Send without waiting; nothing happens on a closed channel.

        ``descriptors`` are taken over: closed here once they are sent or cannot be.
        """
        if not self.open:
            _close_all(descriptors)
            return
        data = self._encoder.encode(message)
        if len(data) > MAX_MESSAGE or len(descriptors) > MAX_DESCRIPTORS:
            _close_all(descriptors)
            raise LocalProtocolError("a message is too large for its channel")
        if not self._queue and self._put(data, descriptors):
            return
        if len(self._queue) >= self._max_queued:
            _close_all(descriptors)
            self._loop.call_soon(self._lost, "slow-peer")
            return
        self._queue.append((data, descriptors))
        self._loop.add_writer(self._socket.fileno(), self._writable)

    def read_rest(self) -> None:
        """Take what the other side said before it went, up to a burst."""
        if self.open:
            self._readable()

    def close(self) -> None:
        """Give up what waits and close the socket."""
        if not self.open:
            return
        self.open = False
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        while self._queue:
            _close_all(self._queue.popleft()[1])

    def _put(self, data: bytes, descriptors: Sequence[int]) -> bool:
        """Whether it is out of our hands; False when the socket is full."""
        try:
            if descriptors:
                rights = array.array("i", descriptors)
                self._socket.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
            else:
                self._socket.send(data)
        except BlockingIOError:
            return False
        except OSError:
            self._loop.call_soon(self._lost, "peer-gone")
        _close_all(descriptors)
        return True

    def _writable(self) -> None:
        while self._queue and self._put(*self._queue[0]):
            self._queue.popleft()
        if not self._queue and self.open:
            self._loop.remove_writer(self._socket.fileno())

    def _readable(self) -> None:
        for _ in range(MAX_BURST):
            if not self.open:
                return
            try:
                size, ancillary, flags, _ = self._socket.recvmsg_into(
                    [self._arena], socket.CMSG_SPACE(4 * MAX_DESCRIPTORS), socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                return
            except OSError:
                self._lost("peer-gone")
                return
            descriptors = _descriptors(ancillary)
            if not size and not descriptors:
                self._lost("peer-gone")
                return
            self._take(size, flags, descriptors)

    def _take(self, size: int, flags: int, descriptors: Sequence[int]) -> None:
        try:
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                raise msgspec.DecodeError("cut off")
            message = self._decoder.decode(self._view[:size])
        except msgspec.DecodeError:  # ValidationError is one
            _close_all(descriptors)
            self._lost("bad-message")
            return
        self._on_message(message, descriptors)

    def _lost(self, rule: str) -> None:
        if self.open:
            self.close()
            self._on_closed(rule)


def _plain(value: object) -> object:
    """What msgspec does not know by itself: read-only views of dictionaries."""
    if isinstance(value, MappingProxyType):
        return dict(value)
    raise TypeError(f"no message holds a {type(value).__name__}")


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return found.tolist()


def _close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)
