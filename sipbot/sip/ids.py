"""Where tags, branches, Call-IDs and small random numbers come from.

The core never makes randomness itself: a source is handed in, so that tests can name every id.
"""

from __future__ import annotations

from typing import Final, Protocol

# RFC 3261 section 8.1.1.7: every branch of an RFC 3261 element begins with these characters.
MAGIC_COOKIE: Final = "z9hG4bK"


class IdSource(Protocol):
    """A source of ids nobody else can guess."""

    def token(self) -> str:
        """A fresh text of letters and digits only.

        It serves as tag, branch, Call-ID and cnonce: RFC 3261 section 19.3 wants at least 32 bits
        of randomness in it; 64 bits or more are better for Call-IDs.
        """
        ...

    def number(self) -> int:
        """A fresh random number, 0 <= n < 2**31 (RFC 3261 section 8.1.1.5, CSeq)."""
        ...


class CountingIds:
    """Predictable ids for tests: ``a1``, ``a2``... and 1, 2, 3..."""

    def __init__(self, prefix: str = "a") -> None:
        self._prefix = prefix
        self._tokens = 0
        self._numbers = 0

    def token(self) -> str:
        self._tokens += 1
        return f"{self._prefix}{self._tokens}"

    def number(self) -> int:
        self._numbers += 1
        return self._numbers
