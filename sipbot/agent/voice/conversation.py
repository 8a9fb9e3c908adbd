"""One conversation: hears events, keeps the turn, makes answers, and never leaves silence.

``sipbot.agent.voice.turns`` says who has the turn; here is what is done about it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeAlias

from sipbot.agent.listening.endpointing import (
    Endpointer,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
    TurnEnded,
)
from sipbot.agent.listening.holds import words_of
from sipbot.agent.ports import Transcript
from sipbot.agent.voice.answer import Answer, AnswerParts
from sipbot.agent.voice.ear import HearingEvent, RecogniserLine, RecogniserLost
from sipbot.agent.voice.history import History
from sipbot.agent.voice.inbox import Alarms, Inbox
from sipbot.agent.voice.settings import FADE_MS, BargeIn
from sipbot.agent.voice.turns import Action, Input, Turn, only_listening, step, takes_turn
from sipbot.agent.voice.waterfall import TurnTimes, Waterfall
from sipbot.call.call import Call
from sipbot.call.events import CallEvent, Dtmf, Ended, Held, Resumed, TransferRefused

LOOK_S: Final = 0.2  # seconds between two looks whether the bot is silent
LAST_WORDS_S: Final = 30.0  # seconds; the caller may have put us on hold
MAX_COUGH_MS: Final = 800  # milliseconds of sound that may be a cough
MARGIN_S: Final = 0.4  # seconds before the limit of silence, for the apology to be made

Event: TypeAlias = HearingEvent | CallEvent | Answer


class Conversation:
    """Leads one call. Implements ``ToolTurn``."""

    def __init__(
        self,
        parts: AnswerParts,
        recogniser: RecogniserLine,
        endpointer: Endpointer,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self.call: Call = parts.call
        self.inbox: Inbox[Event] = Inbox()
        self.waterfall = Waterfall()
        self._parts, self._settings = parts, parts.settings
        self._recogniser, self._endpointer, self._tasks = recogniser, endpointer, tasks
        self._history = History(parts.settings.prompt, parts.settings.max_history)
        self._alarms, self._turn = Alarms(), Turn.LISTENING
        self._now: Callable[[], float] = asyncio.get_running_loop().time
        self._answer: Answer | None = None
        self._task: asyncio.Task[None] | None = None  # of the answer
        self._over = False
        self._failures = self._follow_ups = self._turns = 0
        # What the caller says
        self._finals: list[str] = []
        self._partial = ""
        self._final_due = self._ignore_final = False
        self._times: TurnTimes | None = None  # of their pause
        self._speech_at = 0.0  # when they began
        self._turn_over: float | None = None  # the hold is over, and a final is still due
        self._keys = ""
        # Silence
        self._played, self._audible_at = 0, 0.0

    async def run(self) -> None:
        """Until the conversation is over; the call may still live then."""
        settings = self._settings
        self._alarms.set("max-call", self._now() + settings.max_call_s)
        if settings.phrases.greeting:
            await self._say(settings.phrases.greeting)
        else:
            self._await_caller()
        while not self._over:
            event = await self.inbox.get(self._alarms.next())
            if event is not None:
                await self._heard(event)
            for name in self._alarms.due(self._now()):
                await self._alarm(name)
        await self._drop_answer()

    # --- for tools ------------------------------------------------------------------------------

    async def spoken(self) -> None:
        if self._answer is not None:
            await self._answer.heard_so_far()

    def close(self) -> None:
        self._take(Input.CLOSE)
        self._alarms.unset("look")

    def reopen(self) -> None:
        self._turn = Turn.SPEAKING
        self._watch_silence()

    @property
    def over(self) -> bool:
        return self._over

    def end(self) -> None:
        self._over = True

    # --- what happens ---------------------------------------------------------------------------

    async def _heard(self, event: Event) -> None:
        self._look_audible()
        match event:
            case SpeechStarted(at=at):
                self._speech_at = at
                await self._speech(at)
            case SpeechResumed(at=at):
                self._alarms.unset("hold", "final", "cough")
                self._turn_over = None
                await self._speech(at)
            case SpeechPaused():
                self._pause(event)
            case Transcript():
                await self._understood(event)
            case Dtmf(digit=digit):
                await self._key(digit)
            case Answer():
                if event is self._answer:
                    await self._answered(event)
            case RecogniserLost():
                await self._give_up("recogniser-lost")
            case Ended():
                self._over = True
            case Held():
                self._alarms.unset("follow-up", "look")
            case Resumed():
                self._await_caller()
                self._watch_silence()

    async def _alarm(self, name: str) -> None:
        match name:
            case "hold":
                await self._hold_over()
            case "final" | "cough":
                await self._conclude(given_up=True)
            case "barge-in":
                await self._take_speech()
            case "endless":
                self._recogniser.finish_utterance()
                self._final_due, self._turn_over = True, self._now()
                self._times = self._times or TurnTimes(self._now())
                self._endpointer.reset()
                self._alarms.set("final", self._now() + self._settings.stt_timeout_s)
            case "keys":
                await self._keys_done()
            case "look":
                await self._look()
            case "follow-up":
                await self._follow_up()
            case "max-call":
                await self._goodbye("max-call")

    # --- the caller speaks ----------------------------------------------------------------------

    async def _speech(self, at: float) -> None:
        settings = self._settings
        self._alarms.unset("follow-up")
        self._alarms.set("endless", self._now() + settings.max_speech_s)
        if self._turn is Turn.SPEAKING:
            match settings.barge_in:
                case BargeIn.AT_ONCE:
                    await self._take_speech()
                case BargeIn.AFTER_MS:
                    self._alarms.set("barge-in", at + settings.barge_in_ms / 1000)
        else:
            await self._take_speech()

    async def _take_speech(self) -> None:
        if self._take(Input.SPEECH) is Action.HUSH:
            await self._hush()

    async def _hush(self) -> None:
        if self._answer is not None:
            self._alarms.unset("look", "barge-in")
            audible = self._answer.utterance.audible_at is not None
            await self._answer.utterance.hush()
            if audible:
                self.waterfall.stopped((self._now() - self._speech_at) * 1000 + FADE_MS)

    def _pause(self, event: SpeechPaused) -> None:
        now = self._now()
        self._alarms.unset("barge-in", "endless")
        self._recogniser.finish_utterance()
        self._final_due = True
        self._times = TurnTimes(event.at, vad_end=now)
        short = event.speech_ms <= MAX_COUGH_MS
        if self._turn is Turn.INTERRUPTED and short and self._is_nothing(self._text):
            self._alarms.set("cough", event.at + self._settings.cough_ms / 1000)
        self._set_hold()

    def _set_hold(self) -> None:
        deadline = self._endpointer.next_deadline()
        if deadline is not None:
            self._alarms.set("hold", deadline)

    async def _understood(self, transcript: Transcript) -> None:
        if transcript.final:
            if self._ignore_final:
                self._ignore_final = False
                return
            self._final_due, self._partial = False, ""
            if transcript.text:
                self._finals.append(transcript.text)
            if self._times is not None:
                self._times.stt_final = self._now()
        else:
            self._partial = transcript.text
        text = self._text
        if not self._is_nothing(text):
            self._alarms.unset("cough")
        self._endpointer.text(text)
        if self._turn_over is None:
            self._set_hold()
        await self._weigh(text, transcript.final)

    async def _weigh(self, text: str, final: bool) -> None:
        """Does what is understood so far change who has the turn?"""
        settings, speaking = self._settings, self._endpointer.speaking
        by_words = settings.barge_in is BargeIn.AFTER_WORDS
        if self._turn is Turn.SPEAKING and by_words and self._enough(text):
            await self._take_speech()
        if not final or speaking:
            return
        if self._turn is Turn.INTERRUPTED and self._is_nothing(text):
            await self._conclude()
        elif self._turn_over is not None or (text and self._endpointer.next_deadline() is None):
            await self._conclude()  # it came after the hold, or of what no voice activity was

    async def _hold_over(self) -> None:
        ended = self._endpointer.handle_timer(self._now())
        if not isinstance(ended, TurnEnded):
            self._set_hold()
            return
        if self._times is not None:
            self._times.taken = self._now()
        if self._final_due:
            self._turn_over = self._now()
            self._alarms.set("final", ended.at + self._settings.stt_timeout_s)
        else:
            await self._conclude()

    async def _conclude(self, *, given_up: bool = False) -> None:
        """The caller is done: what does it come to? ``given_up``: no final transcript came."""
        if given_up and self._endpointer.speaking:
            return
        text, times = self._text, self._times
        missing = given_up and self._final_due
        self._ignore_final = missing and bool(text)
        self._finals, self._partial, self._times, self._turn_over = [], "", None, None
        self._alarms.unset("hold", "final", "cough", "barge-in", "endless")
        self._endpointer.reset()
        if self._turn is Turn.INTERRUPTED and self._is_nothing(text):
            await self._resume()
        elif self._turn is Turn.SPEAKING:
            if self._enough(text):
                await self._reply(text, times)
        elif words_of(text):
            await self._reply(text, times)
        elif missing and self._turn is Turn.CALLER:
            await self._failed("no-transcript", heard=False)
        else:
            self._take(Input.NOTHING)
            self._await_caller()

    def _enough(self, text: str) -> bool:
        settings = self._settings
        return takes_turn(settings.barge_in, text, settings.barge_in_words, settings.back_channels)

    def _is_nothing(self, text: str) -> bool:
        """Whether the answer goes on: a cough, or a sign of listening that is no answer to it."""
        if not only_listening(text, self._settings.back_channels):
            return False
        if self._answer is None or not words_of(text):
            return True
        utterance = self._answer.utterance
        nearly_done = utterance.finished and utterance.unheard_ms < self._settings.answer_tail_ms
        return not (nearly_done and utterance.audible_at is not None)

    @property
    def _text(self) -> str:
        return " ".join([*self._finals, self._partial]).strip()

    # --- keys -----------------------------------------------------------------------------------

    async def _key(self, digit: str) -> None:
        if self._turn is Turn.CLOSING:
            return
        self._alarms.unset("follow-up")
        self._speech_at = self._now()
        await self._take_speech()
        self._keys += digit
        if digit == "#":
            await self._keys_done()
        else:
            self._alarms.set("keys", self._now() + self._settings.key_gap_s)

    async def _keys_done(self) -> None:
        keys, self._keys = self._keys.rstrip("#") or self._keys, ""
        self._alarms.unset("keys")
        now = self._now()
        await self._reply(f"(pressed on the keypad: {' '.join(keys)})", TurnTimes(now, taken=now))

    # --- the bot speaks -------------------------------------------------------------------------

    async def _reply(self, text: str, times: TurnTimes | None) -> None:
        if self._turn is Turn.CLOSING:
            return
        self._turns += 1
        self._follow_ups = 0
        if self._turns > self._settings.max_turns:
            await self._goodbye("max-turns")
            return
        self._take(Input.TURN)
        await self._drop_answer()
        self._history.caller_said(text)
        self._start(Answer(self._parts, times), None if times is None else times.caller_end)

    async def _say(self, text: str, *, plainly: bool = False) -> None:
        """Say something that is not the model's."""
        self._take(Input.ANSWER)
        await self._drop_answer()
        self._start(Answer(self._parts, text=text, plainly=plainly))

    def _start(self, answer: Answer, owed_since: float | None = None) -> None:
        self._alarms.unset("follow-up")
        self._answer = answer
        self._task = self._tasks.create_task(self._lead(answer), name="answer")
        self._audible_at = self._now() if owed_since is None else owed_since
        self._played = self.call.line.played
        self._watch_silence()

    async def _lead(self, answer: Answer) -> None:
        await answer.run(self._history.messages, self)
        self.inbox.put(answer)

    async def _drop_answer(self) -> None:
        """End the answer under way; the history keeps what was heard of it."""
        answer, task = self._answer, self._task
        self._answer = self._task = None
        if answer is None or task is None:
            return
        if not task.done() and self.call.end_reason is None:
            await answer.utterance.hush()
        task.cancel()
        await asyncio.wait({task})
        self._book(answer)

    def _book(self, answer: Answer) -> None:
        answer.utterance.tell()
        self._history.bot_said(answer.said())
        if answer.times is not None:
            answer.times.played = answer.utterance.audible_at
            self.waterfall.add(answer.times)
            ms = answer.times.after_ms()
            self.call.log.info(
                "turn",
                vad_end_ms=ms.get("vad_end_ms"),
                stt_final_ms=ms.get("stt_final_ms"),
                taken_ms=ms.get("taken_ms"),
                llm_first_ms=ms.get("llm_first_ms"),
                tts_first_ms=ms.get("tts_first_ms"),
                played_ms=ms.get("played_ms"),
            )

    async def _answered(self, answer: Answer) -> None:
        self._answer = self._task = None
        self._book(answer)
        if self._turn is Turn.CLOSING:
            return
        if answer.failure:
            await self._failed(answer.failure, heard=answer.utterance.audible_at is not None)
            return
        if not answer.fixed:
            self._failures = 0
        self._take(Input.DONE)
        if self._endpointer.speaking or self._endpointer.next_deadline() is not None:
            self._take(Input.SPEECH)
        else:
            self._await_caller()

    async def _resume(self) -> None:
        self.waterfall.resumed += 1
        if self._take(Input.NOTHING) is not Action.RESUME or self._answer is None:
            return
        if self._answer.utterance.audible_at is None:
            self._turn = Turn.ANSWERING
        self._answer.utterance.resume()
        self._audible_at, self._played = self._now(), self.call.line.played
        self._watch_silence()

    def _await_caller(self) -> None:
        if self._turn is Turn.LISTENING and not self._over:
            self._alarms.set("follow-up", self._now() + self._settings.follow_up_s)

    async def _follow_up(self) -> None:
        if self._turn is not Turn.LISTENING:
            return
        self._follow_ups += 1
        if self._follow_ups > self._settings.max_follow_ups:
            await self._goodbye("caller-silent")
        elif self._settings.phrases.follow_up:
            await self._say(self._settings.phrases.follow_up)
        else:
            self._await_caller()

    # --- silence and failures -------------------------------------------------------------------

    def _watch_silence(self) -> None:
        self._alarms.set("look", self._now() + LOOK_S)

    async def _look(self) -> None:
        """Is the answer heard? Called every ``LOOK_S`` while one is under way."""
        if self._answer is None or self._turn not in (Turn.ANSWERING, Turn.SPEAKING):
            return
        now, played = self._now(), self.call.line.played
        if played != self._played:
            self._played, self._audible_at = played, now
        self._look_audible()
        if now - self._audible_at >= self._settings.max_silence_s - MARGIN_S:
            await self._failed("silence", heard=False)
        else:
            self._watch_silence()

    def _look_audible(self) -> None:
        answer = self._answer
        audible = answer is not None and answer.utterance.audible_at is not None
        if audible and self._turn is Turn.ANSWERING:
            self._take(Input.AUDIBLE)

    async def _failed(self, reason: str, *, heard: bool) -> None:
        """An answer did not come, or not whole."""
        self._failures += 1
        self.waterfall.failures += 1
        self.call.log.warning("answer failed", reason=reason, failures=self._failures)
        if self._failures > self._settings.max_failures:
            await self._give_up(reason)
        elif self._settings.phrases.apology and not heard:
            await self._say(self._settings.phrases.apology, plainly=True)
        else:
            self._take(Input.DONE)
            self._await_caller()

    async def _give_up(self, reason: str) -> None:
        """Apologise, then transfer or hang up."""
        self.call.log.error("voice agent gives up", reason=reason)
        self.call.add_stats({"gave_up": reason})
        await self._last_words(self._settings.phrases.give_up)
        if self._settings.give_up_transfer:
            try:
                await self.call.transfer(self._settings.give_up_transfer)
            except TransferRefused:
                self.call.log.warning("transfer refused")
        self._over = True

    async def _goodbye(self, why: str) -> None:
        self.call.log.info("voice agent says goodbye", why=why)
        await self._last_words(self._settings.phrases.goodbye)
        self._over = True

    async def _last_words(self, text: str) -> None:
        self._take(Input.CLOSE)
        await self._drop_answer()
        if text:
            answer = Answer(self._parts, text=text, plainly=True)
            try:
                async with asyncio.timeout(LAST_WORDS_S):
                    await answer.run((), self)
            except TimeoutError:
                self.call.log.warning("last words not heard", limit_s=LAST_WORDS_S)
            self._book(answer)

    def _take(self, what: Input) -> Action:
        self._turn, action = step(self._turn, what)
        return action
