"""Calls an agent the way a person would, without a telephone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from sipbot.agent.port import Agent
from sipbot.agent.runner import AgentRunner, RunnerSettings
from sipbot.call.call import Call
from sipbot.call.leg import LegInfo, Pcm, TransferResult
from sipbot.call.record import CallRecord
from sipbot.call.speech import Said, Synthesizer
from sipbot.testing.clock import LoopClock
from sipbot.testing.leg import CALLER, FakeLeg
from sipbot.testing.speech import ScriptedSynthesizer

KEY_GAP_S: Final = 0.2  # seconds between two keys of a person in no hurry
PATIENCE_S: Final = 120.0  # seconds that a caller waits for anything

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(slots=True)
class Spoken:
    """A text of the agent; ``said`` is None while it is being spoken or was cut by the end."""

    text: str
    said: Said | None = None


class Transcript:
    """Everything that the agent said so far. ``note`` is told by the call."""

    def __init__(self) -> None:
        self.spoken: list[Spoken] = []
        self.news = asyncio.Event()

    def note(self, text: str, said: Said | None) -> None:
        """A text begins, or with ``said`` has ended."""
        if said is None:
            self.spoken.append(Spoken(text))
        else:
            next(one for one in self.spoken if one.text == text and one.said is None).said = said
        self.news.set()


class SimulatedCaller:
    """The person on the telephone. Methods that wait fail after ``PATIENCE_S`` of loop time."""

    def __init__(
        self, leg: FakeLeg, call: Call, task: asyncio.Task[CallRecord], heard: Transcript
    ) -> None:
        self.leg, self.call = leg, call
        self._task, self._transcript = task, heard
        self._passed = 0  # texts that ``hears`` has passed

    @property
    def spoken(self) -> list[Spoken]:
        """What the agent said so far, and what became of it."""
        return self._transcript.spoken

    @property
    def transcript(self) -> list[str]:
        """Texts of the agent in order."""
        return [one.text for one in self.spoken]

    @property
    def record(self) -> CallRecord:
        """The call's record, once it is over."""
        return self._task.result()

    async def hears(self, part: str, *, to_the_end: bool = False) -> Spoken:
        """Wait until the agent begins (or has ended) a text that contains ``part``.

        Texts before it are skipped and not looked at again. Case does not matter.
        """
        while True:
            for index in range(self._passed, len(self.spoken)):
                one = self.spoken[index]
                if part.casefold() in one.text.casefold():
                    while to_the_end and one.said is None:
                        await self._more(part)
                    self._passed = index + 1
                    return one
            await self._more(part)

    async def press(self, digits: str) -> None:
        """Press keys, one after the other."""
        for digit in digits:
            self.leg.press(digit)
            await asyncio.sleep(KEY_GAP_S)

    def says(self, pcm: Pcm) -> None:
        """Queue audio of the caller, at the leg's rate (8 kHz unless asked otherwise)."""
        self.leg.speak(pcm)

    async def waits(self, seconds: float) -> None:
        """Do nothing for a while."""
        await asyncio.sleep(seconds)

    def hangs_up(self) -> None:
        """End the call."""
        self.leg.hang_up()

    async def ended(self) -> CallRecord:
        """Wait until the call is over."""
        async with asyncio.timeout(PATIENCE_S):
            return await asyncio.shield(self._task)

    async def _more(self, part: str) -> None:
        self._transcript.news.clear()
        news = asyncio.ensure_future(self._transcript.news.wait())
        try:
            waiting = {news, self._task}
            await asyncio.wait(waiting, timeout=PATIENCE_S, return_when="FIRST_COMPLETED")
        finally:
            news.cancel()
        if not self._transcript.news.is_set():
            why = "the call ended" if self._task.done() else f"{PATIENCE_S:.0f} s passed"
            raise AssertionError(f"{why} without {part!r}; the agent said {self.transcript}")


@asynccontextmanager
async def simulate(
    agent: Agent,
    *,
    caller: str = CALLER.caller,
    callee: str = CALLER.callee,
    trunk: str = "",
    headers: Mapping[str, str] = _NOTHING,
    parameters: Mapping[str, str] = _NOTHING,
    rate: int = 8_000,
    synthesizer: Synthesizer | None = None,
    settings: RunnerSettings | None = None,
    transfer_result: TransferResult = TransferResult(True),  # noqa: B008  # a frozen value
) -> AsyncIterator[SimulatedCaller]:
    """A call to ``agent``, run as the server would run it::

        @virtual_time
        async def test_greets() -> None:
            async with simulate(Receptionist()) as caller:
                await caller.hears("press 1")
                await caller.press("1")
                await caller.hears("today", to_the_end=True)
            assert caller.record.reason is EndReason.CALLER_HUNG_UP

    When the block is left, the caller hangs up if the call still lives. What the agent raised is
    raised here.
    """
    info = LegInfo(
        transport="fake",
        direction="inbound",
        caller=caller,
        callee=callee,
        trunk=trunk,
        request_user=callee,
        headers=headers,
        parameters=parameters,
    )
    leg = FakeLeg(info, rate=rate, transfer_result=transfer_result)
    async with _call(leg, agent, synthesizer, settings) as person:
        yield person


@asynccontextmanager
async def _call(
    leg: FakeLeg, agent: Agent, synthesizer: Synthesizer | None, settings: RunnerSettings | None
) -> AsyncIterator[SimulatedCaller]:
    errors: list[BaseException] = []
    heard = Transcript()
    call = Call(
        leg,
        call_id="simulated",
        agent_name=type(agent).__name__,
        synthesizer=synthesizer or ScriptedSynthesizer(),
        clock=LoopClock(),
        on_speech=heard.note,
    )
    runner = AgentRunner(settings, lambda _, error: errors.append(error))
    task = asyncio.create_task(runner.run(call, agent), name="simulated call")
    person = SimulatedCaller(leg, call, task, heard)
    try:
        yield person
        leg.hang_up()
        await person.ended()
    except AssertionError as failure:
        if errors:
            raise failure from errors[0]
        raise
    finally:
        leg.hang_up()
        task.cancel()
        await asyncio.wait({task})
    if errors:
        raise errors[0]


def level(pcm: Pcm) -> float:
    """Root mean square of audio, 0 to 32,767; 0 for no audio."""
    return float(np.sqrt(np.mean(np.square(pcm, dtype=np.float64)))) if len(pcm) else 0.0
