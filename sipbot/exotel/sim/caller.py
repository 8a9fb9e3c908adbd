"""The scripted caller: does step after step on a line, and judges how the bot takes it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from pydantic import BaseModel

from sipbot.call.leg import Pcm
from sipbot.exotel.sim.ears import Deaf
from sipbot.exotel.sim.line import Line
from sipbot.exotel.sim.steps import (
    Action,
    HangUpStep,
    HoldStep,
    Interrupt,
    InterruptStep,
    PauseStep,
    WaitEnd,
    WaitEndStep,
    WaitSilence,
    WaitSilenceStep,
    WaitSpeech,
    WaitSpeechStep,
    action_of,
    name_of,
)

PAUSE_MS: Final = 700  # a bot that is silent for longer does not speak any more
TONE_HZ: Final = 220.0
TONE_LEVEL: Final = 9_000  # peak, of 32,767

Voice: TypeAlias = Callable[[Action, int], Awaitable[Pcm]]  # audio of an action, at so many Hz


@dataclass(frozen=True, slots=True)
class StepResult:
    """How one step went. ``detail`` holds nothing of what was pressed or said."""

    name: str
    passed: bool
    detail: str = ""
    at_ms: int = 0  # of audio heard when it was over


class StepFailed(Exception):
    """Why a step failed."""


class Caller:
    """One person on one line. ``results`` lists the steps that were begun."""

    def __init__(self, line: Line, voice: Voice) -> None:
        self.results: list[StepResult] = []
        self.line, self._voice = line, voice

    async def follow(self, steps: Sequence[BaseModel]) -> bool:
        """Do the steps; False as soon as one fails."""
        for step in steps:
            try:
                detail, passed = await self.do(step), True
            except StepFailed as failed:
                detail, passed = str(failed), False
            except Deaf:
                ended = self.line.ended_by or "network"
                detail, passed = f"the talk was ended by the {ended} before", False
            result = StepResult(name_of(step), passed, detail, self.line.ears.position)
            self.results.append(result)
            if not passed:
                return False
        return True

    async def do(self, step: BaseModel) -> str:
        """Do one step; returns what is worth telling. Raises ``StepFailed`` and ``Deaf``."""
        match step:
            case WaitSpeechStep(wait_speech=wait):
                return await self._hear(wait)
            case WaitSilenceStep(wait_silence=silence):
                return await self.hear_nothing(silence)
            case WaitEndStep(wait_end=end):
                return await self._wait_end(end)
            case PauseStep(pause_ms=ms):
                return await self._pause(ms)
            case InterruptStep(interrupt=interrupt):
                return await self.interrupt(interrupt)
            case HoldStep(hold_ms=ms):
                return await self.hold(ms)
            case HangUpStep():
                await self.line.hang_up()
                return ""
        action = action_of(step)
        assert action is not None, "every other step acts"
        return await self.act(action)

    async def _hear(self, wait: WaitSpeech) -> str:
        ears = self.line.ears
        since = ears.position
        heard = await ears.until(lambda: ears.first_sound(since), wait.within_ms)
        if heard is None:
            raise StepFailed(f"nothing was heard for {wait.within_ms} ms")
        return f"heard after {heard - since} ms"

    async def hear_nothing(self, wait: WaitSilence) -> str:
        ears = self.line.ears
        since = ears.position
        silent = await ears.until(lambda: ears.first_silence(since, wait.for_ms), wait.within_ms)
        if silent is None:
            raise StepFailed(f"not silent for {wait.for_ms} ms within {wait.within_ms} ms")
        return f"silent after {silent - since} ms"

    async def _wait_end(self, wait: WaitEnd) -> str:
        ears = self.line.ears
        since = ears.position
        try:
            await ears.until(lambda: None, wait.within_ms)
        except Deaf:
            if self.line.ended_by == "bot":
                return f"after {ears.position - since} ms"
            raise
        raise StepFailed(f"the bot did not end the talk within {wait.within_ms} ms")

    async def _pause(self, ms: int) -> str:
        await self.line.ears.until(lambda: None, ms)
        return ""

    async def hold(self, ms: int) -> str:
        if not await self.line.hold(True):
            return "this line has no hold"
        await asyncio.sleep(ms / 1000)  # nothing is heard meanwhile, so that its time stands still
        if self.line.ended_by is None and not await self.line.hold(False):
            raise StepFailed("the bot refused to be taken off hold")
        return ""

    async def interrupt(self, interrupt: Interrupt) -> str:
        ears = self.line.ears
        since = ears.position
        spoken = await ears.until(lambda: ears.first_sound(since), interrupt.begins_within_ms)
        if spoken is None:
            raise StepFailed(f"the bot did not speak within {interrupt.begins_within_ms} ms")
        ready = spoken + interrupt.after_ms
        await ears.until(lambda: True if ears.position >= ready else None, interrupt.after_ms + 500)
        if not await ears.until(lambda: ears.sounding or None, PAUSE_MS):
            raise StepFailed("the bot had fallen silent before it could be interrupted")
        return await self.act(interrupt)

    async def act(self, action: Action) -> str:
        ears = self.line.ears
        sound = None if action.press else await self._voice(action, self.line.rate)
        began = ears.position
        acting = asyncio.ensure_future(self._perform(action, sound))
        try:
            details = []
            if action.silent_within_ms is not None:
                details.append(await self._silenced(action, began))
            await acting
            if action.speech_within_ms is not None:
                details.append(await self._answered(action, began))
            return ", ".join(details)
        finally:
            if not acting.done():
                acting.cancel()
                await asyncio.wait({acting})

    async def _perform(self, action: Action, sound: Pcm | None) -> None:
        if sound is None:
            await self.line.press(action.press or "")
        else:
            await self.line.speak(sound)

    async def _silenced(self, action: Action, began: int) -> str:
        ears, limit = self.line.ears, action.silent_within_ms or 0
        wait = limit + action.quiet_ms
        silent = await ears.until(lambda: ears.first_silence(began, action.quiet_ms), wait)
        if silent is None or silent - began > limit:
            raise StepFailed(f"the bot spoke on for more than {limit} ms")
        return f"silent after {silent - began} ms"

    async def _answered(self, action: Action, began: int) -> str:
        ears, limit = self.line.ears, action.speech_within_ms or 0
        since = ears.position
        if action.silent_within_ms is not None:
            since = ears.first_silence(began, action.quiet_ms) or since
        left = since + limit - ears.position
        heard = await ears.until(lambda: ears.first_sound(since), max(left, 1))
        if heard is None or heard - since > limit:
            raise StepFailed(f"nothing was heard within {limit} ms")
        return f"heard after {heard - since} ms"


def tone(ms: int, rate: int) -> Pcm:
    """A tone that is as loud as speech."""
    time = np.arange(rate * ms // 1000) / rate
    samples: Pcm = np.rint(TONE_LEVEL * np.sin(2 * np.pi * TONE_HZ * time)).astype(np.int16)
    return samples
