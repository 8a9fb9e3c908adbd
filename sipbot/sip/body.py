"""Message bodies: the media type, and multipart bodies taken apart (RFC 2046, RFC 5621)."""

from __future__ import annotations

import re
from typing import Final, Protocol

from sipbot.errors import SipSyntaxError
from sipbot.sip.grammar import (
    TOKEN,
    WS,
    Parameters,
    decode_text,
    find_parameter,
    parse_parameters,
    unfold,
    unquote,
)
from sipbot.sip.headers import Headers, parse_header_lines

MAX_PARTS: Final = 16  # of one multipart body, all levels together; answered with 400
MAX_DEPTH: Final = 4  # levels of multipart in multipart; answered with 400
MAX_BOUNDARY: Final = 70  # characters, RFC 2046 section 5.1.1

# media-type = m-type SLASH m-subtype *(SEMI m-parameter)
_MEDIA_TYPE_RE: Final = re.compile(rf"({TOKEN}){WS}/{WS}({TOKEN})")
_BLANK_LINE_RE: Final = re.compile(rb"\r?\n\r?\n")

Part = tuple[str, bytes]


class HasBody(Protocol):
    """A request or a response."""

    @property
    def headers(self) -> Headers: ...

    @property
    def body(self) -> bytes: ...


def parse_media_type(value: str) -> tuple[str, Parameters]:
    """``type/subtype`` in lower case and the parameters. Raises ``SipSyntaxError``."""
    value = value.strip(" \t")
    match = _MEDIA_TYPE_RE.match(value)
    if match is None:
        raise SipSyntaxError("Bad Content-Type")
    return f"{match[1]}/{match[2]}".lower(), parse_parameters(value, match.end())


def bodies(message: HasBody) -> tuple[Part, ...]:
    """All bodies as ``(type/subtype, content)``, multipart ones flattened in order.

    The type is ``""`` for a body without Content-Type; a message without body has no element.
    Raises ``SipSyntaxError`` for a multipart body that cannot be taken apart.
    """
    if not message.body:
        return ()
    parts: list[Part] = []
    _collect(message.headers.get("Content-Type") or "", message.body, parts, MAX_DEPTH)
    return tuple(parts)


def sdp_body(message: HasBody) -> bytes | None:
    """The first application/sdp body, None when there is none. Raises ``SipSyntaxError``."""
    for content_type, content in bodies(message):
        if content_type == "application/sdp":
            return content
    return None


def _collect(header: str, content: bytes, parts: list[Part], depth: int) -> None:
    content_type, parameters = parse_media_type(header) if header else ("", ())
    if not content_type.startswith("multipart/"):
        parts.append((content_type, content))
        if len(parts) > MAX_PARTS:
            raise SipSyntaxError("Too Many Body Parts")
        return
    if depth == 0:
        raise SipSyntaxError("Multipart Too Deep")
    boundary = unquote(find_parameter(parameters, "boundary") or "")
    if not 0 < len(boundary) <= MAX_BOUNDARY or not boundary.isascii():
        raise SipSyntaxError("Bad Multipart Boundary")
    for headers, part in _split(content, boundary.encode("ascii")):
        # RFC 2046 section 5.1: a part without Content-Type is plain text.
        _collect(headers.get("Content-Type") or "text/plain", part, parts, depth - 1)


def _split(content: bytes, boundary: bytes) -> list[tuple[Headers, bytes]]:
    # dash-boundary := "--" boundary ; delimiter := CRLF "--" boundary *LWSP-char
    delimiter = re.compile(rb"(?:\A|\r?\n)--" + re.escape(boundary) + rb"(--)?[ \t]*+(\r?\n|\Z)")
    found: list[tuple[Headers, bytes]] = []
    start = -1
    position = 0
    while (match := delimiter.search(content, position)) is not None:
        if start >= 0:
            found.append(_part(content[start : match.start()]))
        if match[1]:
            return found
        if len(found) > MAX_PARTS:
            break
        start = match.end()
        # The line end of this delimiter may be the first byte of the next one: an empty part.
        line_end = match[2]
        position = start - len(line_end)
    raise SipSyntaxError("Unterminated Multipart")


def _part(data: bytes) -> tuple[Headers, bytes]:
    if data.startswith((b"\r\n", b"\n")):
        return Headers(), data[data.index(b"\n") + 1 :]
    match = _BLANK_LINE_RE.search(data)
    head, content = (data, b"") if match is None else (data[: match.start()], data[match.end() :])
    lines = [line for line in unfold(decode_text(head)) if line]
    headers, fault = parse_header_lines(lines)
    if fault is not None:
        raise fault
    return headers, content
