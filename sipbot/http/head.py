"""The head of an HTTP request, as far as it must be known before somebody serves it. No I/O."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from sipbot.http.streams import StreamRefused

MAX_HEAD: Final = 16_384  # bytes of a request's head
MAX_HEADERS: Final = 100
END: Final = b"\r\n\r\n"

_REQUEST: Final = re.compile(r"([A-Z]{1,16}) ([\x21-\x7e]+) HTTP/1\.([01])")
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_KEY_BYTES: Final = 16  # RFC 6455 section 4.1
_VERSION: Final = "13"


@dataclass(frozen=True, slots=True)
class Head:
    """``headers`` have lower-case names; repeated ones are joined with commas."""

    method: str
    target: str
    headers: Mapping[str, str]


def read_head(data: bytes) -> Head:
    """Read what stands before the empty line. Raises StreamRefused with 400."""
    first, *lines = data.decode("latin-1").split("\r\n")
    match = _REQUEST.fullmatch(first)
    if match is None or len(lines) > MAX_HEADERS:
        raise StreamRefused("bad-request", 400)
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or _NAME.fullmatch(name) is None:
            raise StreamRefused("bad-request", 400)
        key, plain = name.lower(), value.strip(" \t")
        headers[key] = f"{headers[key]}, {plain}" if key in headers else plain
    return Head(match[1], match[2], headers)


def websocket_key(head: Head) -> str:
    """Check that this asks for a WebSocket (RFC 6455 section 4.2.1). Raises StreamRefused."""
    headers = head.headers
    if head.method != "GET":
        raise StreamRefused("not-get", 405)
    if "websocket" not in _tokens(headers, "upgrade"):
        raise StreamRefused("no-upgrade", 426)
    if headers.get("sec-websocket-version") != _VERSION:
        raise StreamRefused("websocket-version", 426)
    key = headers.get("sec-websocket-key", "")
    if "upgrade" not in _tokens(headers, "connection") or not _is_key(key) or _has_body(headers):
        raise StreamRefused("bad-upgrade", 400)
    return key


def plain_upgrade(key: str) -> bytes:
    """The same request in the one form that the WebSocket layer reads."""
    return (
        b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key.encode("latin-1") + END
    )


def refusal_answer(refusal: StreamRefused) -> bytes:
    """The whole answer to a request that is refused; its body is the rule."""
    status, body = HTTPStatus(refusal.status), f"{refusal.rule}\n".encode()
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        "Content-Type: text/plain",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "Connection: close",
    ]
    if status is HTTPStatus.UNAUTHORIZED:
        lines.append('WWW-Authenticate: Basic realm="sipbot", charset="UTF-8"')
    if status is HTTPStatus.UPGRADE_REQUIRED:
        lines += ["Upgrade: websocket", f"Sec-WebSocket-Version: {_VERSION}"]
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append("Allow: GET")
    if refusal.retry_after_s is not None:
        lines.append(f"Retry-After: {refusal.retry_after_s}")
    return "\r\n".join(lines).encode() + END + body


def _tokens(headers: Mapping[str, str], name: str) -> set[str]:
    return {token.strip().lower() for token in headers.get(name, "").split(",")}


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        return False


def _has_body(headers: Mapping[str, str]) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
