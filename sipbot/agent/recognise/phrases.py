"""Phrases that callers may say, written the way people write them.

::

    [i want] to make an appointment        words in brackets may be left out
    (speak | talk) to a person             one of several
    my number is <digits>                  digits, one by one; "double five" is two of them
    my pin is <digits:4-6>                 four to six of them, which are recognised better

A phrase becomes a grammar for the recogniser, and tells whether a text is one of its forms.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

from sipbot.errors import SipbotError

MAX_PATTERN: Final = 300  # characters of one phrase
MAX_DIGITS: Final = 16  # that a phrase may ask for by number
MAX_DEPTH: Final = 10  # brackets within brackets
DIGIT_WORDS: Final = {
    "zero": "0",
    "oh": "0",
    "one": "1",
    "two": "2",
    "three": "3",
    "four": "4",
    "five": "5",
    "six": "6",
    "seven": "7",
    "eight": "8",
    "nine": "9",
}
TIMES: Final = {"double": 2, "triple": 3}
# Said around an answer and no part of it.
BEFORE: Final = ("hello", "hi", "um", "uh", "well", "please", "okay")
AFTER: Final = ("please", "thank you", "thanks")

_TOKEN: Final = re.compile(r"\s*(?:([a-z][a-z']*)|(<digits(?::\d\d?(?:-\d\d?)?)?>)|([\[\]()|]))")
_DIGIT: Final = "(?:" + "|".join(DIGIT_WORDS) + ")"
_DIGITS: Final = rf"(?:(?:(?:{'|'.join(TIMES)}) )?{_DIGIT} )+"


class PhraseError(SipbotError):
    """A phrase that cannot be read. The text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word, lower case."""

    text: str


@dataclass(frozen=True, slots=True)
class Digits:
    """So many digits; ``most`` None is any number of them."""

    least: int = 1
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """Parts in order."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the parts; with ``optional`` none of them will do too."""

    parts: tuple[Part, ...]
    optional: bool


Part: TypeAlias = Word | Digits | Series | Choice


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase that was read. ``words`` holds each word that it may contain."""

    pattern: str
    jsgf: str
    words: frozenset[str]
    has_digits: bool
    regex: re.Pattern[str]
    inner: re.Pattern[str]

    def matches(self, text: str) -> bool:
        """Whether ``text`` (normalised) is a form of this phrase, courtesies aside."""
        return self.regex.fullmatch(f"{text} ") is not None

    def stands_in(self, text: str) -> bool:
        """Whether a form of this phrase stands anywhere in ``text`` (normalised)."""
        return self.inner.search(f"{text} ") is not None


@lru_cache(maxsize=4_096)
def parse(pattern: str) -> Phrase:
    """Read a phrase. Raises ``PhraseError``."""
    if len(pattern) > MAX_PATTERN:
        raise PhraseError(f"a phrase has at most {MAX_PATTERN} characters")
    reader = _Reader(pattern)
    part = reader.whole()
    words = frozenset(_words(part))
    has_digits = _any(part, lambda one: isinstance(one, Digits))
    before, after = "|".join(BEFORE), "|".join(AFTER)
    regex = re.compile(f"(?:(?:{before}) )?{_regex(part)}(?:(?:{after}) )?")
    if regex.fullmatch("") or _regex_empty(part):
        raise PhraseError("a phrase must have a word that cannot be left out")
    inner = re.compile(rf"(?:^|(?<= )){_regex(part)}")
    return Phrase(pattern, _jsgf(part), words, has_digits, regex, inner)


def grammar(phrases: Sequence[Phrase]) -> str:
    """A JSGF grammar of all phrases and the courtesies around them."""
    digit = " | ".join(DIGIT_WORDS)
    return (
        "#JSGF V1.0;\ngrammar phrases;\n"
        f"<digit> = {digit};\n"
        f"<digits> = ([{' | '.join(TIMES)}] <digit>)+;\n"
        f"<before> = [{' | '.join(BEFORE)}];\n"
        f"<after> = [{' | '.join(AFTER)}];\n"
        f"public <all> = <before> ({' | '.join(phrase.jsgf for phrase in phrases)}) <after>;\n"
    )


def words_of(phrases: Iterable[Phrase]) -> frozenset[str]:
    """Every word that the grammar of ``phrases`` uses, its own included."""
    own = {*DIGIT_WORDS, *TIMES, *BEFORE, *" ".join(AFTER).split()}
    return frozenset(own.union(*(phrase.words for phrase in phrases)))


def normalised(text: str) -> str:
    """A transcript as phrases are compared: lower case, no punctuation, digits as words."""
    spelled = re.sub(r"\d", lambda found: f" {_SPOKEN[found.group()]} ", text.casefold())
    return " ".join(re.sub(r"[^\w']+", " ", spelled).split())


def digits_in(text: str) -> str:
    """The digits of a normalised text: ``double five one`` is ``551``."""
    found, times = "", 1
    for word in text.split():
        if word in TIMES:
            times = TIMES[word]
            continue
        found += DIGIT_WORDS.get(word, "") * times
        times = 1
    return found


_SPOKEN: Final = {digit: word for word, digit in DIGIT_WORDS.items() if word != "oh"}


class _Reader:
    """Reads a pattern by recursive descent."""

    def __init__(self, pattern: str) -> None:
        self._tokens = list(_tokens(pattern))
        self._at = 0

    def whole(self) -> Part:
        part = self._choice(0)
        if self._at < len(self._tokens):
            raise PhraseError(f"{self._tokens[self._at]!r} closes nothing")
        return part

    def _choice(self, depth: int) -> Part:
        if depth > MAX_DEPTH:
            raise PhraseError("too many brackets within brackets")
        parts = [self._sequence(depth)]
        while self._peek() == "|":
            self._at += 1
            parts.append(self._sequence(depth))
        return parts[0] if len(parts) == 1 else Choice(tuple(parts), optional=False)

    def _sequence(self, depth: int) -> Part:
        parts: list[Part] = []
        while (token := self._peek()) is not None and token not in "|)]":
            self._at += 1
            if token in ("(", "["):
                inner = self._choice(depth + 1)
                self._close(")" if token == "(" else "]")
                parts.append(inner if token == "(" else Choice((inner,), optional=True))
            else:
                parts.append(_digits(token) if token[0] == "<" else Word(token))
        if not parts:
            raise PhraseError("there is nothing between two signs, or nothing at all")
        return parts[0] if len(parts) == 1 else Series(tuple(parts))

    def _peek(self) -> str | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _close(self, sign: str) -> None:
        if self._peek() != sign:
            raise PhraseError(f"{sign!r} is missing")
        self._at += 1


def _tokens(pattern: str) -> Iterable[str]:
    text, at = pattern.casefold().rstrip(), 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise PhraseError(
                f"{text[at:].lstrip()[0]!r} is not understood: write words, [ ], ( | ), <digits>"
            )
        yield found.group(found.lastindex or 0)
        at = found.end()


def _digits(token: str) -> Digits:
    least, _, most = token[1:-1].partition(":")[2].partition("-")
    if not least:
        return Digits()
    found = Digits(int(least), int(most or least))
    if not 1 <= found.least <= (found.most or 0) <= MAX_DIGITS:
        raise PhraseError(f"{token} must have 1 to {MAX_DIGITS} digits, the smaller number first")
    return found


def _words(part: Part) -> Iterable[str]:
    match part:
        case Word(text=text):
            yield text
        case Series(parts=parts) | Choice(parts=parts):
            for one in parts:
                yield from _words(one)


def _any(part: Part, test: Callable[[Part], bool]) -> bool:
    inner = part.parts if isinstance(part, Series | Choice) else ()
    return test(part) or any(_any(one, test) for one in inner)


def _jsgf(part: Part) -> str:
    match part:
        case Word(text=text):
            return text
        case Digits(least=least, most=most):
            if most is None:
                return "<digits>"
            return "(" + " ".join(["<digit>"] * least + ["[<digit>]"] * (most - least)) + ")"
        case Series(parts=parts):
            return "(" + " ".join(map(_jsgf, parts)) + ")"
        case Choice(parts=parts, optional=optional):
            inside = " | ".join(map(_jsgf, parts))
            return f"[{inside}]" if optional else f"({inside})"


def _regex(part: Part) -> str:
    """An expression in which each word carries the space behind it."""
    match part:
        case Word(text=text):
            return re.escape(text) + " "
        case Digits():
            return _DIGITS
        case Series(parts=parts):
            return "".join(map(_regex, parts))
        case Choice(parts=parts, optional=optional):
            return f"(?:{'|'.join(map(_regex, parts))})" + ("?" if optional else "")


def _regex_empty(part: Part) -> bool:
    return re.fullmatch(_regex(part), "") is not None
