"""baresip 1.0 as a phone without sound card: plays a WAV, records what it hears, takes commands.

It is driven through its ``ctrl_tcp`` module: JSON objects in netstrings, commands one way,
responses and events the other.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from .harness import pass_time
from .ports import HOST, free_block
from .process import GoneError, Program
from .tone import Pcm, read_wav, sine, write_wav

Transport = Literal["udp", "tcp", "tls"]
MODULES = Path("/usr/lib/baresip/modules")
START_S = 10.0
KEY_SPACING_S = 0.4  # one key takes it 180 ms; a new one cuts the old one short
_RTP_PORTS = 20
_SILENCE_S = 60.0  # keys are sent only while the source runs

_CONFIG = """\
poll_method epoll
sip_listen {host}:{sip}
net_interface {host}
call_local_timeout 30
call_max_calls 4
audio_source {source}
audio_player aubridge,player
audio_alert aubridge,alert
audio_path {directory}
rtp_ports {rtp}-{rtp_end}
jitter_buffer_delay 1-10
module_path {modules}
module g711.so
module sndfile.so
module aufile.so
module aubridge.so
module srtp.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen {host}:{control}
snd_path {directory}
ringback_disabled yes
{certificate}
"""


class Baresip(Program):
    """One baresip process with its own configuration directory.

    ``certificate`` is a PEM file with certificate and key, for a phone that is called over TLS.

    ``echo=True`` makes it answer every call by itself and send back what it hears: a stand-in for
    the server when the test equipment itself is under test.
    """

    def __init__(
        self,
        directory: Path,
        *,
        transport: Transport = "udp",
        codec: Literal["pcma", "pcmu"] = "pcma",
        srtp: bool = False,
        play: Path | None = None,
        echo: bool = False,
        certificate: Path | None = None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        ports = free_block(4 + _RTP_PORTS)  # SIP, SIP over TLS (always the next one), control
        self.sip_port, self.control_port = ports, ports + 2
        self.rtp_ports = range(ports + 4, ports + 4 + _RTP_PORTS)
        play = play or write_wav(directory / "silence.wav", sine(440, _SILENCE_S, amplitude=0))
        source = "aubridge,player" if echo else f"aufile,{play}"
        (directory / "config").write_text(
            _CONFIG.format(
                host=HOST,
                sip=ports,
                control=ports + 2,
                rtp=self.rtp_ports.start,
                rtp_end=self.rtp_ports.stop - 1,
                source=source,
                directory=directory,
                modules=MODULES,
                certificate=f"sip_certificate {certificate}" if certificate else "",
            )
        )
        options = f";regint=0;audio_codecs={codec}"
        options += ";mediaenc=srtp-mand" if srtp else ""
        options += ";answermode=auto" if echo else ""
        # baresip adds the account's transport to whatever it dials.
        account = f"<sip:phone@{HOST}:{ports};transport={transport}>{options}\n"
        (directory / "accounts").write_text(account)
        self._events: list[dict[str, Any]] = []
        self._buffer = b""
        self._control: socket.socket | None = None
        super().__init__(["baresip", "-s", "-f", str(directory)], cwd=directory)

    def start(self) -> Baresip:
        super().start()
        try:
            self.wait_line("baresip is ready", START_S)
            self._control = socket.create_connection((HOST, self.control_port), START_S)
        except BaseException:
            super().stop()
            raise
        return self

    def stop(self) -> int:
        if self._control is not None:
            self._control.close()
        return super().stop()

    # commands

    def command(self, name: str, parameters: str = "", timeout_s: float = 5.0) -> str:
        """Run one command and return the text it answers with."""
        body = json.dumps({"command": name, "params": parameters, "token": name}).encode()
        self._socket().sendall(b"%d:%s," % (len(body), body))
        answer = self._wait(
            lambda m: m.get("response") is True, timeout_s, f"answer to {name}", mind_close=False
        )
        if not answer.get("ok"):
            raise GoneError(self._complaint(f"command {name} failed: {answer.get('data')}"))
        return str(answer.get("data", ""))

    def dial(self, uri: str, timeout_s: float = 15.0) -> None:
        """Call and wait until the call is up."""
        self.command("dial", uri)
        self.wait_event("CALL_ESTABLISHED", timeout_s)

    def hold(self) -> None:
        self.command("hold")
        self.wait_event("CALL_REMOTE_SDP", 5.0)

    def resume(self) -> None:
        self.command("resume")
        self.wait_event("CALL_REMOTE_SDP", 5.0)

    def press(self, keys: str) -> None:
        """Press keys one after the other, as RFC 4733 events."""
        for key in keys:
            self.command("sndcode", key)
            pass_time(KEY_SPACING_S)

    def hangup(self) -> None:
        self.command("hangup")
        self.wait_event("CALL_CLOSED", 5.0)

    def wait_event(self, kind: str, timeout_s: float) -> dict[str, Any]:
        """Return the next event of this kind; each event is seen once."""
        return self._wait(lambda m: m.get("type") == kind, timeout_s, kind)

    # recordings

    def heard(self) -> Pcm:
        """All that it received and decoded since it started, dumps joined in order."""
        return self._recording("dec")

    def _recording(self, which: Literal["enc", "dec"]) -> Pcm:
        files = sorted(self.directory.glob(f"dump-*-{which}.wav"))
        if not files:
            raise GoneError(self._complaint("it recorded nothing"))
        assert len(files) == 1, f"one call per phone, but {len(files)} recordings"
        return read_wav(files[0])

    # the control connection

    def _socket(self) -> socket.socket:
        if self._control is None:
            raise GoneError("baresip is not started")
        return self._control

    def _wait(
        self,
        wanted: Callable[[dict[str, Any]], bool],
        timeout_s: float,
        what: str,
        *,
        mind_close: bool = True,
    ) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        while True:
            for index, message in enumerate(self._events):
                if wanted(message):
                    return self._events.pop(index)
            closed = [m for m in self._events if m.get("type") == "CALL_CLOSED"]
            left = deadline - time.monotonic()
            if left <= 0 or (closed and mind_close):
                why = f"call closed: {closed[0].get('param')}" if closed else f"not in {timeout_s}s"
                raise GoneError(self._complaint(f"no {what}: {why}"))
            self._receive(left)

    def _receive(self, timeout_s: float) -> None:
        control = self._socket()
        control.settimeout(timeout_s)
        try:
            data = control.recv(65536)
        except TimeoutError:
            return
        if not data:
            raise GoneError(self._complaint("closed its control connection"))
        self._buffer += data
        while True:
            head, colon, rest = self._buffer.partition(b":")
            if not colon or len(rest) < int(head) + 1:
                return
            size = int(head)
            self._events.append(json.loads(rest[:size]))
            self._buffer = rest[size + 1 :]
