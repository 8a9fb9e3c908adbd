"""``VoiceAgent``: one object for all calls of an agent; what is a call's is made in ``run``."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Final, Protocol, runtime_checkable

from sipbot.agent.listening.endpointing import Endpointer
from sipbot.agent.listening.holds import HoldRule
from sipbot.agent.listening.vad import VadService
from sipbot.agent.ports import LanguageModel, ListenFor, SpeechToText, Tool, Usage
from sipbot.agent.providers.counts import Counts, Tally
from sipbot.agent.tools.toolbox import RunnableTool, Toolbox
from sipbot.agent.voice.answer import AnswerParts
from sipbot.agent.voice.conversation import Conversation
from sipbot.agent.voice.ear import Ear, RecogniserLine, RecogniserLost
from sipbot.agent.voice.settings import VoiceSettings
from sipbot.agent.voice.sound import Voice
from sipbot.call.call import Call
from sipbot.call.speech import Synthesizer
from sipbot.errors import ProviderError, SpeechError

READY_S: Final = 4.0  # seconds for the recogniser to connect while it rings


@runtime_checkable
class WarmsUp(Protocol):
    """A provider that can connect before it is needed."""

    async def warm(self) -> None: ...


class VoiceAgent:
    """Listens, thinks, speaks.

    ``tts`` None is the voice that calls have anyway. ``vad`` is shared by all agents of a process;
    ``holds`` replaces the rules for the end of a turn, for example by a model that detects it.
    ``counts`` is told of turns and interruptions.
    """

    def __init__(
        self,
        *,
        stt: SpeechToText,
        llm: LanguageModel,
        tts: Synthesizer | None = None,
        settings: VoiceSettings | None = None,
        tools: Sequence[RunnableTool] = (),
        vad: VadService | None = None,
        holds: HoldRule | None = None,
        counts: Counts | None = None,
    ) -> None:
        self.settings = settings or VoiceSettings()
        self.vad = vad or VadService(self.settings.listen_rate)
        self.holds: HoldRule = holds or self.settings.holds
        self._stt, self._llm, self._tts = stt, llm, tts
        self._counts: Counts = counts or Tally()
        self._tools = Toolbox(tools)
        if self.vad.rate != self.settings.listen_rate:
            raise ValueError("voice activity and the recogniser listen at the same rate")
        self._voice = Voice(tts, self.settings.voice, self.settings.tts_timeout_s)
        self._lines: dict[str, tuple[RecogniserLine, asyncio.Task[None]]] = {}

    def load(self) -> None:
        """Load what takes long, before the first call."""
        _ = self.vad.batch

    @property
    def tools(self) -> tuple[Tool, ...]:
        """What the model may call."""
        return self._tools.described

    async def prepare(self, call: Call) -> None:
        """While it rings: connect, and make the fixed phrases."""
        line = self._line(call)
        self.load()
        ready = asyncio.timeout(READY_S)
        try:
            async with ready, asyncio.TaskGroup() as tasks:
                tasks.create_task(line.ready.wait())
                tasks.create_task(self._warm(call))
                tasks.create_task(self._keep_phrases(call))
        except TimeoutError:
            call.log.warning("voice agent not ready", limit_s=READY_S)

    async def run(self, call: Call) -> None:
        """Lead one conversation."""
        line, settings = self._line(call), self.settings
        if self.vad.degraded:
            call.log.warning("no voice activity model", reason=self.vad.degraded)
        used: Counter[tuple[str, str]] = Counter()

        def note(usage: Usage) -> None:
            used[usage.provider, usage.unit] += round(usage.amount)

        parts = AnswerParts(call, self._llm, self._voice, self._tools, settings, note)
        endpointer = Endpointer(settings.thresholds, self.holds)
        conversation: Conversation | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                conversation = Conversation(parts, line, endpointer, tasks)
                line.listener = conversation.inbox.put
                if line.lost:
                    conversation.inbox.put(RecogniserLost())
                ear = Ear(self.vad, line, endpointer, conversation.inbox.put)
                others = [
                    tasks.create_task(ear.run(call.audio(settings.listen_rate)), name="ear"),
                    tasks.create_task(_hear_events(call, conversation), name="events"),
                ]
                await conversation.run()
                for task in others:
                    task.cancel()
        finally:
            await self._release(call)
            if conversation is not None:
                call.add_stats(conversation.waterfall.stats())
                conversation.waterfall.count(self._counts)
            call.add_stats({f"{name}_{unit}": count for (name, unit), count in used.items()})

    def _line(self, call: Call) -> RecogniserLine:
        """The call's recogniser, which listens from now on until the call is over."""
        if call.id not in self._lines:
            settings = self.settings
            wanted = ListenFor(settings.listen_rate, settings.language, settings.hints)
            line = RecogniserLine(self._stt, wanted, call.log)
            task = asyncio.create_task(self._keep_open(call, line), name=f"recogniser {call.id}")
            self._lines[call.id] = (line, task)
        return self._lines[call.id][0]

    async def _keep_open(self, call: Call, line: RecogniserLine) -> None:
        """``prepare`` may be the last that is heard of a call: its end ends this too."""
        work, gone = asyncio.ensure_future(line.run()), asyncio.ensure_future(call.wait_ended())
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
                await gone
        finally:
            work.cancel()
            gone.cancel()
            await asyncio.wait({work, gone})
            self._lines.pop(call.id, None)

    async def _release(self, call: Call) -> None:
        line = self._lines.get(call.id)
        if line is not None:
            line[1].cancel()
            await asyncio.wait({line[1]})

    async def _warm(self, call: Call) -> None:
        providers: tuple[object, ...] = (self._llm, self._tts)
        for provider in providers:
            if isinstance(provider, WarmsUp):
                try:
                    await provider.warm()
                except ProviderError as error:
                    call.log.warning("provider not warm", error=str(error))

    async def _keep_phrases(self, call: Call) -> None:
        phrases = self.settings.phrases
        others = (
            phrases.filler,
            phrases.apology,
            phrases.follow_up,
            phrases.goodbye,
            phrases.give_up,
        )
        try:
            await self._voice.keep(call, phrases.greeting)
            await asyncio.gather(*(self._voice.keep(call, text) for text in others))
        except (ProviderError, SpeechError) as error:
            call.log.warning("phrase not prepared", error=str(error))


async def _hear_events(call: Call, conversation: Conversation) -> None:
    async for event in call.events():
        conversation.inbox.put(event)
