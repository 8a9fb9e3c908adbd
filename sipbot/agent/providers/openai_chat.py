"""Language models behind OpenAI's chat completions: OpenAI itself, vLLM, Ollama, llama.cpp.

``POST {base_url}/chat/completions`` with ``stream``; the answer is a stream of server-sent events
that ends with ``[DONE]``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sipbot.agent.ports import Delta, Message, TextDelta, Tool, ToolCall, Usage
from sipbot.agent.providers.counts import Counts, used
from sipbot.agent.providers.http import Ask, HttpService
from sipbot.agent.providers.patience import repeated
from sipbot.agent.providers.sse import EventReader, TooLongError
from sipbot.errors import ProviderError

MAX_ANSWER: Final = 50_000  # characters of an answer; a model that writes more babbles
MAX_TOOL_CALLS: Final = 32  # in one answer
MAX_ARGUMENTS: Final = 100_000  # characters of the arguments of one tool call
DONE: Final = "[DONE]"
DRAIN_S: Final = 0.1  # seconds that the end of the body may come after its last event


@dataclass(slots=True)
class _Call:
    """A tool call while its pieces come."""

    call_id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)
    size: int = 0


class OpenAiChat:
    """Implements ``LanguageModel``. ``options`` go into each request as they are."""

    def __init__(
        self,
        service: HttpService,
        counts: Counts,
        model: str,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._service, self._counts = service, counts
        self._model, self._options = model, dict(options or {})

    async def warm(self) -> None:
        await self._service.warm()

    async def close(self) -> None:
        await self._service.close()

    async def reply(
        self, messages: Sequence[Message], tools: Sequence[Tool] = ()
    ) -> AsyncGenerator[Delta, None]:
        """The answer as it is made; tool calls come whole, after its text."""
        body: dict[str, Any] = {
            "stream_options": {"include_usage": True},
            **self._options,
            "model": self._model,
            "messages": [_message(message) for message in messages],
            "stream": True,
        }
        if tools:
            body["tools"] = [_tool(tool) for tool in tools]
        ask = Ask("chat/completions", json=body, accept=("text/event-stream",))
        deltas = repeated(self._service.patience, self._counts, lambda: self._attempt(ask))
        try:
            async for delta in deltas:
                if isinstance(delta, Usage):
                    used(self._counts, delta.provider, delta.unit, round(delta.amount))
                yield delta
        finally:
            await deltas.aclose()

    async def _attempt(self, ask: Ask) -> AsyncGenerator[Delta, None]:
        events, answer = EventReader(), _Answer(self._service.provider)
        pieces = self._service.pieces(ask)
        try:
            async for piece in pieces:
                for data in events.feed(piece):
                    for delta in answer.read(data):
                        yield delta
                if answer.done:
                    break
            for delta in answer.end():
                yield delta
            await _drain(pieces)
        except TooLongError:
            raise ProviderError(self._service.provider, "garbage") from None
        finally:
            await pieces.aclose()


async def _drain(pieces: AsyncGenerator[bytes, None]) -> None:
    """Read the end of the body, so that the connection serves the next turn too."""
    try:
        async with asyncio.timeout(DRAIN_S):
            async for _ in pieces:
                pass
    except (TimeoutError, ProviderError):
        return


class _Answer:
    """One answer while it comes. ``done`` when nothing will follow."""

    def __init__(self, provider: str) -> None:
        self.done = False
        self._provider = provider
        self._calls: dict[int, _Call] = {}
        self._finished = False  # a choice said why it ended
        self._size = 0  # characters

    def read(self, data: str) -> Iterator[Delta]:
        """One event. Raises ProviderError."""
        if data.strip() == DONE:
            self.done = True
            return
        try:
            event = json.loads(data)
            if event.get("error"):
                raise ProviderError(self._provider, "failed", retry=True)
            yield from self._choices(event.get("choices") or ())
            usage = event.get("usage")
            if usage:
                yield Usage(self._provider, "input-tokens", float(usage["prompt_tokens"]))
                written = usage.get("completion_tokens") or 0
                yield Usage(self._provider, "output-tokens", float(written))
        except (ValueError, TypeError, KeyError, AttributeError, IndexError):
            raise ProviderError(self._provider, "garbage") from None

    def end(self) -> Iterator[Delta]:
        """After the last event: the tool calls. Raises ProviderError when the answer was cut."""
        if not self.done and not self._finished:
            raise ProviderError(self._provider, "cut-off", retry=True)
        for index in sorted(self._calls):
            call = self._calls[index]
            if not call.name:
                raise ProviderError(self._provider, "garbage")
            call_id = call.call_id or f"call_{index}"
            yield ToolCall(call_id, call.name, "".join(call.arguments) or "{}")

    def _choices(self, choices: Sequence[Mapping[str, Any]]) -> Iterator[Delta]:
        for choice in choices[:1]:
            delta = choice.get("delta") or {}
            text = delta.get("content")
            if text:
                self._size += len(text)
                if self._size > MAX_ANSWER:
                    raise ProviderError(self._provider, "babble")
                yield TextDelta(str(text))
            for number, piece in enumerate(delta.get("tool_calls") or ()):
                self._collect(int(piece.get("index", number)), piece)
            self._finished |= choice.get("finish_reason") is not None

    def _collect(self, index: int, piece: Mapping[str, Any]) -> None:
        call = self._calls.setdefault(index, _Call())
        function = piece.get("function") or {}
        call.call_id = piece.get("id") or call.call_id
        call.name = function.get("name") or call.name
        arguments = function.get("arguments") or ""
        call.arguments.append(arguments)
        call.size += len(arguments)
        if len(self._calls) > MAX_TOOL_CALLS or call.size > MAX_ARGUMENTS:
            raise ProviderError(self._provider, "babble")


def _message(message: Message) -> dict[str, Any]:
    written: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.tool_calls:
        written["tool_calls"] = [
            {
                "id": call.call_id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
        written["content"] = message.text or None
    if message.role == "tool":
        written["tool_call_id"] = message.tool_call_id
    return written


def _tool(tool: Tool) -> dict[str, Any]:
    parameters = plain(tool.parameters) or {"type": "object", "properties": {}}
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": parameters,
        },
    }


def plain(value: Any) -> Any:
    """Mappings and sequences of any kind as those that JSON knows."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
