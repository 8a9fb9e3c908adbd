"""OpenAI's Realtime interface over a WebSocket: a model that hears and speaks itself.

The events are those of the general availability of the interface. The service finds out by itself
when the caller speaks and stops, and ends its own answer when interrupted; what of that answer was
heard is told to it by ``conversation.item.truncate``.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from sipbot.agent.ports import (
    Heard,
    Moment,
    RealtimeEvent,
    RealtimeSetup,
    SpokenAudio,
    Tool,
    ToolCall,
    Usage,
)
from sipbot.agent.providers.counts import Counts, used
from sipbot.agent.providers.openai_chat import plain
from sipbot.agent.providers.patience import PATIENT, Deadline, Patience
from sipbot.agent.providers.pcm import to_bytes
from sipbot.agent.providers.websocket import Socket, opened
from sipbot.call.leg import Pcm
from sipbot.call.resample import Resampler
from sipbot.errors import ProviderError

OPENAI: Final = "openai"
RATE: Final = 24_000  # Hz, both ways; the only one of raw samples
MAX_ANSWER_S: Final = 600  # seconds of one answer; a model that speaks longer babbles
MAX_DUE: Final = 8  # answers that wait for the present one
GO_ON: Final[Mapping[str, Any]] = MappingProxyType({"type": "response.create"})
# Codes of errors that say only that a message came too late to matter.
HARMLESS: Final = frozenset(
    {
        "response_cancel_not_active",
        "conversation_already_has_active_response",
        "item_truncate_invalid_item_id",
        "input_audio_buffer_commit_empty",
    }
)


class OpenAiRealtime:
    """Implements ``RealtimeModel``. ``options`` are merged into the session."""

    def __init__(
        self,
        url: str,
        key: str,
        counts: Counts,
        *,
        model: str,
        voice: str,
        transcription: str | None = None,
        options: Mapping[str, Any] | None = None,
        patience: Patience = PATIENT,
    ) -> None:
        self._url, self._counts, self._patience = url.rstrip("/"), counts, patience
        self._headers = {"Authorization": f"Bearer {key}"}
        self._model, self._voice, self._transcription = model, voice, transcription
        self._options = dict(options or {})

    @asynccontextmanager
    async def open(self, setup: RealtimeSetup) -> AsyncGenerator[OpenAiSession, None]:
        """Connect and agree on the session. Raises ProviderError."""
        async with opened(
            OPENAI,
            f"{self._url}/realtime",
            self._headers,
            self._patience,
            self._counts,
            {"model": self._model},
        ) as socket:
            session = OpenAiSession(socket, self._counts, setup.rate)
            await session.begin(self._session(setup), self._patience.first_s)
            try:
                yield session
            finally:
                session.closed = True

    def _session(self, setup: RealtimeSetup) -> dict[str, Any]:
        form = {"type": "audio/pcm", "rate": RATE}
        heard: dict[str, Any] = {"format": form}
        if self._transcription is not None:
            heard["transcription"] = {"model": self._transcription}
            if setup.language:
                heard["transcription"]["language"] = setup.language.partition("-")[0]
        return {
            "type": "realtime",
            "output_modalities": ["audio"],
            "instructions": setup.instructions,
            "audio": {
                "input": {**heard, "turn_detection": {"type": "server_vad"}},
                "output": {"format": form, "voice": setup.voice or self._voice},
            },
            "tools": [_tool(tool) for tool in setup.tools],
            **self._options,
        }


class OpenAiSession:
    """Implements ``RealtimeSession``."""

    def __init__(self, socket: Socket, counts: Counts, rate: int) -> None:
        self.closed = False
        self._socket, self._counts = socket, counts
        self._up = None if rate == RATE else Resampler(rate, RATE)
        self._item = ""  # of the answer that is spoken
        self._samples = 0  # of that answer
        self._dropping = False  # it was interrupted: the rest of it is not handed on
        self._answering = False
        self._wanted: set[str] = set()  # tool calls without a result
        self._due: list[dict[str, Any]] = []  # answers to ask for after this one

    async def begin(self, session: Mapping[str, Any], limit_s: float) -> None:
        """Send the setup and wait until it is taken. Raises ProviderError."""
        deadline = Deadline()
        deadline.within(limit_s)
        await self._socket.send({"type": "session.update", "session": session})
        while True:
            try:
                message = await deadline.wait(self._socket.receive())
            except TimeoutError:
                raise ProviderError(OPENAI, "timeout", retry=True) from None
            if message.get("type") == "error":
                raise ProviderError(OPENAI, "refused")
            if message.get("type") == "session.updated":
                return

    async def push(self, pcm: Pcm) -> None:
        sound = pcm if self._up is None else self._up.push(pcm)
        if len(sound):
            audio = base64.b64encode(to_bytes(sound)).decode("ascii")
            await self._socket.send({"type": "input_audio_buffer.append", "audio": audio})

    async def interrupt(self, heard_ms: int) -> None:
        item, self._dropping = self._item, True
        if self._answering:
            await self._socket.send({"type": "response.cancel"})
        if item:
            made_ms = self._samples * 1_000 // RATE  # more than that is refused
            await self._socket.send(
                {
                    "type": "conversation.item.truncate",
                    "item_id": item,
                    "content_index": 0,
                    "audio_end_ms": max(0, min(heard_ms, made_ms)),
                }
            )

    async def tool_result(self, call_id: str, output: str) -> None:
        self._wanted.discard(call_id)
        item = {"type": "function_call_output", "call_id": call_id, "output": output}
        await self._socket.send({"type": "conversation.item.create", "item": item})
        if not self._wanted:
            await self._respond(self._due.pop(0) if self._due else dict(GO_ON))

    async def say(self, instruction: str) -> None:
        await self._respond({"type": "response.create", "response": {"instructions": instruction}})

    async def events(self) -> AsyncIterator[RealtimeEvent]:
        while True:
            try:
                message = await self._socket.receive()
                found = list(self._read(message))
            except ProviderError:
                if self.closed:
                    return
                raise
            except (KeyError, TypeError, ValueError, AttributeError, binascii.Error):
                raise ProviderError(OPENAI, "garbage") from None
            if message.get("type") == "response.done" and self._due and not self._wanted:
                await self._respond(self._due.pop(0))
            for event in found:
                if isinstance(event, Usage):
                    used(self._counts, OPENAI, event.unit, round(event.amount))
                yield event

    async def _respond(self, request: dict[str, Any]) -> None:
        """Ask for an answer, now or when the present one is over: only one runs at a time."""
        if self._answering:
            if len(self._due) < MAX_DUE:
                self._due.append(request)
            return
        self._answering = True
        await self._socket.send(request)

    def _read(self, message: Mapping[str, Any]) -> Iterator[RealtimeEvent]:
        match message.get("type"):
            case "response.output_audio.delta" | "response.audio.delta":
                yield from self._audio(message)
            case "response.output_audio_transcript.delta":
                yield Heard("assistant", message["delta"], False)
            case "response.output_audio_transcript.done":
                yield Heard("assistant", message["transcript"], True)
            case "conversation.item.input_audio_transcription.delta":
                yield Heard("user", message["delta"], False)
            case "conversation.item.input_audio_transcription.completed":
                yield Heard("user", message["transcript"].strip(), True)
            case "input_audio_buffer.speech_started":
                yield Moment.CALLER_SPEAKS
            case "input_audio_buffer.speech_stopped":
                yield Moment.CALLER_STOPPED
            case "response.created":
                self._answering, self._dropping = True, False
                self._item, self._samples = "", 0
            case "response.output_item.done":
                yield from self._tool_call(message["item"])
            case "response.done":
                yield from self._done(message["response"])
            case "error":
                if message["error"].get("code") not in HARMLESS:
                    raise ProviderError(OPENAI, "failed", retry=True)

    def _audio(self, message: Mapping[str, Any]) -> Iterator[RealtimeEvent]:
        data = base64.b64decode(message["delta"], validate=True)
        if self._dropping:
            return
        self._item = message["item_id"]
        pcm = np.frombuffer(data, "<i2").astype(np.int16, copy=False)
        self._samples += len(pcm)
        if self._samples > MAX_ANSWER_S * RATE:
            raise ProviderError(OPENAI, "babble")
        yield SpokenAudio(pcm, RATE)

    def _tool_call(self, item: Mapping[str, Any]) -> Iterator[RealtimeEvent]:
        if item.get("type") == "function_call":
            self._wanted.add(item["call_id"])
            yield ToolCall(item["call_id"], item["name"], item["arguments"])

    def _done(self, response: Mapping[str, Any]) -> Iterator[RealtimeEvent]:
        self._answering = False
        usage = response.get("usage")
        if usage:
            yield Usage(OPENAI, "input-tokens", float(usage["input_tokens"]))
            yield Usage(OPENAI, "output-tokens", float(usage["output_tokens"]))
        if response.get("status") == "failed":
            raise ProviderError(OPENAI, "failed", retry=True)
        yield Moment.ANSWER_DONE


def _tool(tool: Tool) -> dict[str, Any]:
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": plain(tool.parameters) or {"type": "object", "properties": {}},
    }
