"""One conversation, as an agent sees it. Nothing here knows of SIP, RTP or WebSockets."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final, Protocol, TypeAlias

from sipbot.call.events import (
    CallEnded,
    Dtmf,
    Ended,
    EventStream,
    Held,
    Resumed,
    TransferRefused,
)
from sipbot.call.leg import (
    Direction,
    EndReason,
    Leg,
    LegAudio,
    LegDtmf,
    LegEnded,
    LegEvent,
    LegHeld,
    LegResumed,
    LoopsBack,
    Pcm,
)
from sipbot.call.listening import AudioStream
from sipbot.call.playout import Playout
from sipbot.call.record import CallRecord, Stat
from sipbot.call.scope import Scope
from sipbot.call.speech import NoSynthesizer, Said, SpeechChunk, Synthesizer
from sipbot.call.transfers import LegTransfers, Transfers
from sipbot.clock import Clock, SystemClock
from sipbot.errors import LocalProtocolError

DTMF_DIGITS: Final = frozenset("0123456789*#ABCD")
MAX_GOODBYE_S: Final = 60.0  # seconds that hanging up waits for the last words
TAIL_S: Final = 0.1  # seconds from the last packet until the other side has surely played it
MAX_PREPARED: Final = 16  # texts made in advance that wait to be spoken
MAX_PREPARED_SAMPLES: Final = 4_000_000  # samples of one text made in advance

SpeechListener: TypeAlias = Callable[[str, Said | None], None]


class CallLog(Protocol):
    """A structured logger, already bound to the call's id. ``structlog`` loggers fit.

    ``event`` is a constant; words spoken, keys pressed and full numbers never go into fields.
    """

    def debug(self, event: str, **fields: object) -> object: ...
    def info(self, event: str, **fields: object) -> object: ...
    def warning(self, event: str, **fields: object) -> object: ...
    def error(self, event: str, **fields: object) -> object: ...


class NullLog:
    """Discards everything."""

    def debug(self, event: str, **fields: object) -> None: ...
    def info(self, event: str, **fields: object) -> None: ...
    def warning(self, event: str, **fields: object) -> None: ...
    def error(self, event: str, **fields: object) -> None: ...


class Call:
    """A call: who, audio both ways, events, actions.

    Once the call has ended, every method that would do something raises ``CallEnded`` at once,
    those that wait included, and the iterators stop. ``on_speech`` hears every text when its
    speech is asked for (with None) and what became of it.
    """

    def __init__(
        self,
        leg: Leg,
        *,
        call_id: str,
        agent_name: str = "",
        synthesizer: Synthesizer | None = None,
        clock: Clock | None = None,
        log: CallLog | None = None,
        rule: str = "",
        on_speech: SpeechListener | None = None,
        transfers: Transfers | None = None,
    ) -> None:
        self.id = call_id
        self.agent_name = agent_name
        self.log: CallLog = log or NullLog()
        self._leg, self._rule = leg, rule
        self._clock = clock or SystemClock()
        self._synthesizer = synthesizer or NoSynthesizer()
        self._on_speech = on_speech
        self._transfers = transfers or LegTransfers()
        self.started_at = self._clock.wall()  # seconds since 1970 UTC
        self._rung_at: float | None = None
        self._answered_at: float | None = None
        self._ended_at: float | None = None
        self._end: LegEnded | None = None
        self._gone = asyncio.Event()
        self._keys = 0
        self._events = EventStream()
        self._playout = Playout(leg.audio, self._events.put)
        self._listening: AudioStream | None = None
        self._added: Mapping[str, str] = {}  # the leg's parameters and what was added
        self._prepared: OrderedDict[tuple[str, str | None], list[SpeechChunk]] = OrderedDict()
        self._scopes: set[Scope] = set()
        self._stats: dict[str, Stat] = {}
        leg.attach(self._on_leg_event)

    # Who is it?

    @property
    def direction(self) -> Direction:
        return self._leg.info.direction

    @property
    def caller(self) -> str:
        """Who calls, as received: usually a number."""
        return self._leg.info.caller

    @property
    def callee(self) -> str:
        """Who was called."""
        return self._leg.info.callee

    @property
    def trunk(self) -> str:
        """Name of the configured trunk the call came by, or empty."""
        return self._leg.info.trunk

    @property
    def headers(self) -> Mapping[str, str]:
        """Signalling headers, lower-case names."""
        return self._leg.info.headers

    @property
    def parameters(self) -> Mapping[str, str]:
        """Custom parameters that came with the call."""
        return self._added or self._leg.info.parameters

    @property
    def transport(self) -> str:
        """For example ``sip/tls`` or ``voicebot``."""
        return self._leg.info.transport

    # How far is it?

    @property
    def answered(self) -> bool:
        """Whether the call was taken (it may be over by now)."""
        return self._answered_at is not None

    @property
    def end_reason(self) -> EndReason | None:
        """Why the call ended; None while it lives."""
        return None if self._end is None else self._end.reason

    @property
    def played_ms(self) -> int:
        """How much of our audio really left towards the caller."""
        return self._leg.audio.played * 1000 // self._leg.audio.rate

    @property
    def waiting_ms(self) -> int:
        """How much audio is queued and not yet played."""
        return self._playout.waiting_ms

    @property
    def line(self) -> LegAudio:
        """The line's audio, for agents that count samples. Queue audio with ``play`` only."""
        return self._leg.audio

    @property
    def keys_waiting(self) -> int:
        """How many key presses wait in ``events``: what the caller typed ahead."""
        return self._events.keys_waiting

    async def wait_ended(self) -> EndReason:
        """Wait for the end of the call."""
        await self._gone.wait()
        assert self._end is not None, "set before the event"
        return self._end.reason

    # Before the conversation

    async def ring(self) -> None:
        """Tell the caller that it rings."""
        self._check_live()
        if self._rung_at is None:
            self._rung_at = self._clock.wall()
            await self._leg.ring()

    async def answer(self) -> None:
        """Take the call. No effect when done before. Raises ``SipbotError`` if it cannot."""
        self._check_live()
        if self._answered_at is not None:
            return
        await self._leg.answer()
        self._check_live()
        self._answered_at = self._clock.wall()

    async def reject(self, status: int = 603, reason: str = "") -> None:
        """Refuse the call instead of answering it; ``status`` is a SIP final status."""
        self._check_live()
        if self._answered_at is not None:
            raise LocalProtocolError("an answered call cannot be rejected")
        await self._leg.reject(status, reason)

    async def prepare(self, text: str, *, voice: str | None = None) -> None:
        """Make the speech for a text now, so that the next ``say`` of it starts at once."""
        chunks: list[SpeechChunk] = []
        room = MAX_PREPARED_SAMPLES
        speech = self._synthesizer.synthesize(text, voice)
        async with aclosing(speech), self._while_live():
            async for chunk in speech:
                chunks.append(chunk)
                room -= len(chunk.pcm)
                if room < 0:
                    return
        self._prepared[text, voice] = chunks
        while len(self._prepared) > MAX_PREPARED:
            self._prepared.popitem(last=False)

    # Speaking

    async def say(self, text: str, *, voice: str | None = None, interruptible: bool = True) -> Said:
        """Speak; returns when the caller heard it, pressed a key, or ``clear`` was called.

        A key that the caller presses discards the rest at once unless ``interruptible`` is
        False; the key arrives in ``events`` too. Texts asked for at the same time by several
        tasks are spoken in order. Raises ``SpeechError`` when it cannot be spoken.
        """
        self._check_answered()
        if self._on_speech is not None:
            self._on_speech(text, None)
        said = await self._playout.speak(self._speech(text, voice), interruptible)
        if self._on_speech is not None:
            self._on_speech(text, said)
        return said

    async def present(self, pcm: Pcm, rate: int, *, interruptible: bool = True) -> Said:
        """Play a finished piece of audio the way ``say`` speaks: to its end, or until a key."""
        self._check_answered()
        return await self._playout.speak(_piece(pcm, rate), interruptible)

    def synthesize(self, text: str, voice: str | None = None) -> AsyncGenerator[SpeechChunk, None]:
        """The speech of a text, for agents that queue it by themselves. Raises ``SpeechError``."""
        return self._speech(text, voice)

    def note_speech(self, text: str, said: Said | None = None) -> None:
        """Tell who listens of a text that is spoken with ``play``: its begin, then its end."""
        if self._on_speech is not None:
            self._on_speech(text, said)

    def play(self, pcm: Pcm | bytes, rate: int) -> Coroutine[Any, Any, None]:
        """Queue mono 16-bit audio of ``rate`` Hz; returns once the line took it.

        The line holds about two seconds, so that a task that plays a file is held back to its
        pace. ``drain`` waits until it was heard.
        """
        if self._answered_at is None or self._end is not None:
            self._check_answered()
        return self._playout.play(pcm, rate)  # to be awaited; one coroutine less for each frame

    async def clear(self) -> int:
        """Stop speaking: discard all audio. Returns milliseconds the line had but did not play."""
        self._check_answered()
        unheard = await self._playout.clear()
        return unheard * 1000 // self._leg.audio.rate

    async def mark(self, name: str) -> None:
        """Have ``MarkReached(name)`` in ``events`` once all audio so far is played or cleared."""
        self._check_answered()
        await self._playout.mark(name)

    async def drain(self) -> None:
        """Wait until all audio so far was played or cleared."""
        self._check_answered()
        await self._playout.drain()

    async def let_hear(self) -> None:
        """``drain``, and give the last words time to leave the jitter buffer at the other end.

        A phone that gets a BYE throws away what it holds, usually 40 to 80 ms.
        """
        await self.drain()
        if self._leg.audio.played:
            async with self._while_live():
                await asyncio.sleep(TAIL_S)

    # Listening

    def audio(self, rate: int = 16_000) -> AudioStream:
        """The caller's audio from now on, as 20 ms arrays of ``int16`` at ``rate`` Hz.

        There is one listener: calling this again ends the stream that was given out before.
        """
        if self._listening is not None:
            self._listening.supersede()
        self._leg.audio.read()  # what came before is not from now on
        self._listening = AudioStream(self._leg.audio, rate)
        return self._listening

    def events(self) -> EventStream:
        """Keys, marks, hold and the end, in order. The same stream every time."""
        return self._events

    # Acting

    async def send_dtmf(self, digits: str, duration_ms: int = 100, gap_ms: int = 60) -> None:
        """Press keys towards the caller; returns when they were sent."""
        self._check_answered()
        if not DTMF_DIGITS.issuperset(digits):
            raise ValueError("keys are 0-9, *, #, A-D")
        async with self._while_live():
            await self._leg.send_dtmf(digits, duration_ms, gap_ms)

    async def transfer(self, target: str) -> None:
        """Send the caller on to ``target``, after all audio so far was heard.

        ``target`` is the name of a configured destination, a number or a SIP URI. Returns when the
        other side took the caller; the conversation is over then. Raises ``TransferRefused`` when
        it did not: the call goes on as before.
        """
        await self.let_hear()
        try:
            async with self._while_live():
                result = await self._transfers.transfer(self._leg, target, self.id)
        except CallEnded as ended:
            if ended.reason is EndReason.TRANSFERRED:
                return
            raise
        if not result.accepted:
            raise TransferRefused(result.detail)
        await self._leg.hangup(EndReason.TRANSFERRED)

    def add_stats(self, stats: Mapping[str, Stat]) -> None:
        """Keep numbers with the call's record; nothing that was spoken or dialled."""
        self._stats.update(stats)

    def loop_back(self) -> None:
        """Have the line itself give the caller's audio back from now on, for measurements.

        Raises ``LocalProtocolError`` when this kind of line cannot.
        """
        self._check_answered()
        if not isinstance(self._leg, LoopsBack):
            raise LocalProtocolError("this kind of line cannot loop back")
        self._leg.loopback(True)

    async def hangup(self, *, now: bool = False) -> None:
        """End the call once all audio so far was heard, or right ``now``.

        Waits ``MAX_GOODBYE_S`` at most: the caller may have put us on hold.
        """
        if self._end is not None:
            return
        if self._answered_at is not None and not now:
            try:
                async with asyncio.timeout(MAX_GOODBYE_S):
                    await self._playout.drain()
            except TimeoutError:
                self.log.warning("goodbye not heard", limit_s=MAX_GOODBYE_S)
            except CallEnded:
                return
        await self._leg.hangup(EndReason.BOT_HUNG_UP)

    # For those who run calls, not for agents

    async def end(self, reason: EndReason) -> None:
        """End the call at once for ``reason``."""
        await self._leg.hangup(reason)

    def add_parameters(self, parameters: Mapping[str, str]) -> None:
        """Give the agent parameters that are known from elsewhere; they count before the leg's."""
        self._added = {**self.parameters, **parameters}

    def record(
        self, *, detail: str = "", failure: str = "", stats: Mapping[str, Stat] | None = None
    ) -> CallRecord:
        """What is kept of this call. Complete once it has ended."""
        info, end = self._leg.info, self._end or LegEnded(EndReason.NETWORK, "not-ended")
        return CallRecord(
            call_id=self.id,
            protocol_id=info.protocol_id,
            trunk_call_id=info.trunk_call_id,
            direction=info.direction,
            transport=info.transport,
            trunk=info.trunk,
            peer=info.peer,
            caller=info.caller,
            callee=info.callee,
            agent=self.agent_name,
            rule=self._rule,
            codec=info.codec,
            invited_at=self.started_at,
            rung_at=self._rung_at,
            answered_at=self._answered_at,
            ended_at=self._clock.wall() if self._ended_at is None else self._ended_at,
            reason=end.reason,
            detail=detail or end.detail,
            failure=failure,
            keys=self._keys,
            dropped_events=self._events.dropped,
            stats={**self._stats, **(stats or {})},
        )

    def _on_leg_event(self, event: LegEvent) -> None:
        match event:
            case LegDtmf(digit=digit):
                self._keys += 1
                self._events.put(Dtmf(digit))
                self._playout.key_pressed()
            case LegHeld():
                self._events.put(Held())
            case LegResumed():
                self._events.put(Resumed())
            case LegEnded():
                self._finish(event)

    def _finish(self, event: LegEnded) -> None:
        if self._end is not None:
            return
        self._end, self._ended_at = event, self._clock.wall()
        self._playout.end(event.reason)
        self._events.put(Ended(event.reason))
        for scope in self._scopes:
            scope.interrupt()
        self._gone.set()

    def _check_live(self) -> None:
        if self._end is not None:
            raise CallEnded(self._end.reason)

    def _check_answered(self) -> None:
        self._check_live()
        if self._answered_at is None:
            raise LocalProtocolError("answer the call first")

    @asynccontextmanager
    async def _while_live(self) -> AsyncIterator[None]:
        """Runs its body unless the call ends, which raises ``CallEnded``."""
        self._check_live()
        async with Scope() as scope:
            self._scopes.add(scope)
            try:
                yield
            finally:
                self._scopes.discard(scope)
        if scope.interrupted:
            self._check_live()

    async def _speech(self, text: str, voice: str | None) -> AsyncGenerator[SpeechChunk, None]:
        prepared = self._prepared.pop((text, voice), None)
        if prepared is not None:
            for chunk in prepared:
                yield chunk
            return
        async with aclosing(self._synthesizer.synthesize(text, voice)) as chunks:
            async for chunk in chunks:
                yield chunk


async def _piece(pcm: Pcm, rate: int) -> AsyncGenerator[SpeechChunk, None]:
    yield SpeechChunk(pcm, rate)
