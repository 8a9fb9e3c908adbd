"""Plays scripted callers against a bot and judges how it went."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import BaseModel

from sipbot.agent.providers.espeak import EspeakSynthesizer, EspeakVoice
from sipbot.call.leg import Pcm
from sipbot.call.wav import Wav
from sipbot.clock import Clock, SystemClock
from sipbot.errors import SipbotError
from sipbot.exotel.sim.caller import Caller, StepFailed, StepResult, Voice, tone
from sipbot.exotel.sim.facts import CallState
from sipbot.exotel.sim.judge import Check
from sipbot.exotel.sim.line import EndedBy, Line
from sipbot.exotel.sim.model import CallFacts, SipManner
from sipbot.exotel.sim.steps import Action, WaitSilence
from sipbot.exotel.sim.steps import HangUpStep as SimHangUp
from sipbot.ops.config import Config
from sipbot.ops.expand import expand
from sipbot.runtime.loop import run_on_fast_loop
from sipbot.runtime.sim.sip_line import SipTrunk
from sipbot.runtime.sim.voice import at_rate
from sipbot.runtime.trial.bot import LocalBot, Said, local_bot
from sipbot.runtime.trial.model import (
    BargeInStep,
    DtmfStep,
    Expected,
    ExpectStep,
    HangUpStep,
    HoldStep,
    SayStep,
    ScriptedCall,
    Spoken,
)
from sipbot.yamlmarks import load, validate

RATE: Final = 8_000  # Hz of what is kept for the pages
SILENCE_WAIT_MS: Final = 60_000  # a caller waits so long for the agent to be silent


@dataclass(frozen=True, slots=True)
class Moment:
    """Something on the time axis of a call: ``who`` is ``agent``, ``caller`` or ``test``."""

    at_ms: int
    who: str
    what: str
    passed: bool = True


@dataclass(slots=True)
class Trial:
    """One scripted call and what came of it. ``error`` tells why it could not be made."""

    name: str
    file: str
    seconds: float = 0.0
    error: str = ""
    ended_by: EndedBy | None = None
    duration_ms: int = 0
    steps: list[StepResult] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    agent_audio: list[Pcm] = field(default_factory=list)  # gapless, of ``RATE``
    caller_audio: list[tuple[int, Pcm]] = field(default_factory=list)  # ms when it began

    @property
    def failures(self) -> list[str]:
        """What failed, one text each."""
        found = [self.error] if self.error else []
        found += [f"{step.name}: {step.detail}" for step in self.steps if not step.passed]
        found += [
            f"{check.name}: expected {check.expected}, found {check.found}"
            for check in self.checks
            if not check.passed
        ]
        return found

    @property
    def passed(self) -> bool:
        return not self.failures


def load_calls(
    paths: Sequence[Path], environment: Mapping[str, str]
) -> list[tuple[Path, ScriptedCall]]:
    """Read files of scripted callers. Raises ConfigError for the first one with mistakes."""
    found = []
    for path in paths:
        document = expand(load(path), environment, path.parent)
        found.append((path, validate(ScriptedCall, document)))
    return found


def run_trials(
    calls: Sequence[tuple[Path, ScriptedCall]], config: Config, base: Path | None
) -> list[Trial]:
    """Play everything, one call after the other. Raises SipbotError when there is no bot."""
    return run_on_fast_loop(play_all(calls, config, base, SystemClock()))


async def play_all(
    calls: Sequence[tuple[Path, ScriptedCall]], config: Config, base: Path | None, clock: Clock
) -> list[Trial]:
    """As ``run_trials``, on the running loop. Each call gets a bot of its own."""
    trials = []
    for path, call in calls:
        trial = Trial(call.name or path.stem, str(path))
        began = clock.monotonic()
        async with local_bot(config, base, clock) as bot:
            try:
                async with asyncio.timeout(call.limit_s):
                    await _play(call, bot, trial, clock)
            except TimeoutError:
                trial.error = f"the call lasted more than {call.limit_s:.0f} s"
            except SipbotError as error:
                trial.error = str(error)
            trial.checks = [] if trial.error else _judge(call, bot.said, trial)
        trial.seconds = clock.monotonic() - began
        trials.append(trial)
    return trials


async def _play(call: ScriptedCall, bot: LocalBot, trial: Trial, clock: Clock) -> None:
    facts = CallFacts.model_validate({"from": call.from_, "to": call.to})
    state = CallState(facts, secrets.token_hex(16), clock.wall())
    uri = f"sip:{call.to}@127.0.0.1:{bot.port};transport=udp"
    voice = _Voice(call.voice)
    for step in call.steps:  # made before, so that nobody waits for it in the call
        for text in _texts(step):
            await voice.speech(text)
    manner = SipManner(headers=dict(call.headers), record_route=False, bye_on_new_connection=False)
    trunk = SipTrunk(uri, manner, clock, lambda fault: None)
    async with trunk.call(state, ()) as talk:
        if talk.line is None:
            trial.error = f"not answered: {talk.outcome.status or ''} {talk.outcome.reason}"
            return
        talk.line.ears.kept = trial.agent_audio
        line = _Recorded(talk.line, trial)
        caller = _ScriptedCaller(line, voice.audio, bot.said, trial)
        trial.steps = caller.results
        try:
            await caller.follow(call.steps)
            await line.hang_up()
        finally:
            trial.ended_by, trial.duration_ms = line.ended_by, line.ears.position
            for result in caller.results:
                what = f"{result.name} {result.detail}".strip()
                trial.moments.append(Moment(result.at_ms, "test", what, result.passed))


class _ScriptedCaller(Caller):
    """A caller that reads along what the agent says."""

    def __init__(self, line: Line, voice: Voice, said: Said, trial: Trial) -> None:
        super().__init__(line, voice)
        self._said, self._trial = said, trial
        self._matched = 0  # texts that lie before what is expected next
        said.hear = self._hears
        for text in said.texts:
            self._hears(text)

    async def do(self, step: BaseModel) -> str:
        match step:
            case ExpectStep(expect=expected):
                return await self._expect(expected)
            case SayStep(say=spoken):
                return await self._say(spoken)
            case BargeInStep(barge_in=interrupt):
                return await self.interrupt(interrupt)
            case DtmfStep(dtmf=keys):
                return await self.act(Action(press=keys))
            case HoldStep(hold_ms=ms):
                return await self.hold(ms)
            case HangUpStep():
                return await super().do(SimHangUp())
        return await super().do(step)

    def _hears(self, text: str) -> None:
        self._trial.moments.append(Moment(self.line.ears.position, "agent", text))

    async def _expect(self, expected: Expected) -> str:
        ears = self.line.ears
        since = ears.position
        found = await ears.until(lambda: self._find(expected), expected.within_ms)
        if found is None:
            raise StepFailed(
                f"not said within {expected.within_ms} ms; the agent said"
                f" {self._said.texts[self._matched :]}"
            )
        self._matched = found + 1
        return f"said after {ears.position - since} ms"

    def _find(self, expected: Expected) -> int | None:
        texts = self._said.texts
        for index in range(self._matched, len(texts)):
            if expected.fits(texts[index]):
                return index
        return None

    async def _say(self, spoken: Spoken) -> str:
        waited = ""
        if spoken.after_silence_ms:
            silence = WaitSilence(for_ms=spoken.after_silence_ms, within_ms=SILENCE_WAIT_MS)
            waited = await self.hear_nothing(silence)
        self._trial.moments.append(Moment(self.line.ears.position, "caller", spoken.text))
        await self.act(Action(say=spoken.text))
        return waited


class _Recorded:
    """Implements ``Line``; keeps what the caller lets be heard."""

    def __init__(self, line: Line, trial: Trial) -> None:
        self._line, self._trial = line, trial
        self.rate, self.ears = line.rate, line.ears

    @property
    def ended_by(self) -> EndedBy | None:
        return self._line.ended_by

    async def speak(self, pcm: Pcm) -> None:
        self._trial.caller_audio.append((self.ears.position, pcm))
        await self._line.speak(pcm)

    async def press(self, keys: str) -> None:
        self._trial.moments.append(Moment(self.ears.position, "caller", f"keys: {len(keys)}"))
        await self._line.press(keys)

    async def hold(self, on: bool) -> bool:
        return await self._line.hold(on)

    async def hang_up(self) -> None:
        await self._line.hang_up()


class _Voice:
    """The caller's voice."""

    def __init__(self, name: str) -> None:
        self._synthesizer = EspeakSynthesizer(EspeakVoice(name))
        self._made: dict[str, Wav] = {}

    async def speech(self, text: str) -> Wav:
        """A text. Raises SpeechError."""
        if text not in self._made:
            chunks = [chunk async for chunk in self._synthesizer.synthesize(text)]
            silent: Pcm = np.zeros(0, np.int16)
            pcm = np.concatenate([silent, *(chunk.pcm for chunk in chunks)])
            self._made[text] = Wav(pcm, chunks[0].rate if chunks else RATE)
        return self._made[text]

    async def audio(self, action: Action, rate: int) -> Pcm:
        """What an action lets be heard, at ``rate`` Hz."""
        if action.tone_ms is not None:
            return tone(action.tone_ms, rate)
        return at_rate(await self.speech(action.say or ""), rate)


def _texts(step: BaseModel) -> list[str]:
    match step:
        case SayStep(say=spoken):
            return [spoken.text]
        case BargeInStep(barge_in=interrupt) if interrupt.say is not None:
            return [interrupt.say]
    return []


def _judge(call: ScriptedCall, said: Said, trial: Trial) -> list[Check]:
    wanted, checks = call.expect, []
    if wanted.ended_by is not None:
        found = trial.ended_by or "nobody"
        checks.append(Check("ended_by", found == wanted.ended_by, wanted.ended_by, found))
    if wanted.transferred_to is not None:
        passed = wanted.transferred_to in said.transfers
        shown = ", ".join(said.transfers) or "nobody"
        checks.append(Check("transferred_to", passed, wanted.transferred_to, shown))
    if wanted.max_duration_ms is not None:
        passed = trial.duration_ms <= wanted.max_duration_ms
        limit = f"at most {wanted.max_duration_ms} ms"
        checks.append(Check("max_duration_ms", passed, limit, f"{trial.duration_ms} ms"))
    return checks
