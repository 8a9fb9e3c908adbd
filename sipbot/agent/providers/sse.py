"""Server-sent events: the data of each event, from bytes in pieces of any size.

Grammar: WHATWG HTML, section 9.2.6. Only ``data`` is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

MAX_EVENT: Final = 1_048_576  # bytes of one event

_LINE_END: Final = re.compile(rb"\r\n|\n|\r(?=.)", re.DOTALL)  # a last CR may be half a CRLF


class TooLongError(Exception):
    """An event is longer than ``MAX_EVENT``."""


class EventReader:
    """Feed bytes, get the data of the events that are complete."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> Iterator[str]:
        """Raises ``TooLongError``. Bytes that are no UTF-8 become replacement characters."""
        *lines, self._rest = _LINE_END.split(self._rest + piece)
        if len(self._rest) > MAX_EVENT:
            raise TooLongError
        for line in lines:
            if not line:
                if self._data:
                    yield b"\n".join(self._data).decode("utf-8", "replace")
                self._data, self._size = [], 0
                continue
            name, _, value = line.partition(b":")
            if name != b"data":
                continue
            self._data.append(value.removeprefix(b" "))
            self._size += len(value)
            if self._size > MAX_EVENT:
                raise TooLongError
