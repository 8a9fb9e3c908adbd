"""tshark on the loopback interface: what was really on the wire, and when."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from .harness import pass_time
from .process import Program

_START_S = 15.0
_READ_S = 60.0
_SETTLE_S = 0.5  # dumpcap writes what it holds in its buffer


@dataclass(frozen=True, slots=True)
class StreamLine:
    """One RTP stream as ``-z rtp,streams`` reports it."""

    source_port: int
    destination_port: int
    payload_types: str
    packets: int
    lost: int
    max_delta_ms: float


class Capture:
    """Captures UDP and TCP of the given ports while the context is open."""

    def __init__(self, directory: Path, ports: Sequence[int | range]) -> None:
        self.path = directory / "wire.pcap"
        self._rtp = [p for p in ports if isinstance(p, range)]
        self._sip = [p for p in ports if isinstance(p, int)]
        terms = [f"portrange {p.start}-{p.stop - 1}" for p in self._rtp]
        terms += [f"port {p}" for p in self._sip]
        self._program = Program(
            ["tshark", "-q", "-i", "lo", "-w", str(self.path), "-f", " or ".join(terms)]
        )

    def __enter__(self) -> Self:
        self._program.start()
        self._program.wait_line("Capture started", _START_S)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass_time(_SETTLE_S)
        self._program.stop()

    def read(self, *options: str) -> list[str]:
        """Run tshark over what was captured; returns the lines it prints."""
        command = ["tshark", "-r", str(self.path)]
        for ports in self._rtp:
            command += ["-d", f"udp.port=={ports.start}-{ports.stop - 1},rtp"]
        for port in self._sip:
            command += ["-d", f"udp.port=={port},sip", "-d", f"tcp.port=={port},sip"]
        done = subprocess.run(
            [*command, *options], capture_output=True, text=True, timeout=_READ_S, check=True
        )
        return done.stdout.splitlines()

    def fields(self, display_filter: str, *names: str) -> list[list[str]]:
        """The named fields of every packet that passes the filter."""
        wanted = [part for name in names for part in ("-e", name)]
        lines = self.read("-Y", display_filter, "-T", "fields", *wanted)
        return [line.split("\t") for line in lines]

    def datagrams(self, sources: range, destinations: range) -> list[tuple[float, bytes]]:
        """UDP payloads from and to these ports, with the wall clock (s) of each."""
        wanted = (
            f"udp.srcport >= {sources.start} && udp.srcport < {sources.stop} && "
            f"udp.dstport >= {destinations.start} && udp.dstport < {destinations.stop}"
        )
        rows = self.fields(wanted, "frame.time_epoch", "udp.payload")
        return [(float(row[0]), bytes.fromhex(row[1])) for row in rows]

    def malformed(self) -> list[str]:
        """Packets that Wireshark's dissectors call malformed."""
        return self.read("-Y", "_ws.malformed")

    def streams(self) -> list[StreamLine]:
        return [
            parsed
            for line in self.read("-q", "-z", "rtp,streams")
            if (parsed := _parse_stream(line)) is not None
        ]


def _parse_stream(line: str) -> StreamLine | None:
    """One row: start end src sport dst dport ssrc payloads... packets lost (x%) and times."""
    words = line.replace(", ", ",").split()
    if len(words) < 16 or not words[6].startswith("0x"):
        return None
    return StreamLine(
        source_port=int(words[3]),
        destination_port=int(words[5]),
        payload_types=words[7],
        packets=int(words[8]),
        lost=int(words[9]),
        max_delta_ms=float(words[13]),
    )
