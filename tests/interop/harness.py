"""Starts the real server (``sipbot run``) on its own ports and watches what it logs."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import yaml

from .ports import HOST, free_block
from .process import Program

KEYS_FILE = "SIPBOT_TEST_KEYS_FILE"  # environment: where the keys agent writes what was pressed
READY_S = 20.0  # on a busy machine
# No refusals for what else the machine is doing: the tests of overload set limits of their own.
CALM: Mapping[str, Any] = {"max_cpu_percent": None, "max_tick_lateness_ms": None}
_TROUBLE = ("error", "critical", "exception")
_PAGE_BYTES = 4096


def pass_time(seconds: float) -> None:
    """Let real time pass while real programs talk. Only interop tests may do this."""
    threading.Event().wait(seconds)


@dataclass(frozen=True, slots=True)
class BotConfig:
    """A server configuration with free ports, written as YAML for one test."""

    sip_port: int  # UDP and TCP
    tls_port: int
    rtp_ports: range
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def free(cls, *, rtp_pairs: int = 400, **extra: Any) -> BotConfig:
        """Choose free ports. ``extra`` replaces keys of the YAML: ``limits`` or ``sip.timers``."""
        base = free_block(2)
        rtp = free_block(2 * rtp_pairs)
        return cls(base, base + 1, range(rtp, rtp + 2 * rtp_pairs), extra)

    def document(self) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "sip": {
                "listen": [
                    f"udp://{HOST}:{self.sip_port}",
                    f"tcp://{HOST}:{self.sip_port}",
                    f"tls://{HOST}:{self.tls_port}",
                ],
                "public_address": HOST,
            },
            "media": {
                "ports": f"{self.rtp_ports.start}-{self.rtp_ports.stop - 1}",
                "codecs": ["PCMA", "PCMU"],
                "srtp": "optional",
            },
            "workers": 0,
            "limits": {**CALM, **self.extra.get("limits", {})},
            "logging": {"format": "json", "level": "info"},
            "agents": {
                "echo": {"type": "echo"},
                "loopback": {"type": "loopback"},
                "keys": {"type": "python", "entry": "tests.interop.agents:KeyCollector"},
                "slow": {"type": "python", "entry": "tests.interop.agents:SlowToAnswer"},
                "brief": {"type": "python", "entry": "tests.interop.agents:Brief"},
            },
            "routes": [
                {"to": "echo", "agent": "echo"},
                {"to": "loopback", "agent": "loopback"},
                {"to": "keys", "agent": "keys"},
                {"to": "slow", "agent": "slow"},
                {"to": "brief", "agent": "brief"},
                {"to": "+91*", "agent": "brief"},
            ],
        }
        for key, value in self.extra.items():
            if key == "limits":
                continue
            section, dot, name = key.partition(".")
            if dot:
                settings.setdefault(section, {})[name] = value
            else:
                settings[key] = value
        return settings

    def uri(self, user: str, transport: str = "udp") -> str:
        port = self.tls_port if transport == "tls" else self.sip_port
        return f"sip:{user}@{HOST}:{port};transport={transport}"


class BotProcess(Program):
    """``sipbot run`` as a child process.

    Leaving the context ends it with SIGTERM and fails the test when the exit code is not 0 or when
    it logged anything at level error, or a traceback.
    """

    stop_s: ClassVar[float] = 45.0  # it lets calls in progress finish for up to 30 s

    def __init__(
        self, config: BotConfig, directory: Path, *, env: Mapping[str, str] | None = None
    ) -> None:
        self.config = config
        self.path = directory / "sipbot.yaml"
        self.path.write_text(yaml.safe_dump(config.document(), sort_keys=False))
        super().__init__(
            [sys.executable, "-m", "sipbot.cli.main", "run", "-c", str(self.path)], env=env
        )

    def start(self) -> BotProcess:
        super().start()
        try:
            self.wait_line(r'^ready\b|"event": ?"ready', READY_S)
        except AssertionError:
            Program.stop(self)
            raise
        return self

    def events(self) -> Iterator[dict[str, Any]]:
        """Every log line that is a JSON object."""
        for line in self.lines:
            if line.startswith("{"):
                try:
                    value = json.loads(line)
                except ValueError:
                    continue
                if isinstance(value, dict):
                    yield value

    def troubles(self) -> list[str]:
        """Log lines that a healthy server never writes."""
        bad = [
            json.dumps(event)
            for event in self.events()
            if str(event.get("level", "")).lower() in _TROUBLE or "exception" in event
        ]
        bad += [line for line in self.lines if line.startswith("Traceback (most recent call last)")]
        return bad

    def resident_bytes(self) -> int:
        """Resident memory of the server process, from /proc."""
        fields = Path(f"/proc/{self.pid}/statm").read_text().split()
        return int(fields[1]) * _PAGE_BYTES

    def open_files(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def stop(self) -> int:
        was_alive = self.alive
        code = super().stop()
        assert was_alive, self._complaint(f"ended by itself with code {code}")
        assert code == 0, self._complaint(f"exit code {code} after SIGTERM")
        troubles = self.troubles()
        assert not troubles, "the server logged trouble:\n" + "\n".join(troubles[:20])
        return code
