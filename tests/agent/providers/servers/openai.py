"""OpenAI's HTTP interfaces."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tests.agent.providers.servers.http import Answer, Handler, Request


def event(data: Any) -> str:
    return f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n"


def chunk(delta: dict[str, Any], finish: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return event({"object": "chat.completion.chunk", "choices": [choice]})


USAGE = event({"choices": [], "usage": {"prompt_tokens": 21, "completion_tokens": 5}})


def chat(*events: str, cut: bool = False, at_once: bool = False) -> Handler:
    """Streams ``events``, and ``[DONE]`` unless it is cut."""

    async def handle(_: Request, answer: Answer) -> None:
        await answer.begin("text/event-stream; charset=utf-8")
        pieces: Sequence[str] = ["".join(events)] if at_once else events
        for piece in pieces:
            await answer.piece(piece)
        if not cut:
            await answer.piece(event("[DONE]"))
            await answer.end()

    return handle


def hello() -> Handler:
    return chat(
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "Good "}),
        chunk({"content": "morning."}),
        chunk({}, "stop"),
        USAGE,
    )


def speech(data: bytes, size: int = 999, cut: bool = False, kind: str = "audio/pcm") -> Handler:
    """Streams ``data`` in pieces of an odd size."""

    async def handle(_: Request, answer: Answer) -> None:
        await answer.begin(kind)
        for start in range(0, len(data), size):
            await answer.piece(data[start : start + size])
        if not cut:
            await answer.end()

    return handle


def transcription(text: str) -> Handler:
    async def handle(_: Request, answer: Answer) -> None:
        await answer.whole("application/json", json.dumps({"text": text}))

    return handle
