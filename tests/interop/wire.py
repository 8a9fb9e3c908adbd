"""A caller made of plain strings and sockets, for what no phone can be told to do.

It shares no code with the server on purpose: a mistake of the server's own grammar cannot hide.
"""

from __future__ import annotations

import itertools
import re
import secrets
import socket
import ssl
import time
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

from .ports import HOST

_T1_S = 0.5
_CONNECT_S = 5.0


@dataclass(frozen=True, slots=True)
class Heard:
    """One message that came in, taken apart just enough to assert on."""

    first: str
    headers: tuple[tuple[str, str], ...]  # lower-case names, in order
    body: str

    @property
    def status(self) -> int:
        """The status of a response, 0 for a request."""
        return int(self.first.split()[1]) if self.first.startswith("SIP/2.0 ") else 0

    @property
    def method(self) -> str:
        """The method of a request, or the one a response answers."""
        return self.get("cseq").split()[1]

    def get(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    @property
    def to_tag(self) -> str:
        found = re.search(r";tag=([^;]+)", self.get("to"))
        return found[1] if found else ""

    @property
    def contact(self) -> str:
        found = re.search(r"<([^>]+)>", self.get("contact"))
        return found[1] if found else self.get("contact")

    @property
    def media_port(self) -> int:
        found = re.search(r"^m=audio (\d+)", self.body, re.M)
        return int(found[1]) if found else 0


def take_apart(data: bytes) -> Heard:
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("utf-8").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = tuple((name.strip().lower(), value.strip()) for name, _, value in pairs)
    return Heard(first, headers, body.decode("utf-8", "replace"))


class Line:
    """One socket towards the server. Leaving the context closes it."""

    def __init__(self, port: int, transport: Literal["udp", "tcp", "tls"] = "udp") -> None:
        self.transport = transport
        self._buffer = b""
        kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
        raw = socket.socket(socket.AF_INET, kind)
        raw.settimeout(_CONNECT_S)
        raw.bind((HOST, 0))
        raw.connect((HOST, port))
        self._socket = _unverified().wrap_socket(raw) if transport == "tls" else raw

    @property
    def local_port(self) -> int:
        return int(self._socket.getsockname()[1])

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def receive(self, timeout_s: float) -> Heard | None:
        """The next message, or None when none came in time or the stream was closed."""
        deadline = time.monotonic() + timeout_s
        while True:
            message = self._next_message()
            if message is not None:
                return take_apart(message)
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(65535)
            except (TimeoutError, ConnectionError):
                return None
            if not data:
                return None
            self._buffer = data if self.transport == "udp" else self._buffer + data

    def _next_message(self) -> bytes | None:
        self._buffer = self._buffer.lstrip(b"\r\n")
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return None
        length = re.search(rb"^content-length:\s*(\d+)", self._buffer[:end], re.I | re.M)
        size = end + 4 + (int(length[1]) if length else 0)
        if len(self._buffer) < size:
            return None
        message, self._buffer = self._buffer[:size], self._buffer[size:]
        return message

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the server under test made its own certificate
    return context


def audio_offer(port: int, *, formats: str = "8 0 96", direction: str = "sendrecv") -> str:
    return (
        f"v=0\r\no=wire 1 1 IN IP4 {HOST}\r\ns=-\r\nc=IN IP4 {HOST}\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP {formats}\r\n"
        "a=rtpmap:96 telephone-event/8000\r\na=fmtp:96 0-15\r\n"
        f"a=ptime:20\r\na={direction}\r\n"
    )


@dataclass(slots=True)
class Caller:
    """One call attempt: it keeps Call-ID, tags, CSeq and Contact, and builds requests as text."""

    line: Line
    user: str
    server_port: int
    caller: str = "wire"
    domain: str = HOST
    call_id: str = field(default_factory=lambda: secrets.token_hex(8) + "@wire")
    from_tag: str = field(default_factory=lambda: secrets.token_hex(4))
    to_tag: str = ""
    target: str = ""
    routes: list[str] = field(default_factory=list)
    _cseq: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    invite_cseq: int = 0
    invite_branch: str = ""
    pending: deque[Heard] = field(default_factory=deque)

    def request(
        self,
        method: str,
        *,
        body: str = "",
        headers: tuple[str, ...] = (),
        cseq: int | None = None,
        branch: str = "",
        uri: str = "",
        drop: tuple[str, ...] = (),
    ) -> bytes:
        """A whole request; ``headers`` are extra lines, ``drop`` names lines to leave out."""
        uri = uri or self.target or f"sip:{self.user}@{HOST}:{self.server_port}"
        number = next(self._cseq) if cseq is None else cseq
        tag = f";tag={self.to_tag}" if self.to_tag else ""
        via = f"{HOST}:{self.line.local_port};branch={branch or new_branch()};rport"
        lines = [
            f"Via: SIP/2.0/{self.line.transport.upper()} {via}",
            f'From: "{self.caller}" <sip:{self.caller}@{self.domain}>;tag={self.from_tag}',
            f"To: <sip:{self.user}@{HOST}>{tag}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {number} {method}",
            f"Contact: <sip:wire@{HOST}:{self.line.local_port};transport={self.line.transport}>",
            "Max-Forwards: 70",
            *(f"Route: {route}" for route in self.routes),
            *headers,
        ]
        if body and not any(line.lower().startswith("content-type:") for line in headers):
            lines.append("Content-Type: application/sdp")
        lines.append(f"Content-Length: {len(body.encode())}")
        kept = [line for line in lines if line.partition(":")[0] not in drop]
        return "\r\n".join([f"{method} {uri} SIP/2.0", *kept, "", body]).encode()

    def invite(
        self,
        media_port: int,
        *,
        body: str | None = None,
        headers: tuple[str, ...] = (),
    ) -> bytes:
        """Send an INVITE and return what was sent."""
        self.invite_cseq = next(self._cseq)
        self.invite_branch = new_branch()
        text = audio_offer(media_port) if body is None else body
        sent = self.request(
            "INVITE",
            body=text,
            headers=headers,
            cseq=self.invite_cseq,
            branch=self.invite_branch,
        )
        self.line.send(sent)
        return sent

    def answer(self, timeout_s: float = 10.0, *, method: str = "INVITE") -> Heard:
        """Wait for the final response; provisional ones are skipped, 2xx updates the dialog."""
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            heard = self.line.receive(left)
            if heard is None:
                break
            if heard.get("call-id") != self.call_id or heard.status == 0:
                self.pending.append(heard)
                continue
            if heard.status < 200 or heard.method != method:
                continue
            if heard.status < 300 and method == "INVITE":
                self.to_tag, self.target = heard.to_tag, heard.contact
            return heard
        raise AssertionError(f"no final response to {method} within {timeout_s} s")

    def ack(self, *, failure: bool = False) -> None:
        """Acknowledge: a 2xx end to end, another final response within its transaction."""
        branch = self.invite_branch if failure else ""
        uri = f"sip:{self.user}@{HOST}:{self.server_port}" if failure else ""
        self.line.send(self.request("ACK", cseq=self.invite_cseq, branch=branch, uri=uri))

    def incoming(self, method: str, timeout_s: float = 10.0) -> Heard:
        """Wait for a request of the server in this call and answer it with 200."""
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            heard = self.line.receive(left)
            if heard is None:
                break
            if heard.status == 0 and heard.method == method:
                self.line.send(respond(heard))
                return heard
        raise AssertionError(f"the server sent no {method} within {timeout_s} s")

    def establish(self, media_port: int) -> Heard:
        """INVITE, 200, ACK."""
        self.invite(media_port)
        heard = self.answer()
        assert heard.status == 200, heard.first
        self.ack()
        return heard

    def hangup(self) -> None:
        self.line.send(self.request("BYE"))
        heard = self.answer(method="BYE")
        assert heard.status == 200, heard.first


def new_branch() -> str:
    return "z9hG4bK" + secrets.token_hex(6)


def respond(request: Heard, status: int = 200, phrase: str = "OK") -> bytes:
    """A bare response to a request of the server."""
    kept = ("via", "from", "to", "call-id", "cseq")
    lines = [f"{name.title()}: {value}" for name, value in request.headers if name in kept]
    return "\r\n".join([f"SIP/2.0 {status} {phrase}", *lines, "Content-Length: 0", "", ""]).encode()
