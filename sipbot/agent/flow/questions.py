"""What a listen node listens for, and what an answer means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sipbot.agent.flow.model import Listen
from sipbot.agent.recognise.phrases import digits_in, normalised, parse

YES: Final = "yes | yeah | yep | sure | correct | right | [yes] that is right | haan [ji]"
NO: Final = "no | nope | wrong | [no] that is wrong | nahi"
YES_KEY: Final = "1"
NO_KEY: Final = "2"
# What may stand before and after a keyword in a sentence that the recogniser listens for.
_BEFORE: Final = (
    "[i want | i need | i would like | i have | can i have | it is | this is | i am calling]"
    " [to (see | get | know | book | make | ask)] [about | for | with] [a | an | the | my | your]"
)


@dataclass(frozen=True, slots=True)
class Understood:
    """An answer: its name, or the digits. Both None when it means nothing."""

    answer: str | None = None
    digits: str | None = None


def patterns_of(listen: Listen) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Where in the node which phrase stands, keywords as the sentences they may stand in."""
    for name, answer in listen.answers.items():
        for index, pattern in enumerate(answer.phrases):
            yield ("answers", name, "phrases", index), pattern
        for index, keyword in enumerate(answer.keywords):
            yield ("answers", name, "keywords", index), _sentence(keyword)
    digits = digits_pattern(listen)
    if digits is not None:
        yield ("digits",), digits


def digits_pattern(listen: Listen) -> str | None:
    """The phrase of spoken digits, if the node takes any."""
    if listen.digits is None:
        return None
    return f"[it is | my number is] <digits:{listen.digits.min}-{listen.digits.max}>"


def phrases_of(listen: Listen) -> tuple[str, ...]:
    """All that may be said to the node."""
    return tuple(pattern for _, pattern in patterns_of(listen))


def understand(listen: Listen, said: str) -> Understood:
    """What a transcript means to the node."""
    text = normalised(said)
    for name, answer in listen.answers.items():
        if any(parse(pattern).matches(text) for pattern in answer.phrases):
            return Understood(answer=name)
    for name, answer in listen.answers.items():
        if any(parse(keyword).stands_in(text) for keyword in answer.keywords):
            return Understood(answer=name)
    pattern = digits_pattern(listen)
    if pattern is not None and (parse(pattern).matches(text) or _only_digits(text)):
        return Understood(digits=digits_in(text))
    return Understood()


def agrees(said: str) -> bool | None:
    """Whether a transcript says yes or no; None for neither."""
    text = normalised(said)
    if parse(YES).matches(text):
        return True
    return False if parse(NO).matches(text) else None


def _sentence(keyword: str) -> str:
    return f"{_BEFORE} ({keyword})"


def _only_digits(text: str) -> bool:
    return bool(text) and parse("<digits>").matches(text)
