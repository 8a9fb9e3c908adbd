"""Cutting a byte stream into messages and keep-alives (RFC 3261 section 18.3, RFC 5626)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeAlias

from sipbot.errors import SipSyntaxError
from sipbot.sip.grammar import MAX_HEAD, TOO_LARGE, decode_text, unfold
from sipbot.sip.headers import parse_header_lines
from sipbot.sip.message import BadRequest, content_length, parse_message


@dataclass(frozen=True, slots=True)
class MessageBytes:
    """One whole message, for ``parse_message``."""

    data: bytes


@dataclass(frozen=True, slots=True)
class KeepAlivePing:
    """CRLF CRLF: the peer wants one CRLF back (RFC 5626 section 4.4.1)."""


@dataclass(frozen=True, slots=True)
class KeepAlivePong:
    """A single CRLF: the answer to our own ping, or an idle line end between messages."""


Frame: TypeAlias = MessageBytes | KeepAlivePing | KeepAlivePong


class StreamError(SipSyntaxError):
    """The stream can no longer be cut into messages: handle ``frames``, then close it.

    ``frames`` holds what came before the fault, and last the start of the faulty message when it
    can be answered: ``parse_message`` refuses it as ``BadRequest``.
    """

    def __init__(self, reason: str, *, status: int, frames: tuple[Frame, ...]) -> None:
        super().__init__(reason, status=status)
        self.frames = frames


_HEAD_END_RE: Final = re.compile(rb"\n\r?\n")
# Fast way to Content-Length in a head without continuation lines.
_LENGTH_RE: Final = re.compile(
    rb"^(?:content-length|l)[ \t]*+:[ \t]*+([^\r\n]*+)", re.IGNORECASE | re.MULTILINE
)
_TYPE_RE: Final = re.compile(rb"^(?:content-type|c)[ \t]*+:", re.IGNORECASE | re.MULTILINE)
_CRLF: Final = b"\r\n"
_PING: Final = b"\r\n\r\n"


class StreamFramer:
    """Cuts what arrives on one connection. How it was split on its way changes nothing."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0  # bytes in which no end of a head begins
        self._needed = 0  # bytes of the whole message, 0 while its head is incomplete
        self._pong_due = False
        self._broken: SipSyntaxError | None = None

    @property
    def buffered(self) -> int:
        """Bytes of an incomplete message. Never more than the largest message and one feed."""
        return len(self._buffer)

    def expect_pong(self) -> None:
        """We sent a ping: the next CRLF that opens a frame is its answer.

        Without this, a CRLF is held back until it is known whether it begins a ping.
        """
        self._pong_due = True

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes, return the frames that they complete, in order.

        Raises ``StreamError`` (400 or 513) when the stream can no longer be trusted, and again on
        every later call.
        """
        if self._broken is not None:
            raise StreamError(self._broken.reason, status=self._broken.status, frames=())
        self._buffer += data
        frames: list[Frame] = []
        try:
            while (frame := self._next()) is not None:
                frames.append(frame)
        except SipSyntaxError as error:
            self._broken = error
            frames += self._head_frame()
            self._buffer.clear()
            raise StreamError(error.reason, status=error.status, frames=tuple(frames)) from None
        return frames

    def _next(self) -> Frame | None:
        if not self._needed:
            if self._buffer.startswith((b"\r", b"\n")):
                return self._keep_alive()
            if not self._find_head():
                return None
        if len(self._buffer) < self._needed:
            return None
        message = bytes(memoryview(self._buffer)[: self._needed])
        self._drop(self._needed)
        return MessageBytes(message)

    def _keep_alive(self) -> Frame | None:
        start = bytes(self._buffer[:4])
        if start[:1] == b"\n":
            # A lone LF between messages means nothing; scripts leave it after a body.
            self._drop(len(self._buffer) - len(self._buffer.lstrip(b"\n")))
            return self._next() if self._buffer else None
        if len(start) < 2:
            return None
        if start[:2] != _CRLF:
            raise SipSyntaxError("Bare CR")
        if self._pong_due:
            self._pong_due = False
        elif start == _PING:
            self._drop(4)
            return KeepAlivePing()
        elif _PING.startswith(start):
            return None
        self._drop(2)
        return KeepAlivePong()

    def _find_head(self) -> bool:
        """Whether the head is complete; sets ``_needed`` then."""
        end = _HEAD_END_RE.search(self._buffer, self._scanned, MAX_HEAD + 3)
        if end is None:
            if len(self._buffer) > MAX_HEAD:
                raise SipSyntaxError("Header Section Too Large", status=TOO_LARGE)
            self._scanned = max(0, len(self._buffer) - 2)
            return False
        self._scanned = end.end()
        self._needed = end.end() + _body_length(bytes(memoryview(self._buffer)[: end.start()]))
        return True

    def _head_frame(self) -> list[Frame]:
        """What broke the stream, if it is a request that can be answered."""
        head = bytes(self._buffer[: MAX_HEAD + 3])
        try:
            parse_message(head)
        except BadRequest:
            return [MessageBytes(head)]
        except SipSyntaxError:
            pass
        return []

    def _drop(self, count: int) -> None:
        del self._buffer[:count]
        self._scanned = 0
        self._needed = 0


def _body_length(head: bytes) -> int:
    if b"\n " in head or b"\n\t" in head:
        headers, _ = parse_header_lines(unfold(decode_text(head.rstrip(b"\r")))[1:])
        values = list(headers.all("Content-Length"))
        typed = "Content-Type" in headers
    else:
        values = [value.decode("latin-1").rstrip(" \t") for value in _LENGTH_RE.findall(head)]
        typed = _TYPE_RE.search(head) is not None
    length = content_length(values)
    if length is not None:
        return length
    # RFC 3261 section 18.3: "The Content-Length header field MUST be used with stream-oriented
    # transports." Left out by some peers in messages without a body, where it is harmless.
    if typed:
        raise SipSyntaxError("Missing Content-Length")
    return 0
