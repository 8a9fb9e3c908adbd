"""Child processes: how they are started, what they start from, how they end with their parent.

A child is ``python -m MODULE BOOT PARENT``: the descriptor of a file with its boot value, and the
process id of its parent.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from sipbot.ops.config import Config
from sipbot.runtime.link.channel import Channel, channel_pair
from sipbot.runtime.link.messages import ToSupervisor
from sipbot.sip.effects import Transport

_PR_SET_PDEATHSIG: Final = 1  # prctl(2)
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")

B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class EdgeBoot:
    """What the edge starts from. Descriptors are numbers in the child."""

    config: Config
    slots: int
    memory: int
    listeners: tuple[tuple[Transport, int], ...]  # of bound sockets
    control: int = -1


@dataclass(frozen=True, slots=True)
class WorkerBoot:
    """What a worker starts from. Descriptors are numbers in the child."""

    config: Config
    base: Path | None
    number: int
    slots: int
    memory: int
    eventfd: int
    edge: int
    http: int = -1  # the listener that all workers share; -1: no HTTP
    control: int = -1


def put_into_memory(value: object) -> int:
    """A memfd that holds ``value``; returns its descriptor."""
    descriptor = os.memfd_create("sipbot-boot", os.MFD_CLOEXEC)
    with open(descriptor, "wb", closefd=False) as file:
        pickle.dump(value, file)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def take_from_memory(descriptor: int, kind: type[B]) -> B:
    """Read what ``put_into_memory`` of our own parent wrote, and close the descriptor."""
    with open(descriptor, "rb") as file:
        value = pickle.load(file)
    if not isinstance(value, kind):
        raise TypeError(f"expected a {kind.__name__}")
    return value


def die_with_parent(parent: int) -> None:
    """In the child: be killed when the parent ends, however that ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent:  # it ended before we said so
        os._exit(1)


def ignore_stop_signals(loop: asyncio.AbstractEventLoop) -> None:
    """In the child: a terminal or a service manager tells all of us, but the parent decides.

    A handler instead of SIG_IGN, which programs that an agent starts would inherit.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, _nothing)


def _nothing() -> None:
    """The parent got the same signal and sends word."""


class Child:
    """One running child, and our channel to it. ``gone`` is set once it has ended.

    ``boot`` gets the number of the child's end of the channel as ``control``. ``descriptors`` are
    inherited under their own numbers and stay open here.
    """

    def __init__(
        self,
        module: str,
        boot: Callable[[int], object],
        descriptors: Sequence[int],
        on_message: Callable[[ToSupervisor], None],
    ) -> None:
        self.gone = asyncio.Event()
        self.code: int | None = None
        ours, theirs = channel_pair()
        start = put_into_memory(boot(theirs.fileno()))
        try:
            self._process = _spawn(module, start, [theirs.fileno(), start, *descriptors])
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(start)
        self.pidfd = os.pidfd_open(self._process.pid)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self.pidfd, self._ended)
        self.channel: Channel[ToSupervisor] = Channel(
            ours, ToSupervisor, lambda message, _: on_message(message), lambda rule: None
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """End it at once; ``gone`` is set soon after."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def resident_bytes(self) -> int:
        """Memory that it really holds; 0 when it is gone."""
        try:
            fields = Path(f"/proc/{self.pid}/statm").read_text().split()
        except OSError:
            return 0
        return int(fields[1]) * _PAGE_BYTES

    async def wait_gone(self, seconds: float) -> bool:
        """Whether it ended within so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.gone.wait()
        return self.gone.is_set()

    async def stop(self, seconds: float) -> None:
        """Close the channel, which tells it to end; kill it when it has not done so in time."""
        self.channel.close()
        if not await self.wait_gone(seconds):
            self.kill()
            await self.gone.wait()

    def _ended(self) -> None:
        self._loop.remove_reader(self.pidfd)
        os.close(self.pidfd)
        self.code = self._process.wait()
        self.channel.read_rest()
        self.channel.close()
        self.gone.set()


def _spawn(module: str, start: int, descriptors: Sequence[int]) -> subprocess.Popen[bytes]:
    # -P: the child finds modules exactly where we find them, not in its working directory too.
    command = [sys.executable, "-P", "-m", module, str(start), str(os.getpid())]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, pass_fds=tuple(descriptors), env=environment
    )


def adopt_socket(descriptor: int) -> socket.socket:
    """A non-blocking socket for an inherited descriptor; its kind is read from it."""
    adopted = socket.socket(fileno=descriptor)
    adopted.setblocking(False)
    return adopted
