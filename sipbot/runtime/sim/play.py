"""Plays one scenario over one transport: walks its flow, talks to the bot, asks its callbacks."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from sipbot.clock import Clock
from sipbot.exotel.sim.caller import Caller
from sipbot.exotel.sim.facts import (
    CallState,
    DialOutcome,
    StreamOutcome,
    call_query,
    parameter_faults,
    passthru_query,
    recording,
    with_query,
)
from sipbot.exotel.sim.judge import Run, TalkResult
from sipbot.exotel.sim.line import Line
from sipbot.exotel.sim.load import Loaded
from sipbot.exotel.sim.model import (
    Applet,
    Bot,
    Connect,
    ConnectApplet,
    ConnectSip,
    ConnectSipApplet,
    GatherApplet,
    Greeting,
    GreetingApplet,
    HangupApplet,
    Passthru,
    PassthruApplet,
    Scenario,
    Stream,
    StreamApplet,
    Talk,
    TalkApplet,
    TransportName,
    Voicebot,
    VoicebotApplet,
)
from sipbot.exotel.sim.reply import read_connect, read_stream_url
from sipbot.exotel.sim.walk import Outcome, Walk
from sipbot.ops.redact import uri as masked
from sipbot.runtime.sim.callbacks import Callbacks
from sipbot.runtime.sim.sip_line import SipTrunk
from sipbot.runtime.sim.stream_line import StreamLine
from sipbot.runtime.sim.voice import Voices

MAX_FETCHES: Final = 10  # requests of one Connect applet with fetch_after_attempt
LOOKUP_S: Final = 10.0  # seconds for the answer of a dynamic URL
_DIALLED: Final = {
    "answered": "completed",
    "no_answer": "no-answer",
    "busy": "busy",
    "failed": "failed",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """What a run needs beside its scenario. ``insecure`` accepts any certificate."""

    bot: Bot
    clock: Clock
    insecure: bool = False


class Player:
    """One call. ``run`` fills in as it goes, so that it tells of calls that were cut too."""

    def __init__(
        self, loaded: Loaded, transport: TransportName, setting: Setting, voices: Voices
    ) -> None:
        self.run = Run()
        self._scenario: Scenario = loaded.scenario
        self._transport, self._setting, self._voices = transport, setting, voices
        facts = self._scenario.call
        sid = facts.call_sid or secrets.token_hex(16)
        self._state = CallState(facts, sid, setting.clock.wall())
        self._walk = Walk(self._scenario)
        self._forks: list[StreamLine] = []  # Stream applets under way

    async def play(self) -> Run:
        """Walk the whole flow. Raises SipbotError where a talk cannot even be tried."""
        self.run.visits = self._walk.visits
        base, insecure = self._setting.bot.http or "", self._setting.insecure
        try:
            async with Callbacks(base, insecure=insecure) as callbacks:
                self._callbacks = callbacks
                async with asyncio.timeout(self._scenario.limit_s):
                    while (applet := self._walk.applet) is not None:
                        outcome, detail = await self._do(applet)
                        self._walk.step(outcome, detail)
        except TimeoutError:
            self.run.trouble = f"the call lasted more than {self._scenario.limit_s:.0f} s"
        finally:
            for fork in self._forks:
                await fork.close()
        if self._walk.cut:
            self.run.trouble = "the flow never ends"
        return self.run

    async def _do(self, applet: Applet) -> tuple[Outcome, str]:
        match applet:
            case TalkApplet(talk=talk):
                if self._transport == "sip":
                    return await self._talk_sip(talk, None)
                return await self._talk_stream(talk, None)
            case VoicebotApplet(voicebot=voicebot):
                return await self._talk_stream(voicebot, voicebot.url)
            case ConnectSipApplet(connect_sip=connect):
                return await self._talk_sip(connect, connect.uri)
            case StreamApplet(stream=stream):
                return await self._fork(stream)
            case PassthruApplet(passthru=passthru):
                return await self._passthru(passthru)
            case ConnectApplet(connect=connect_applet):
                return await self._connect(connect_applet)
            case GreetingApplet(greeting=greeting):
                return await self._greet(greeting)
            case GatherApplet(gather=gather):
                self._state.digits = gather.types
                return Outcome.NEXT, ""
            case HangupApplet():
                return Outcome.ENDED, ""

    # --- the bot --------------------------------------------------------------------------------

    async def _talk_sip(self, talk: Talk | ConnectSip, uri: str | None) -> tuple[Outcome, str]:
        custom = parse_qsl(talk.custom_params, keep_blank_values=True)
        for fault in parameter_faults(custom):
            self.run.fault(f"scenario: {fault}")
        clock = self._setting.clock
        trunk = SipTrunk(
            uri or self._setting.bot.sip or "",
            self._scenario.sip,
            clock,
            self.run.fault,
            insecure=self._setting.insecure,
        )
        result = TalkResult("sip")
        self.run.talks.append(result)
        began = clock.monotonic()
        async with trunk.call(self._state, custom) as call:
            result.setup_ms = round((clock.monotonic() - began) * 1000)
            if call.line is None:
                result.failure = f"{call.outcome.status or ''} {call.outcome.reason}".strip()
                self._state.dial = DialOutcome("no-answer", "")
                return Outcome.NO_ANSWER, result.failure
            result.answered = True
            try:
                await self._converse(call.line, talk, result)
            finally:
                result.details = call.details()
        self._state.dial = DialOutcome(
            "completed",
            "",
            round(result.duration_ms / 1000),
            recording(self._state.facts.account_sid, self._state.call_sid) if talk.record else "",
        )
        return self._left(result)

    async def _talk_stream(self, talk: Talk | Voicebot, url: str | None) -> tuple[Outcome, str]:
        result = TalkResult("stream")
        self.run.talks.append(result)
        clock = self._setting.clock
        began = clock.monotonic()
        target = await self._stream_url(url or self._setting.bot.stream or "")
        if not target:
            self._told(StreamOutcome(status="failed", error="no stream url"))
            result.failure = "no stream url"
            return Outcome.NO_ANSWER, result.failure
        line = StreamLine(
            with_query(target, talk.custom_params),
            self._scenario.stream,
            self._state,
            self.run.fault,
        )
        try:
            result.answered = await line.open(insecure=self._setting.insecure)
            result.setup_ms = round((clock.monotonic() - began) * 1000)
            if not result.answered:
                result.failure = line.outcome.error or line.outcome.detailed_status
                self._told(line.outcome)
                return Outcome.NO_ANSWER, result.failure
            await self._converse(line, talk, result)
        finally:
            await line.close()
            result.details = line.details()
        if talk.record:
            sid = line.outcome.stream_sid
            line.outcome.recording_url = recording(self._state.facts.account_sid, sid)
        self._told(line.outcome)
        return self._left(result)

    async def _converse(self, line: Line, talk: Talk, result: TalkResult) -> None:
        """The caller does the steps; the one who has nothing left to do leaves."""
        self._state.call_type = "completed"
        caller = Caller(line, self._voices.audio)
        result.steps = caller.results
        steps = self._scenario.caller if talk.caller is None else talk.caller
        try:
            await caller.follow(steps)
            await line.hang_up()
        finally:
            ears = line.ears
            result.ended_by = line.ended_by
            result.first_speech_ms = ears.first_sound(0)
            result.speech_ms, result.duration_ms = ears.sound_ms, ears.position

    def _left(self, result: TalkResult) -> tuple[Outcome, str]:
        if result.ended_by != "bot":
            self._walk.caller_gone = result.ended_by == "caller"
        if self._walk.caller_gone:
            self._state.status, self._state.call_type = "completed", "client-hangup"
        return Outcome.NEXT, f"ended by the {result.ended_by}"

    def _told(self, outcome: StreamOutcome) -> None:
        self._state.stream = self.run.stream = outcome

    async def _stream_url(self, url: str) -> str:
        """``url`` with the sample rate, looked up first where it is a dynamic one; "" if not."""
        manner = self._scenario.stream
        url = self._callbacks.absolute(url)
        if url.startswith(("http://", "https://")):
            query = call_query(self._state, self._setting.clock.wall())
            reply = await self._callbacks.get(url, query, timeout_s=LOOKUP_S)
            url, fault = read_stream_url(reply.status, reply.body)
            if fault:
                self.run.fault(fault)
        if not url.startswith(("ws://", "wss://")):
            return ""
        if manner.rate == 8_000 or "sample-rate=" in url or "sample_rate=" in url:
            return url
        return with_query(url, f"sample-rate={manner.rate}")

    # --- the other applets ----------------------------------------------------------------------

    async def _fork(self, stream: Stream) -> tuple[Outcome, str]:
        if stream.action == "stop":
            for fork in self._forks:
                await fork.stop()
                self._told(fork.outcome)
            return Outcome.NEXT, ""
        url = await self._stream_url(stream.url or self._setting.bot.stream or "")
        line = StreamLine(url, self._scenario.stream, self._state, self.run.fault, listen_only=True)
        self._forks.append(line)
        if url and await line.open(insecure=self._setting.insecure):
            return Outcome.NEXT, ""
        self._told(line.outcome)
        return Outcome.NEXT, line.outcome.error or line.outcome.detailed_status or "no stream url"

    async def _passthru(self, passthru: Passthru) -> tuple[Outcome, str]:
        query = passthru_query(self._state, self._setting.clock.wall(), passthru.encoding)
        reply = await self._callbacks.get(passthru.url, query, timeout_s=passthru.timeout_s)
        if reply.failure:
            self.run.fault(f"passthru: {reply.failure}")
        ok = passthru.asynchronous or reply.status == 200
        return (Outcome.OK if ok else Outcome.OTHERWISE), reply.failure or str(reply.status)

    async def _connect(self, connect: Connect) -> tuple[Outcome, str]:
        """Ask whom to dial, and dial as the scenario says that it goes, until somebody answers."""
        tries = iter(connect.attempts)
        dialled = 0
        for _ in range(MAX_FETCHES):
            query = call_query(self._state, self._setting.clock.wall())
            reply = await self._callbacks.get(
                connect.url, query, timeout_s=connect.timeout_s, version=connect.version
            )
            if reply.status != 200 and connect.fallback_url is not None:
                reply = await self._callbacks.get(
                    connect.fallback_url,
                    query,
                    timeout_s=connect.timeout_s,
                    version=connect.version,
                )
            if reply.failure:
                self.run.fault(f"connect: {reply.failure}")
            read = read_connect(reply.status, reply.body, connect.version)
            for fault in read.faults:
                self.run.fault(fault)
            if not read.targets:
                break
            for target in read.targets:
                branch = next(tries, connect.attempts[-1] if connect.attempts else "no_answer")
                dialled += 1
                self.run.dialled.append(target)
                self._state.dial = DialOutcome(_DIALLED[branch], target)
                if branch == "answered":
                    return Outcome.TALKED, f"dialled {masked(target)}"
            if not read.again:
                break
        return (Outcome.NO_ANSWER if dialled else Outcome.NOT_DIALLED), f"dialled {dialled}"

    async def _greet(self, greeting: Greeting) -> tuple[Outcome, str]:
        await asyncio.sleep(greeting.ms / 1000)
        if greeting.hang_up:
            self._walk.caller_gone = True
            self._state.call_type = "client-hangup"
            self._told(StreamOutcome(status="cancelled", disconnected_by="user"))
        return Outcome.NEXT, ""
