"""Binds the HTTP listener, apart from those who serve it."""

from __future__ import annotations

import socket
from typing import Final

from sipbot.errors import TransportError
from sipbot.ops.values import HttpListen

BACKLOG: Final = 256  # connections that wait to be accepted


def bound(listen: HttpListen) -> socket.socket:
    """A listening socket, which several processes may serve. Raises TransportError."""
    made: socket.socket | None = None
    try:
        found = socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM)
        family, kind, _, _, address = found[0]
        made = socket.socket(family, kind)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(BACKLOG)
        made.setblocking(False)
    except OSError as error:
        if made is not None:
            made.close()
        cause = error.strerror or type(error).__name__
        raise TransportError(f"cannot listen on {listen}: {cause}") from error
    return made


def url_of(listen: HttpListen, served: socket.socket) -> str:
    """Where ``served`` really listens."""
    return str(HttpListen(listen.host, served.getsockname()[1], listen.secure))
