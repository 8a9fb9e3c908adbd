"""What the language model is told of the conversation: only what the caller really heard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from sipbot.agent.ports import Message

INTERRUPTED: Final = "error: the caller interrupted"


class History:
    """The messages of one call. Bounded: the oldest are forgotten, the prompt never."""

    def __init__(self, prompt: str, most: int) -> None:
        self._prompt, self._most = Message("system", prompt), most
        self._messages: list[Message] = []

    @property
    def messages(self) -> tuple[Message, ...]:
        return (self._prompt, *self._messages)

    def caller_said(self, text: str) -> None:
        """Follows what the bot said, or goes on with what the caller said before."""
        if self._messages and self._messages[-1].role == "user":
            last = self._messages.pop()
            text = f"{last.text} {text}"
        self._add([Message("user", text)])

    def bot_said(self, messages: Sequence[Message]) -> None:
        """What came of one answer; empty ones are left out."""
        self._add([one for one in messages if one.text or one.tool_calls or one.role == "tool"])

    def _add(self, messages: Sequence[Message]) -> None:
        self._messages.extend(messages)
        while len(self._messages) > self._most or (
            self._messages and self._messages[0].role == "tool"
        ):  # a tool's result must not stand without the call that asked for it
            self._messages.pop(0)


def as_heard(messages: Sequence[Message], heard: Mapping[int, str]) -> list[Message]:
    """Messages of an answer with what was heard of each of the assistant's.

    ``heard`` has their numbers, from 0. A tool that was not done is told to the model as such.
    """
    kept: list[Message] = []
    open_calls: list[str] = []
    number = 0
    for one in messages:
        if one.role == "tool":
            open_calls.remove(one.tool_call_id)
            kept.append(one)
            continue
        kept.append(replace(one, text=heard.get(number, "")))
        open_calls += [call.call_id for call in one.tool_calls]
        number += 1
    kept += [Message("tool", INTERRUPTED, tool_call_id=call_id) for call_id in open_calls]
    return kept


def heard_part(text: str, share: float) -> str:
    """The words of ``text`` of which at least the beginning was heard: ``share`` from 0 to 1."""
    if share >= 1:
        return text
    chars, words = share * len(text), text.split()
    kept: list[str] = []
    place = 0
    for word in words:
        if place + len(word) / 2 > chars:
            break
        kept.append(word)
        place += len(word) + 1
    return " ".join(kept)
