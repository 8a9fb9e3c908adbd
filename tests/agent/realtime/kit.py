"""A speech-to-speech model whose part a test plays, on a clock that jumps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sipbot.agent.ports import (
    Moment,
    RealtimeEvent,
    RealtimeSession,
    RealtimeSetup,
    SpokenAudio,
)
from sipbot.agent.realtime.agent import RealtimeAgent
from sipbot.agent.realtime.settings import RealtimeSettings
from sipbot.agent.tools.toolbox import RunnableTool
from sipbot.call.leg import Pcm, TransferResult
from sipbot.errors import ProviderError
from sipbot.testing.simulate import SimulatedCaller, simulate
from sipbot.testing.speech import tone

DOWN = ProviderError("model", "cut-off", retry=True)


class Model:
    """Implements ``RealtimeModel`` and its session; ``put`` makes something happen.

    ``answers`` seconds of speech follow each wish to speak; 0: none.
    """

    def __init__(self, answers: float = 0.5, error: ProviderError | None = None) -> None:
        self.answers, self.error = answers, error
        self.setup: RealtimeSetup | None = None
        self.opened = self.left = self.pushed = 0
        self.asked: list[str] = []
        self.heard_ms: list[int] = []
        self.results: list[tuple[str, str]] = []
        self._events: asyncio.Queue[RealtimeEvent | ProviderError] = asyncio.Queue()

    def put(self, *events: RealtimeEvent | ProviderError) -> None:
        for event in events:
            self._events.put_nowait(event)

    def speak(self, seconds: float, done: bool = True) -> None:
        """Faster than real time, as models do."""
        for _ in range(round(seconds * 10)):
            self.put(SpokenAudio(tone(100, 24_000), 24_000))
        if done:
            self.put(Moment.ANSWER_DONE)

    @asynccontextmanager
    async def open(self, setup: RealtimeSetup) -> AsyncGenerator[RealtimeSession, None]:
        if self.error is not None:
            raise self.error
        self.setup = setup
        self.opened += 1
        try:
            yield self
        finally:
            self.left += 1

    async def push(self, pcm: Pcm) -> None:
        self.pushed += len(pcm)

    async def interrupt(self, heard_ms: int) -> None:
        self.heard_ms.append(heard_ms)

    async def tool_result(self, call_id: str, output: str) -> None:
        self.results.append((call_id, output))

    async def say(self, instruction: str) -> None:
        self.asked.append(instruction)
        if self.answers:
            self.speak(self.answers)

    async def events(self) -> AsyncIterator[RealtimeEvent]:
        while True:
            event = await self._events.get()
            if isinstance(event, ProviderError):
                raise event
            yield event


@asynccontextmanager
async def calling(
    model: Model,
    tools: Sequence[RunnableTool] = (),
    transfer_result: TransferResult | None = None,
    **settings: Any,
) -> AsyncIterator[SimulatedCaller]:
    """A caller, once the call is answered."""
    told = RealtimeSettings("Be kind.", **{"greeting": "Greet.", **settings})
    agent = RealtimeAgent(model, told, tools)
    result = transfer_result or TransferResult(True)
    async with simulate(agent, transfer_result=result) as caller:
        for _ in range(500):
            if caller.call.answered:
                break
            await caller.waits(0.02)
        yield caller


def loud_ms(caller: SimulatedCaller) -> int:
    """How much sound the caller heard."""
    return 20 * sum(bool(frame.any()) for frame in caller.leg.audio.heard)
