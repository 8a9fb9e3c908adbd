"""Asks the questions of a flow: menus, gathers, and what may be answered by speaking."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sipbot.agent.flow.ear import Answer, Ear, Heard, Key, Manner
from sipbot.agent.flow.model import Gather, Listen, Menu, Spoken, SpokenDigits
from sipbot.agent.flow.questions import (
    NO,
    NO_KEY,
    YES,
    YES_KEY,
    agrees,
    phrases_of,
    understand,
)
from sipbot.agent.flow.speaking import Speaker
from sipbot.agent.keys import KeyReader


@dataclass(frozen=True, slots=True)
class _Chosen:
    """An answer that can be gone on with: the next node and the variables that it sets."""

    next: str
    values: dict[str, str]


class Asker:
    """Asks in one call. Each method returns the node that follows, or None to hang up."""

    def __init__(self, speaker: Speaker, keys: KeyReader, ear: Ear) -> None:
        self._speaker, self._keys, self._ear = speaker, keys, ear
        self._met: set[int] = set()  # questions that were asked once

    async def menu(self, menu: Menu) -> str | None:
        """A question that one key answers."""
        for attempt in range(menu.retries + 1):
            await self._speaker.say(menu.prompt)
            key = await self._keys.key(menu.timeout_s)
            if key in menu.options:
                return menu.options[key]
            await self._complain(menu, attempt, silent=key is None)
        return menu.otherwise

    async def gather(self, gather: Gather) -> str | None:
        """A question that several keys answer."""
        for attempt in range(gather.retries + 1):
            await self._speaker.say(gather.prompt)
            typed = await self._keys.keys(
                gather.min_digits,
                gather.max_digits,
                finish=gather.finish_on_key,
                first_s=gather.first_timeout_s,
                further_s=gather.digit_timeout_s,
            )
            if typed.complete:
                self._speaker.values[gather.into] = typed.keys
                return gather.next
            await self._complain(gather, attempt, silent=not typed.keys)
        return gather.otherwise

    async def listen(self, listen: Listen) -> str | None:
        """A question that is answered by speaking or by keys."""
        by_speech = self._speaker.interruptible_by_speech
        for attempt in range(listen.retries + 1):
            prompts = (listen.prompt,) if id(listen) in self._met else (listen.first, listen.prompt)
            self._met.add(id(listen))
            answer = await self._ask(prompts, phrases_of(listen), listen, by_speech)
            chosen = await self._chosen(listen, answer)
            if chosen is not None:
                self._speaker.values |= chosen.values
                if not listen.confirm or await self._confirmed(listen):
                    return chosen.next
                continue  # the question once more, without blame
            # What cut the question and was no answer may be noise: now it is heard to its end.
            by_speech = by_speech and not isinstance(answer, Heard)
            await self._complain(listen, attempt, silent=answer is None)
        return listen.otherwise

    async def _ask(
        self,
        prompts: tuple[Spoken, ...],
        patterns: tuple[str, ...],
        listen: Listen,
        by_speech: bool,
    ) -> Answer:
        language = self._speaker.language
        manner = Manner(patterns, language, listen.timeout_s, listen.end_ms, by_speech)
        return await self._ear.answer(lambda: self._speaker.ask(prompts), manner)

    async def _chosen(self, listen: Listen, answer: Answer) -> _Chosen | None:
        match answer:
            case Key(key=key):
                return await self._pressed(listen, key)
            case Heard(text=text) if text:
                found = understand(listen, text)
                if found.answer is not None:
                    return _named(listen, found.answer)
                if found.digits is not None and listen.digits is not None:
                    return _digits(listen.digits, found.digits)
        return None

    async def _pressed(self, listen: Listen, key: str) -> _Chosen | None:
        for name, answer in listen.answers.items():
            if answer.key == key:
                return _named(listen, name)
        digits = listen.digits
        if digits is None or not key.isdigit():
            return None
        if digits.max == 1:
            return _digits(digits, key)
        typed = await self._keys.keys(
            max(1, digits.min - 1),
            digits.max - 1,
            finish=digits.finish_on_key,
            first_s=digits.digit_timeout_s,
            further_s=digits.digit_timeout_s,
        )
        return _digits(digits, key + typed.keys)

    async def _confirmed(self, listen: Listen) -> bool:
        """Whether the caller agrees. Who is not understood is asked again, then it is a no."""
        by_speech = self._speaker.interruptible_by_speech
        for _ in range(listen.retries + 1):
            answer = await self._ask((listen.confirm,), (YES, NO), listen, by_speech)
            match answer:
                case Key(key=key) if key in (YES_KEY, NO_KEY):
                    return key == YES_KEY
                case Heard(text=text) if (agreed := agrees(text)) is not None:
                    return agreed
            by_speech = False
            await self._keys.forget()
        return False

    async def _complain(
        self, question: Menu | Gather | Listen, attempt: int, *, silent: bool
    ) -> None:
        """Say what was wrong. What was typed ahead after a mistake was not meant for us."""
        if not silent:
            await self._keys.forget()
        if attempt < question.retries:
            await self._speaker.say(question.on_timeout if silent else question.on_invalid)


def _named(listen: Listen, name: str) -> _Chosen:
    into = {} if listen.into is None else {listen.into: name}
    return _Chosen(listen.answers[name].next, into)


def _digits(wanted: SpokenDigits, digits: str) -> _Chosen | None:
    if not wanted.min <= len(digits) <= wanted.max:
        return None
    if wanted.valid is not None and re.fullmatch(wanted.valid, digits) is None:
        return None
    return _Chosen(wanted.next, {wanted.into: digits})
