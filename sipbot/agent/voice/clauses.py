"""Cuts the text of a language model into pieces to speak, as it comes.

The first piece ends at the first clause, so that the bot begins early; later ones are sentences,
or clauses where sentences are long.
"""

from __future__ import annotations

import re
from typing import Final

FIRST_CHARS: Final = 10  # the first piece has at least so many, else it sounds cut off
LATER_CHARS: Final = 70  # from so many on, a later piece may end with a clause
MAX_CHARS: Final = 240  # a piece ends at a space then, whatever it is

_SENTENCE: Final = re.compile(r"[.!?\u0964\u2026]+[\"')\u201d]*(?=\s)|\n+")
_CLAUSE: Final = re.compile(r"[,;:\u2014](?=\s)|\s[-\u2013]\s")
_ABBREVIATION: Final = re.compile(r"\b(?:dr|mr|mrs|ms|st|no|rs|prof|e\.g|i\.e|a\.m|p\.m)\.$", re.I)
_MARKUP: Final = re.compile(r"[*_#`]+")


class ClauseSplitter:
    """``push`` text as it comes; ``flush`` at the end."""

    def __init__(self) -> None:
        self._waiting = ""
        self._first = True

    def push(self, text: str) -> list[str]:
        """Pieces that are complete now."""
        self._waiting += text
        pieces = []
        while (end := self._end()) is not None:
            piece, self._waiting = self._waiting[:end], self._waiting[end:]
            pieces.append(_spoken(piece))
            self._first = False
        return [piece for piece in pieces if piece]

    def flush(self) -> list[str]:
        """The rest."""
        rest, self._waiting = _spoken(self._waiting), ""
        return [rest] if rest else []

    def _end(self) -> int | None:
        text = self._waiting
        least = FIRST_CHARS if self._first else LATER_CHARS
        sentences = (
            match.end()
            for match in _SENTENCE.finditer(text)
            if not _ABBREVIATION.search(text[: match.end()])
        )
        clauses = (match.end() for match in _CLAUSE.finditer(text) if match.end() >= least)
        ends = [end for end in (next(sentences, None), next(clauses, None)) if end is not None]
        if ends:
            return min(ends)
        if len(text) > MAX_CHARS:
            space = text.rfind(" ", 0, MAX_CHARS)
            return space if space > 0 else MAX_CHARS
        return None


def _spoken(piece: str) -> str:
    """Without the marks of Markdown, which models write in spite of their prompt."""
    return " ".join(_MARKUP.sub("", piece).split())
