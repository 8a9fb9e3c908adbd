"""One answer: the language model's text becomes clauses, clauses become sound, tools are run.

Everything streams. The first clause is spoken while the model still writes the second.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, TypeAlias

from sipbot.agent.ports import Delta, LanguageModel, Message, TextDelta, ToolCall, Usage
from sipbot.agent.tools.toolbox import Toolbox, ToolTurn
from sipbot.agent.voice.clauses import ClauseSplitter
from sipbot.agent.voice.history import as_heard
from sipbot.agent.voice.settings import VoiceSettings
from sipbot.agent.voice.sound import Voice
from sipbot.agent.voice.utterance import Utterance
from sipbot.agent.voice.waterfall import TurnTimes
from sipbot.call.call import Call
from sipbot.errors import ProviderError, SpeechError

MAX_CLAUSES: Final = 64  # clauses that may wait for their sound
MAX_RETRIES: Final = 1  # of a model that failed before its first word

_Queue: TypeAlias = asyncio.Queue[tuple[str, int] | None]


@dataclass(frozen=True, slots=True)
class AnswerParts:
    """What answers are made with."""

    call: Call
    model: LanguageModel
    voice: Voice
    tools: Toolbox
    settings: VoiceSettings
    on_usage: Callable[[Usage], None]


class Answer:
    """``run`` it as a task; cancel it to abandon it. What was said is in ``said`` at any time.

    With ``text`` it says just that, ``plainly`` without the service for speech.
    """

    def __init__(
        self,
        parts: AnswerParts,
        times: TurnTimes | None = None,
        *,
        text: str = "",
        plainly: bool = False,
    ) -> None:
        self.utterance = Utterance(parts.call)
        self.times = times
        self.failure = ""  # why it is not whole; a constant text
        self._parts, self._text, self._plainly = parts, text, plainly
        self._made: list[Message] = []
        self._clauses: _Queue = asyncio.Queue(MAX_CLAUSES)
        self._spoken = asyncio.Event()  # no clause waits for its sound

    async def run(self, messages: Sequence[Message], turn: ToolTurn) -> None:
        """Answer ``messages``; returns when all was heard. Failures are told by ``failure``."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._think(messages, turn))
            tasks.create_task(self._speak())
            await self.utterance.run()

    def said(self) -> list[Message]:
        """What belongs into the history: text as far as it was heard, tools and their results."""
        return as_heard(self._made, self.utterance.heard_texts())

    @property
    def fixed(self) -> bool:
        """Whether it is not the model's."""
        return bool(self._text)

    async def heard_so_far(self) -> None:
        """Wait until all that was written so far was heard."""
        await self._spoken.wait()
        await self.utterance.wait_heard(0)

    # The text

    async def _think(self, messages: Sequence[Message], turn: ToolTurn) -> None:
        try:
            if self._text:
                self._made.append(Message("assistant", self._text))
                await self._put(self._text, 0)
            else:
                await self._rounds(messages, turn)
        except ProviderError as error:
            self.failure = error.reason
            self._parts.call.log.warning("model failed", error=str(error))
        await self._clauses.put(None)

    async def _rounds(self, messages: Sequence[Message], turn: ToolTurn) -> None:
        for number in range(self._parts.settings.max_tool_rounds):
            wanted = await self._round([*messages, *self._made], number)
            if not wanted:
                return
            for one in wanted:
                result = await self._use(one, turn, number)
                self._made.append(Message("tool", result, tool_call_id=one.call_id))
                if turn.over:
                    return
        self.failure = "too-many-tools"

    async def _round(self, messages: Sequence[Message], number: int) -> list[ToolCall]:
        """One answer of the model, which may ask for tools."""
        splitter, text, wanted = ClauseSplitter(), "", list[ToolCall]()
        try:
            async with aclosing(self._deltas(messages)) as deltas:
                async for delta in deltas:
                    match delta:
                        case TextDelta(text=more):
                            self._mark_first()
                            text += more
                            for clause in splitter.push(more):
                                await self._put(clause, number)
                        case ToolCall():
                            wanted.append(delta)
                        case Usage():
                            self._parts.on_usage(delta)
            for clause in splitter.flush():
                await self._put(clause, number)
        finally:
            self._made.append(Message("assistant", text, tuple(wanted)))
        return wanted

    async def _deltas(self, messages: Sequence[Message]) -> AsyncGenerator[Delta, None]:
        for attempt in range(1 + MAX_RETRIES):
            begun = False
            try:
                reply = self._parts.model.reply(messages, self._parts.tools.described)
                async with aclosing(reply):
                    while (delta := await self._next(reply)) is not None:
                        begun = True
                        yield delta
                    return
            except ProviderError as error:
                if begun or not error.retry or attempt == MAX_RETRIES:
                    raise
                self._parts.call.log.info("model retried", error=str(error))

    async def _next(self, reply: AsyncGenerator[Delta, None]) -> Delta | None:
        try:
            async with asyncio.timeout(self._parts.settings.llm_timeout_s):
                return await anext(reply, None)
        except TimeoutError as error:
            raise ProviderError("model", "timeout", retry=True) from error

    async def _use(self, wanted: ToolCall, turn: ToolTurn, part: int) -> str:
        """Run a tool; say a filler when it takes long."""
        settings, tools = self._parts.settings, self._parts.tools
        work = asyncio.ensure_future(tools.run(turn, wanted, settings.tool_timeout_s))
        try:
            if settings.phrases.filler and not tools.acts(wanted.name):
                await asyncio.wait({work}, timeout=settings.filler_after_s)
                if not work.done():
                    await self._put(settings.phrases.filler, part)
            return await work
        finally:
            work.cancel()

    async def _put(self, text: str, part: int) -> None:
        self._spoken.clear()
        await self._clauses.put((text, part))

    def _mark_first(self) -> None:
        if self.times is not None and self.times.llm_first is None:
            self.times.llm_first = asyncio.get_running_loop().time()

    # The sound

    async def _speak(self) -> None:
        while True:
            if self._clauses.empty():
                self._spoken.set()
            clause = await self._clauses.get()
            if clause is None:
                break
            self._spoken.clear()
            await self._sound(*clause)
        self._spoken.set()
        self.utterance.finish()

    async def _sound(self, text: str, part: int) -> None:
        voice, call = self._parts.voice, self._parts.call
        make = voice.sure if self._plainly else voice.speech
        self.utterance.begin(text, part)
        try:
            async with aclosing(make(call, text)) as chunks:
                async for chunk in chunks:
                    if self.times is not None and self.times.tts_first is None:
                        self.times.tts_first = asyncio.get_running_loop().time()
                    await self.utterance.add(chunk)
        except SpeechError as error:
            self.failure = self.failure or "no-speech"
            call.log.warning("clause not spoken", error=str(error))
        self.utterance.end_clause()
