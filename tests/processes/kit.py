"""A server of several processes, and phones that notice every packet."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sipbot.rtp.packet import RtpPacket
from tests.interop.harness import BotConfig, BotProcess
from tests.interop.ports import HOST
from tests.interop.process import Program
from tests.interop.wire import Caller, Line, respond

PACKET_S = 0.02
SILENCE = 0xD5  # of A-law
AGENTS = {
    "echo": {"type": "python", "entry": "tests.processes.agents:Mirror"},
    **{
        name: {"type": "python", "entry": f"tests.processes.agents:{name.capitalize()}"}
        for name in ("quiet", "blocks", "hangs", "raises", "dies", "leaks")
    },
}
ROUTES = [{"to": name, "agent": name} for name in AGENTS]


class Server(BotProcess):
    """``sipbot run`` with workers. ``troubles_expected`` allows errors in its log."""

    def __init__(
        self,
        directory: Path,
        *,
        workers: int = 2,
        env: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        settings: dict[str, Any] = {
            "workers": workers,
            "agents": AGENTS,
            "routes": ROUTES,
            **extra,
        }
        settings["call"] = {"drain_s": 1, **extra.get("call", {})}
        super().__init__(BotConfig.free(rtp_pairs=40, **settings), directory, env=env)
        self.troubles_expected = False
        self.may_end = False  # by itself, before the test is over

    def stop(self) -> int:
        if not self.may_end:
            return super().stop()
        code = Program.stop(self)
        assert code == 0, self._complaint(f"exit code {code}")
        assert not self.troubles(), self._complaint("trouble in the log")
        return code

    def troubles(self) -> list[str]:
        return [] if self.troubles_expected else super().troubles()

    def children(self) -> list[int]:
        """Process ids of edge and workers that live."""
        listed = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [int(pid) for pid in listed]

    def child(self, module: str) -> list[int]:
        """Process ids of the ``edge_main`` or the ``worker_main``s."""
        return [pid for pid in self.children() if module in command_of(pid)]

    def count(self, event: str) -> int:
        """Log lines with this event."""
        return sum(one.get("event") == event for one in self.events())

    def of(self, event: str) -> list[dict[str, Any]]:
        return [one for one in self.events() if one.get("event") == event]


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def until(condition: Any, seconds: float, what: str) -> None:
    """Wait on real processes; fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        threading.Event().wait(0.02)


class Phone:
    """One call with its audio: sends numbered packets at 20 ms steps and hears what comes back.

    Packet n holds 160 times one code; the codes count up, so that what an echo gives back shows
    each packet that got lost or doubled.
    """

    def __init__(self, line: Line, server: Server, user: str) -> None:
        self.caller = Caller(line, user, server.config.sip_port)
        self.media = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.media.bind((HOST, 0))
        self.media.settimeout(0.01)
        self.heard: list[tuple[float, int, bytes]] = []  # when, sequence from 0, payload
        self._first: int | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._talk, daemon=True)
        self._target = (HOST, 0)

    def dial(self) -> Self:
        answer = self.caller.establish(self.media.getsockname()[1])
        self._target = (HOST, answer.media_port)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Fall silent, without a goodbye."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()
        self.media.close()

    def hangup(self) -> None:
        self.caller.hangup()

    def wait_bye(self, seconds: float) -> float:
        """Wait for the server's BYE; when it came."""
        self.caller.incoming("BYE", seconds)
        return time.monotonic()

    # --- what was heard

    def codes(self) -> list[tuple[int, int]]:
        """Sequence and code of the packets that are not silent, in the order of their sequence."""
        heard = sorted((sequence, payload) for _, sequence, payload in list(self.heard))
        return [(at, payload[0]) for at, payload in heard if payload[:1] != bytes([SILENCE])]

    def lost(self) -> list[tuple[int, int, int]]:
        """Where an echo lost or doubled a packet, since the first one: sequence, codes around."""
        steps = itertools.pairwise(self.codes())
        return [(at, one, other) for (_, one), (at, other) in steps if _after(one) != other]

    def holes(self) -> int:
        """RTP sequence numbers that never arrived."""
        numbers = sorted({sequence for _, sequence, _ in list(self.heard)})
        return numbers[-1] - numbers[0] + 1 - len(numbers) if numbers else 0

    def longest_gap_s(self) -> float:
        times = [when for when, _, _ in list(self.heard)]
        gaps = (later - earlier for earlier, later in itertools.pairwise(times))
        return max(gaps, default=0.0)

    def loud_since(self, when: float) -> int:
        """Packets that are not silent and arrived after ``when``."""
        return sum(
            at > when and payload != bytes([SILENCE]) * len(payload)
            for at, _, payload in list(self.heard)
        )

    def _talk(self) -> None:
        number, code, due = 0, 1, time.monotonic()
        while not self._over.is_set():
            if time.monotonic() >= due:
                packet = RtpPacket(8, number & 0xFFFF, number * 160, 0xABCD, bytes([code]) * 160)
                self.media.sendto(packet.serialize(), self._target)
                number, code, due = number + 1, _after(code), due + PACKET_S
            self._hear(max(due - time.monotonic(), 0.001))

    def _hear(self, seconds: float) -> None:
        self.media.settimeout(seconds)
        try:
            data = self.media.recv(2_048)
        except (TimeoutError, ConnectionError):
            return
        packet = RtpPacket.parse(data)
        if self._first is None:
            self._first = packet.sequence
        sequence = (packet.sequence - self._first) & 0xFFFF  # without the wrap
        self.heard.append((time.monotonic(), sequence, packet.payload))


def _after(code: int) -> int:
    """The next code; those that mean silence are left out."""
    return code % 0x40 + 1


class Phones:
    """Opens phones on lines of their own, and closes them all."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._open: list[tuple[Phone, Line]] = []

    def dial(self, user: str) -> Phone:
        line = Line(self._server.config.sip_port)
        phone = Phone(line, self._server, user)
        self._open.append((phone, line))
        return phone.dial()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for phone, line in self._open:
            phone.stop()
            line.close()


@contextmanager
def serving(directory: Path, **settings: Any) -> Iterator[tuple[Server, Phones]]:
    with Server(directory, **settings) as server, Phones(server) as phones:
        yield server, phones


def kill(pid: int) -> float:
    """SIGKILL; returns when."""
    os.kill(pid, signal.SIGKILL)
    return time.monotonic()


__all__ = ["Phone", "Phones", "Server", "alive", "kill", "respond", "serving", "until"]
