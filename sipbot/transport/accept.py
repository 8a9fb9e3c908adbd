"""Accepts stream connections and hands over bare sockets.

Nothing of a loop's own server is used: this way an unwelcome peer costs no TLS handshake, and a
new certificate serves the next connection.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from sipbot.transport.local import address_of

BACKLOG: Final = 512  # connections that the kernel holds until they are accepted
MAX_BURST: Final = 64  # connections accepted in one go before others get their turn
PAUSE_S: Final = 0.5  # after the system refused, e.g. for lack of file descriptors


class Acceptor:
    """Owns one listening socket.

    ``accepted(opened, ip)`` gets each new connection, non-blocking, and owns it from there.
    ``on_drop(rule, ip)`` hears when the system refuses.
    """

    def __init__(
        self,
        bound: socket.socket,
        *,
        accepted: Callable[[socket.socket, str], None],
        on_drop: Callable[[str, str], None],
    ) -> None:
        self._socket, self._accepted, self._on_drop = bound, accepted, on_drop
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        bound.listen(BACKLOG)
        self._resume()

    def close(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _resume(self) -> None:
        self._pause = None
        self._loop.add_reader(self._socket.fileno(), self._readable)

    def _readable(self) -> None:
        for _ in range(MAX_BURST):
            try:
                opened, source = self._socket.accept()
            except (BlockingIOError, ConnectionError):
                return  # nothing more, or it went away again
            except OSError:  # EMFILE and its kind: wait, or this would be called without end
                self._on_drop("accept-failed", "")
                self._loop.remove_reader(self._socket.fileno())
                self._pause = self._loop.call_later(PAUSE_S, self._resume)
                return
            opened.setblocking(False)
            self._accepted(opened, address_of(source)[0])
            if self._socket.fileno() < 0:  # closed meanwhile
                return
