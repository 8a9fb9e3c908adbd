"""Free ports for servers and phones under test, below the kernel's own ephemeral range."""

from __future__ import annotations

import random
import socket
import threading
import time
from contextlib import closing
from typing import Literal

HOST = "127.0.0.1"
_LOW, _HIGH = 12_000, 31_000  # the kernel hands out 32768 and up by itself
_TRIES = 200
_random = random.SystemRandom()


def _is_free(port: int, kind: socket.SocketKind) -> bool:
    with closing(socket.socket(socket.AF_INET, kind)) as probe:
        if kind is socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_block(size: int, *, align: int = 2) -> int:
    """Return the first of ``size`` consecutive ports that are free for UDP and TCP just now."""
    for _ in range(_TRIES):
        base = _random.randrange(_LOW, _HIGH - size)
        base -= base % align
        if all(
            _is_free(port, kind)
            for port in range(base, base + size)
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)
        ):
            return base
    raise RuntimeError(f"no block of {size} free ports found in {_TRIES} tries")


def free_port() -> int:
    """Return one port that is free for UDP and TCP just now."""
    return free_block(1, align=1)


def wait_bound(port: int, timeout_s: float, transport: Literal["udp", "tcp"] = "udp") -> None:
    """Return once some program has bound this port; raises TimeoutError."""
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    deadline = time.monotonic() + timeout_s
    while _is_free(port, kind):
        if time.monotonic() > deadline:
            raise TimeoutError(f"nobody bound {transport} port {port} within {timeout_s} s")
        threading.Event().wait(0.02)
