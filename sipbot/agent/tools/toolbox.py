"""Tools of one agent: what the model is told of them, and how they are run.

A tool never raises into a conversation: what goes wrong becomes a text for the model. Arguments and
results are private and never logged.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from sipbot.agent.ports import Tool, ToolCall
from sipbot.call.call import Call
from sipbot.call.events import CallEnded
from sipbot.errors import SipbotError

MAX_RESULT_CHARS: Final = 8_000  # of a result; more is cut off


class ToolTurn(Protocol):
    """The conversation, as a tool sees it."""

    @property
    def call(self) -> Call: ...

    async def spoken(self) -> None:
        """Wait until the caller heard what the bot said before this tool was called."""
        ...

    def close(self) -> None:
        """From now on nothing interrupts: the call is handed on or ends."""
        ...

    def reopen(self) -> None:
        """The conversation goes on after all."""
        ...

    @property
    def over(self) -> bool:
        """Whether ``end`` was called."""
        ...

    def end(self) -> None:
        """The conversation is over once the tool is done."""
        ...


Runner: TypeAlias = Callable[[ToolTurn, Mapping[str, Any]], Awaitable[str]]


class ToolFailed(SipbotError):
    """A tool could not do it; the text is for the model."""


@dataclass(frozen=True, slots=True)
class RunnableTool:
    """``tool`` describes it to the model, ``run`` does it. ``acts``: no filler is said meanwhile,
    for it acts on the call itself."""

    tool: Tool
    run: Runner
    acts: bool = False


class Toolbox:
    """Tools by name. Raises ValueError when two have the same."""

    def __init__(self, tools: Sequence[RunnableTool] = ()) -> None:
        self._tools = {one.tool.name: one for one in tools}
        if len(self._tools) != len(tools):
            raise ValueError("two tools have the same name")

    @property
    def described(self) -> tuple[Tool, ...]:
        """For the language model."""
        return tuple(one.tool for one in self._tools.values())

    def acts(self, name: str) -> bool:
        """Whether a tool acts on the call itself."""
        return name in self._tools and self._tools[name].acts

    async def run(self, turn: ToolTurn, wanted: ToolCall, limit_s: float) -> str:
        """The result of one call of a tool. Raises nothing but ``CallEnded``."""
        found = self._tools.get(wanted.name)
        if found is None:
            return "error: there is no such tool"
        try:
            arguments = _arguments(found.tool, wanted.arguments)
            async with asyncio.timeout(None if found.acts else limit_s):
                result = await found.run(turn, arguments)
        except CallEnded:
            raise
        except TimeoutError:
            turn.call.log.warning("tool timeout", tool=wanted.name, limit_s=limit_s)
            return "error: it took too long"
        except ToolFailed as error:
            return f"error: {error}"
        except Exception as error:  # a user's function: its mistakes must not end the call
            turn.call.log.warning("tool failed", tool=wanted.name, error=type(error).__name__)
            return "error: it did not work"
        return result[:MAX_RESULT_CHARS]


def _arguments(tool: Tool, text: str) -> Mapping[str, Any]:
    try:
        arguments = json.loads(text or "{}")
    except ValueError as error:
        raise ToolFailed("the arguments are no JSON") from error
    if not isinstance(arguments, dict):
        raise ToolFailed("the arguments must be an object")
    schema = tool.parameters
    missing = [name for name in schema.get("required", ()) if name not in arguments]
    if missing:
        raise ToolFailed(f"missing: {', '.join(missing)}")
    unknown = [name for name in arguments if name not in schema.get("properties", {})]
    if unknown:
        raise ToolFailed(f"unknown: {', '.join(sorted(unknown))}")
    return arguments
