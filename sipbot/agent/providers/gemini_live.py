"""Google's Gemini Live over a WebSocket: a model that hears and speaks itself.

Messages are JSON (``BidiGenerateContent``), which the service sends in binary frames. The key goes
into a header, not into the URL. The service cannot be told how much of an answer was heard.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
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
from sipbot.errors import ProviderError

GEMINI: Final = "gemini"
PATH: Final = "google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
USUAL_RATE: Final = 24_000  # Hz of speech that tells no rate
MAX_ANSWER_S: Final = 600  # seconds of one answer; a model that speaks longer babbles

_RATE: Final = re.compile(r"rate=(\d{4,6})")


class GeminiLive:
    """Implements ``RealtimeModel``. ``options`` are merged into ``generationConfig``."""

    def __init__(
        self,
        url: str,
        key: str,
        counts: Counts,
        *,
        model: str,
        voice: str | None = None,
        options: Mapping[str, Any] | None = None,
        patience: Patience = PATIENT,
    ) -> None:
        self._url, self._counts, self._patience = url.rstrip("/"), counts, patience
        self._headers = {"x-goog-api-key": key}
        self._model, self._voice, self._options = model, voice, dict(options or {})

    @asynccontextmanager
    async def open(self, setup: RealtimeSetup) -> AsyncGenerator[GeminiSession, None]:
        """Connect and agree on the session. Raises ProviderError."""
        async with opened(
            GEMINI, f"{self._url}/{PATH}", self._headers, self._patience, self._counts
        ) as socket:
            session = GeminiSession(socket, self._counts, setup.rate)
            await session.begin(self._setup(setup), self._patience.first_s)
            try:
                yield session
            finally:
                session.closed = True

    def _setup(self, setup: RealtimeSetup) -> dict[str, Any]:
        speech: dict[str, Any] = {}
        voice = setup.voice or self._voice
        if voice:
            speech["voiceConfig"] = {"prebuiltVoiceConfig": {"voiceName": voice}}
        if setup.language:
            speech["languageCode"] = setup.language
        written: dict[str, Any] = {
            "model": f"models/{self._model.removeprefix('models/')}",
            "generationConfig": {
                "responseModalities": ["AUDIO"],
                "speechConfig": speech,
                **self._options,
            },
            "systemInstruction": {"parts": [{"text": setup.instructions}]},
            "inputAudioTranscription": {},
            "outputAudioTranscription": {},
        }
        if setup.tools:
            declared = [_tool(tool) for tool in setup.tools]
            written["tools"] = [{"functionDeclarations": declared}]
        return written


class GeminiSession:
    """Implements ``RealtimeSession``."""

    def __init__(self, socket: Socket, counts: Counts, rate: int) -> None:
        self.closed = False
        self._socket, self._counts, self._rate = socket, counts, rate
        self._names: dict[str, str] = {}  # of tool calls without a result
        self._said: list[str] = []  # of the present answer
        self._heard: list[str] = []  # of the caller's turn
        self._answering = self._dropping = False
        self._seconds = 0.0  # of the present answer

    async def begin(self, setup: Mapping[str, Any], limit_s: float) -> None:
        """Send the setup and wait until it is taken. Raises ProviderError."""
        deadline = Deadline()
        deadline.within(limit_s)
        await self._socket.send({"setup": setup})
        while True:
            try:
                message = await deadline.wait(self._socket.receive())
            except TimeoutError:
                raise ProviderError(GEMINI, "timeout", retry=True) from None
            if "setupComplete" in message:
                return

    async def push(self, pcm: Pcm) -> None:
        data = base64.b64encode(to_bytes(pcm)).decode("ascii")
        audio = {"data": data, "mimeType": f"audio/pcm;rate={self._rate}"}
        await self._socket.send({"realtimeInput": {"audio": audio}})

    async def interrupt(self, heard_ms: int) -> None:
        """The rest of the answer is not handed on; the service hears the caller by itself."""
        self._dropping = self._answering

    async def tool_result(self, call_id: str, output: str) -> None:
        response = {
            "id": call_id,
            "name": self._names.pop(call_id, ""),
            "response": {"output": output},
        }
        await self._socket.send({"toolResponse": {"functionResponses": [response]}})

    async def say(self, instruction: str) -> None:
        turn = {"role": "user", "parts": [{"text": instruction}]}
        await self._socket.send({"clientContent": {"turns": [turn], "turnComplete": True}})

    async def events(self) -> AsyncIterator[RealtimeEvent]:
        while True:
            try:
                found = list(self._read(await self._socket.receive()))
            except ProviderError:
                if self.closed:
                    return
                raise
            except (KeyError, TypeError, ValueError, AttributeError, binascii.Error):
                raise ProviderError(GEMINI, "garbage") from None
            for event in found:
                if isinstance(event, Usage):
                    used(self._counts, GEMINI, event.unit, round(event.amount))
                yield event

    def _read(self, message: Mapping[str, Any]) -> Iterator[RealtimeEvent]:
        """One message; several of its parts may be there."""
        content = message.get("serverContent")
        if content is not None:
            yield from self._content(content)
        for call in (message.get("toolCall") or {}).get("functionCalls", ()):
            self._names[call["id"]] = call["name"]
            yield ToolCall(call["id"], call["name"], json.dumps(call.get("args") or {}))
        for call_id in (message.get("toolCallCancellation") or {}).get("ids", ()):
            self._names.pop(call_id, None)
        usage = message.get("usageMetadata")
        if usage:
            yield Usage(GEMINI, "input-tokens", float(usage.get("promptTokenCount") or 0))
            yield Usage(GEMINI, "output-tokens", float(usage.get("responseTokenCount") or 0))

    def _content(self, content: Mapping[str, Any]) -> Iterator[RealtimeEvent]:
        heard = (content.get("inputTranscription") or {}).get("text")
        if heard:
            self._heard.append(heard)
            yield Heard("user", heard, False)
        if content.get("interrupted"):
            yield Moment.CALLER_SPEAKS
        said = (content.get("outputTranscription") or {}).get("text")
        parts = (content.get("modelTurn") or {}).get("parts", ())
        if said or parts:
            yield from self._caller_done()
            self._answering = True
        if said and not self._dropping:
            self._said.append(said)
            yield Heard("assistant", said, False)
        for part in parts:
            if "inlineData" in part:
                yield from self._audio(part["inlineData"])
        if content.get("interrupted") or content.get("turnComplete"):
            yield from self._answer_done()

    def _audio(self, inline: Mapping[str, Any]) -> Iterator[RealtimeEvent]:
        pcm = np.frombuffer(base64.b64decode(inline["data"], validate=True), "<i2")
        told = _RATE.search(inline.get("mimeType") or "")
        rate = int(told[1]) if told else USUAL_RATE
        self._seconds += len(pcm) / rate
        if self._seconds > MAX_ANSWER_S:
            raise ProviderError(GEMINI, "babble")
        if not self._dropping:
            yield SpokenAudio(pcm.astype(np.int16, copy=False), rate)

    def _caller_done(self) -> Iterator[RealtimeEvent]:
        """The model answers, so that the caller's turn is over."""
        if self._heard:
            yield Heard("user", "".join(self._heard).strip(), True)
            self._heard = []

    def _answer_done(self) -> Iterator[RealtimeEvent]:
        if self._said:
            yield Heard("assistant", "".join(self._said).strip(), True)
        self._said, self._seconds = [], 0.0
        self._answering = self._dropping = False
        yield Moment.ANSWER_DONE


def _tool(tool: Tool) -> dict[str, Any]:
    declared: dict[str, Any] = {"name": tool.name, "description": tool.description}
    if tool.parameters:
        declared["parametersJsonSchema"] = plain(tool.parameters)
    return declared
