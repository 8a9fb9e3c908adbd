"""One conversation with a model that hears and speaks itself.

The model decides when the caller's turn is over and answers by itself. What is left to do: play,
stop when it hears the caller, tell it what was heard, run tools, and never be silent for long.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from sipbot.agent.ports import (
    Heard,
    Moment,
    RealtimeEvent,
    RealtimeSession,
    SpokenAudio,
    ToolCall,
    Usage,
)
from sipbot.agent.realtime.answer import Answer
from sipbot.agent.realtime.settings import RealtimeSettings
from sipbot.agent.tools.toolbox import Toolbox
from sipbot.agent.voice.inbox import Alarms, Inbox
from sipbot.call.call import Call
from sipbot.call.events import TransferRefused
from sipbot.errors import ProviderError, SpeechError

OWED: Final = "owed"  # alarms: an answer did not come
FOLLOW_UP: Final = "follow-up"  # the caller says nothing
LIMIT: Final = "limit"  # the call is too long
AGAIN_S: Final = 0.5  # seconds until a goodbye is tried again


@dataclass(frozen=True, slots=True)
class Lost:
    """The model is gone."""

    error: ProviderError


@dataclass(frozen=True, slots=True)
class Gone:
    """The caller is gone, or a tool ended the conversation."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """The caller heard an answer to its end."""

    answer: Answer


Happening: TypeAlias = RealtimeEvent | Lost | Gone | Spoken


async def without_model(call: Call, settings: RealtimeSettings) -> None:
    """What is left to do when the model is gone: say so, and hand the caller on."""
    try:
        if settings.give_up:
            await call.say(settings.give_up, interruptible=False)
    except SpeechError as error:
        call.log.warning("apology not spoken", error=str(error))
    if settings.give_up_transfer is not None:
        try:
            await call.transfer(settings.give_up_transfer)
        except TransferRefused:
            call.log.warning("transfer refused")


class RealtimeConversation:
    """Implements ``ToolTurn``. ``run`` returns when the conversation is over."""

    def __init__(
        self,
        call: Call,
        session: RealtimeSession,
        settings: RealtimeSettings,
        toolbox: Toolbox,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self.over = False
        self.used: Counter[tuple[str, str]] = Counter()
        self.turns = self.interruptions = 0
        self._call, self._session, self._settings = call, session, settings
        self._toolbox, self._tasks = toolbox, tasks
        self._inbox: Inbox[Happening] = Inbox()
        self._alarms = Alarms()
        self._answer: Answer | None = None
        self._playing: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._quiet = asyncio.Event()  # no answer is being spoken
        self._quiet.set()
        self._closed = self._ending = False
        self._follow_ups = self._tools_running = 0

    async def run(self) -> None:
        """Lead the conversation."""
        self._start(self._listen())
        self._start(self._hear_model())
        try:
            self._alarm(LIMIT, self._settings.max_call_s)
            await self._ask(self._settings.greeting)
            while not self.over:
                happening = await self._inbox.get(self._alarms.next())
                if isinstance(happening, Gone):
                    break
                lost = await self._handle(happening) if happening else await self._ring()
                if lost:
                    await self._give_up()
                    break
        finally:
            for task in tuple(self._running):
                task.cancel()
            if self._answer is not None:
                self._answer.tell()

    # As a tool sees it

    @property
    def call(self) -> Call:
        return self._call

    async def spoken(self) -> None:
        await self._quiet.wait()

    def close(self) -> None:
        self._closed = True

    def reopen(self) -> None:
        self._closed = False

    def end(self) -> None:
        self.over = True
        self._inbox.put(Gone())

    # What happens. Handlers return whether the model is lost.

    async def _handle(self, happening: Happening) -> bool:
        match happening:
            case Lost():
                self._call.log.warning("model lost", error=str(happening.error))
                return True
            case SpokenAudio():
                self._speak(happening)
            case Moment():
                return await self._moment(happening)
            case Heard(role="assistant", final=True) if self._answer is not None:
                self._answer.texts.append(happening.text)
            case Heard(role="user"):
                self._alarms.unset(FOLLOW_UP)
                self.turns += happening.final
            case ToolCall():
                self._tools_running += 1
                self._alarms.unset(OWED)
                self._start(self._run_tool(happening))
            case Usage():
                self.used[happening.provider, happening.unit] += round(happening.amount)
            case Spoken() if happening.answer is self._answer:
                self._answered()
        return False

    def _speak(self, audio: SpokenAudio) -> None:
        if self._answer is None:
            self._answer = Answer(self._call)
            self._playing = self._start(self._play(self._answer))
            self._quiet.clear()
            self._alarms.unset(FOLLOW_UP)
        self._answer.add(audio)
        self._alarm(OWED, self._answer.left_s + self._settings.max_silence_s)

    async def _moment(self, moment: Moment) -> bool:
        match moment:
            case Moment.CALLER_SPEAKS:
                self._alarms.unset(OWED, FOLLOW_UP)
                self._follow_ups = 0
                return await self._interrupted()
            case Moment.CALLER_STOPPED:
                self._alarm(OWED, self._settings.max_silence_s)
            case Moment.ANSWER_DONE:
                self._alarms.unset(OWED)
                if self._answer is not None:
                    self._answer.finish()
                elif self._ending:
                    self.over = True
                elif not self._tools_running:
                    self._alarm(FOLLOW_UP, self._settings.follow_up_s)
        return False

    async def _interrupted(self) -> bool:
        """The caller speaks while the model does, who must know how much was heard."""
        answer = self._answer
        if answer is None or self._closed or self._ending:
            return False
        self.interruptions += 1
        await answer.stop()
        if self._playing is not None:
            self._playing.cancel()
        self._over(answer)
        try:
            await self._session.interrupt(answer.heard_ms)
        except ProviderError as error:
            self._call.log.warning("model lost", error=str(error))
            return True
        return False

    def _answered(self) -> None:
        assert self._answer is not None
        self._over(self._answer)
        if self._ending:
            self.over = True
        elif not self._tools_running:
            self._alarm(FOLLOW_UP, self._settings.follow_up_s)

    def _over(self, answer: Answer) -> None:
        answer.tell()
        self._answer = self._playing = None
        self._quiet.set()

    async def _ring(self) -> bool:
        """Alarms that are due."""
        settings = self._settings
        for name in self._alarms.due(asyncio.get_running_loop().time()):
            if name == OWED:
                self._call.log.warning("answer overdue", limit_s=settings.max_silence_s)
                return True
            if name == FOLLOW_UP and self._follow_ups < settings.max_follow_ups:
                self._follow_ups += 1
                await self._ask(settings.follow_up)
            elif self._answer is not None:
                self._alarm(name, AGAIN_S)  # not into the middle of an answer
            elif not self._ending:
                self._ending = True
                await self._ask(settings.goodbye)
                self.over = not settings.goodbye
        return False

    async def _ask(self, instruction: str) -> None:
        """Have the model speak."""
        if not instruction:
            return
        self._alarm(OWED, self._settings.max_silence_s)
        try:
            await self._session.say(instruction)
        except ProviderError as error:
            self._inbox.put(Lost(error))

    async def _give_up(self) -> None:
        self._closed = True
        if self._answer is not None:
            await self._answer.stop()
        await without_model(self._call, self._settings)

    def _alarm(self, name: str, seconds: float) -> None:
        self._alarms.set(name, asyncio.get_running_loop().time() + seconds)

    # Tasks

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Runs until it is done or the conversation is over."""
        task = self._tasks.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _listen(self) -> None:
        try:
            async for pcm in self._call.audio(self._settings.listen_rate):
                await self._session.push(pcm)
            self._inbox.put(Gone())
        except ProviderError as error:
            self._inbox.put(Lost(error))

    async def _hear_model(self) -> None:
        try:
            async for event in self._session.events():
                self._inbox.put(event)
        except ProviderError as error:
            self._inbox.put(Lost(error))

    async def _play(self, answer: Answer) -> None:
        await answer.run()
        self._inbox.put(Spoken(answer))

    async def _run_tool(self, wanted: ToolCall) -> None:
        output = await self._toolbox.run(self, wanted, self._settings.tool_timeout_s)
        self._tools_running -= 1
        if self.over:
            return
        self._alarm(OWED, self._settings.max_silence_s)
        try:
            await self._session.tool_result(wanted.call_id, output)
        except ProviderError as error:
            self._inbox.put(Lost(error))
