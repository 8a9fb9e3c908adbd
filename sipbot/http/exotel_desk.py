"""What is behind Exotel's callbacks: the branch of a flow, whom to connect, where streams go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from sipbot.call.leg import TRUNK_CALL_ID_HEADER, LegInfo
from sipbot.call.routing import Routes
from sipbot.clock import Clock
from sipbot.errors import StoreError
from sipbot.exotel.applets import (
    Destination,
    connect_answer,
    from_json,
    next_attempt,
    nobody,
    stream_url,
)
from sipbot.exotel.callbacks import Callback, Stage
from sipbot.ops.counters import Counters
from sipbot.ops.logs import Logger
from sipbot.store.events import TrunkEvent
from sipbot.store.intents import NOT_ASKED, Intent, Intents
from sipbot.store.storage import Storage

ANSWER_S: Final = 1.0  # seconds that an answer may take: the caller waits in silence
MAX_RACES: Final = 5  # times that others may be faster at the same intent
SPARE_S: Final = 60.0  # seconds that an attempt may take beyond its ringing
DEFAULT_RINGING_S: Final = 45  # seconds

StreamKind: TypeAlias = Literal["voicebot", "stream"]
RATES: Final = frozenset({"8000", "16000", "24000"})  # Hz, as in URLs

NO_CALL_SID: Final = "no-callsid"
UNKNOWN_FLOW: Final = "unknown-flow"
UNKNOWN_AGENT: Final = "unknown-agent"
STORE_UNAVAILABLE: Final = "store-unavailable"


@dataclass(frozen=True, slots=True)
class Branches:
    """Which HTTP status a Passthru gets when the caller is to be connected, and when not."""

    transfer: int = 200
    end: int = 302


@dataclass(frozen=True, slots=True)
class ExotelRules:
    """What the configuration says. ``trunk`` is the only one of Exotel's, if there is just one."""

    routes: Routes
    agents: Collection[str]
    flows: Mapping[str, Branches] = field(default_factory=dict)
    secret: str | None = None
    public_url: str | None = None
    sample_rate: int | None = None
    poll_window_s: float = 3.0
    intent_ttl_s: float = 120.0
    trunk: str = ""
    login: tuple[str, str] | None = None  # user and password of streams


class Refused(Exception):
    """A question that gets no answer. ``status`` is the HTTP status, ``rule`` says why."""

    def __init__(self, rule: str, status: int) -> None:
        super().__init__(rule)
        self.rule, self.status = rule, status


class ExotelDesk:
    """Answers Exotel. ``note`` is told each event to keep, and never waits."""

    def __init__(
        self,
        rules: ExotelRules,
        storage: Storage,
        note: Callable[[TrunkEvent], None],
        clock: Clock,
        counters: Counters,
        log: Logger,
    ) -> None:
        self.rules = rules  # may be replaced at any time, for what is asked from then on
        self._storage, self._note_event, self._clock = storage, note, clock
        self._counters, self._log = counters, log

    def refused(self, rule: str) -> None:
        """Count what is answered with a refusal, and say so now and then."""
        total = self._counters.count("callbacks_refused", rule=rule)
        if total == 1 or total % 100 == 0:
            self._log.warning("callback refused", rule=rule, total=total)

    async def passthru(self, flow: str, asked: str, callback: Callback) -> int:
        """The HTTP status that leads to the right branch. Raises Refused for an unknown flow.

        Asked again it is the same, until the Connect applet was asked: then the flow has gone on,
        and a Passthru is a later one.
        """
        branches = self.rules.flows.get(flow) if flow else Branches()
        if branches is None:
            raise Refused(UNKNOWN_FLOW, 404)
        stage = callback.stage(asked)
        self._note("passthru", stage.value, callback.stream_sid, callback)
        wanted = stage is Stage.BOT and await self._wanted(callback)
        self._counters.count("passthrus", stage=stage.value, transfer=str(wanted).lower())
        return branches.transfer if wanted else branches.end

    async def connect(self, callback: Callback, version: str) -> dict[str, Any]:
        """Whom to dial now: nobody when no intent waits, or all were tried."""
        self._note("connect", "connect", callback.dialled, callback)
        answer = nobody()
        if callback.call_sid:
            try:
                async with asyncio.timeout(ANSWER_S):
                    answer = await self._next(callback, version)
            except (StoreError, TimeoutError) as error:
                self._unavailable("connect", error)
        dials = bool(answer["destination"]) and answer != nobody()
        self._counters.count("connects", dials=str(dials).lower())
        return answer

    def status(self, callback: Callback) -> None:
        """Keep a status report."""
        facts = callback.facts()
        what = facts.get("event_type") or facts.get("status", "")
        self._note("status", what, "", callback)

    def stream_url(
        self, kind: StreamKind, agent: str, rate: str, callback: Callback, base: str
    ) -> str:
        """Where Exotel is to open its stream. Raises Refused when no agent takes the call.

        User and password of streams are part of it only where a secret guards this answer.
        """
        rules = self.rules
        if not agent:
            agent = rules.routes.choose(self._info(kind, callback), f"/exotel/{kind}").agent or ""
        if agent not in rules.agents:
            raise Refused(UNKNOWN_AGENT, 404)
        wanted = rate if rate in RATES else rules.sample_rate
        self._counters.count("stream_urls", kind=kind)
        path = ["exotel", kind, agent, *([callback.call_sid] if callback.call_sid else [])]
        login = rules.login if rules.secret is not None else None
        parameters = {"sample-rate": str(wanted)} if wanted else {}
        return stream_url(rules.public_url or base, path, parameters, login)

    def _info(self, kind: StreamKind, callback: Callback) -> LegInfo:
        headers = {**callback.sip_headers, TRUNK_CALL_ID_HEADER: callback.call_sid}
        return LegInfo(
            transport=kind,
            direction="inbound",
            caller=callback.caller,
            callee=callback.callee,
            request_user=callback.callee,
            trunk=self.rules.trunk,
            headers={name: value for name, value in headers.items() if value},
        )

    async def _wanted(self, callback: Callback) -> bool:
        """Whether the call's agent asked for a transfer that nobody was told of yet."""
        if not callback.call_sid:
            self.refused(NO_CALL_SID)
            return False
        try:
            async with asyncio.timeout(ANSWER_S):
                intents = Intents(await self._storage.get(ANSWER_S))
                intent = await intents.get(callback.call_sid, self._clock.wall())
        except (StoreError, TimeoutError) as error:
            self._unavailable("passthru", error)
            return False
        return intent is not None and not intent.done and intent.attempt == NOT_ASKED

    async def _next(self, callback: Callback, version: str) -> dict[str, Any]:
        intents = Intents(await self._storage.get(ANSWER_S))
        for _ in range(MAX_RACES):
            now = self._clock.wall()
            intent = await intents.get(callback.call_sid, now)
            if intent is None or intent.done:
                break
            destination = from_json(intent.destination)
            attempt = self._attempt(intent, destination, callback.dialled, now)
            done = attempt >= destination.attempts
            ringing_s = destination.max_ringing_s or DEFAULT_RINGING_S
            until = now + max(self.rules.intent_ttl_s, ringing_s + SPARE_S)
            if attempt == intent.attempt or await intents.advance(
                intent, attempt, now, until, done=done
            ):
                return connect_answer(destination, attempt, version)
        return nobody()

    def _attempt(self, intent: Intent, destination: Destination, dialled: str, now: float) -> int:
        if intent.attempt == NOT_ASKED:
            return 0
        told = next_attempt(destination, intent.attempt, dialled)
        if told is not None:
            return told
        again = now - intent.attempt_at <= self.rules.poll_window_s
        return intent.attempt if again or not destination.one_by_one else intent.attempt + 1

    def _note(self, kind: str, stage: str, detail: str, callback: Callback) -> None:
        if not callback.call_sid:
            return
        occasion = ":".join((kind, stage, detail) if detail else (kind, stage))
        facts = callback.facts()
        event = TrunkEvent(callback.call_sid, occasion, kind, stage[:32], self._clock.wall(), facts)
        self._note_event(event)

    def _unavailable(self, where: str, error: Exception) -> None:
        self._counters.count("callbacks_unanswered", where=where)
        self._log.error("callback without store", where=where, error=str(error) or "too slow")
