"""Streams of Exotel's applets: judged before the upgrade, then calls like all others.

``StreamDesk`` is to WebSockets what the edge is to SIP: limits, admission, route, agent. It lives
in the process that accepted the socket, and so does the agent.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from sipbot.call.leg import EndReason, LegInfo
from sipbot.call.routing import RouteResult, Routes
from sipbot.errors import SipbotError, SocketClosed, StreamError
from sipbot.exotel.wire import Connected, Start, parse
from sipbot.http.socket import ServerSocket
from sipbot.http.streams import StreamRefused, StreamRequest
from sipbot.legs.voicebot import (
    GOING_AWAY,
    PROTOCOL_ERROR,
    REJECTED,
    VoicebotLeg,
    VoicebotSettings,
)
from sipbot.legs.voicebot_info import stream_info, stream_rate
from sipbot.ops.counters import Counters
from sipbot.ops.logs import Logger
from sipbot.ops.stream_admission import FORBIDDEN, UNAUTHORIZED, StreamAdmission
from sipbot.runtime import refusal as refusals
from sipbot.runtime.call_times import CallTimes
from sipbot.runtime.capacity import Capacity
from sipbot.runtime.host import LocalHost, Placement
from sipbot.runtime.say_once import SayOnce

START_S: Final = 10.0  # seconds from the upgrade until start must be there
MAX_BEFORE_START: Final = 8  # messages before it
CLOSE_S: Final = 2.0  # seconds for a peer to agree to the close of a stream that was no call
ENDING_S: Final = 3.0  # seconds for agents to notice that their stream was ended

NAMED: Final = "path"  # rule of a call whose agent the URL named
UNKNOWN_AGENT: Final = "unknown-agent"
_NOT_ALLOWED: Final = frozenset({UNAUTHORIZED, FORBIDDEN})


@dataclass(frozen=True, slots=True)
class StreamRules:
    """What may come and where it goes. ``settings`` are those of each trunk, ``""`` for none."""

    admission: StreamAdmission
    settings: Mapping[str, VoicebotSettings]
    listening: Mapping[str, VoicebotSettings]  # the same for streams that only listen
    routes: Routes
    agents: Collection[str]
    retry_after_s: int


@dataclass(slots=True, eq=False)
class _Ticket:
    request: StreamRequest
    trunk: str
    agent: str  # empty: the routes decide


class _FirstWords:
    """Waits for the start message. ``start`` gets it, or what was wrong."""

    def __init__(self, socket: ServerSocket) -> None:
        self.start: asyncio.Future[Start] = asyncio.get_running_loop().create_future()
        self._socket = socket
        self._before = 0

    def on_message(self, message: str | bytes) -> None:
        try:
            event = parse(message)
        except StreamError as error:
            self._fail(error)
            return
        if isinstance(event, Start):
            self._socket.detach()  # what follows is for the leg
            if not self.start.done():
                self.start.set_result(event)
            return
        self._before += not isinstance(event, Connected)
        if self._before > MAX_BEFORE_START:
            self._fail(StreamError("no-start"))

    def on_writable(self) -> None:
        pass

    def on_closed(self, code: int) -> None:
        self._fail(SocketClosed(code))

    def _fail(self, error: SipbotError) -> None:
        if not self.start.done():
            self.start.set_exception(error)


class StreamDesk:
    """Implements ``StreamDoor``. ``tasks`` is the group that the streams' tasks belong to.

    ``forbidden()`` gives the rules that forbid any new stream now, beyond those of ``capacity``.
    """

    def __init__(
        self,
        rules: StreamRules,
        host: LocalHost,
        capacity: Capacity,
        forbidden: Callable[[], Iterable[str]],
        counters: Counters,
        log: Logger,
        tasks: asyncio.TaskGroup,
        times: CallTimes | None = None,
    ) -> None:
        self.rules = rules  # may be replaced at any time, for the streams that come from then on
        self.stopping = False
        self.times = CallTimes() if times is None else times
        self._host, self._capacity, self._forbidden = host, capacity, forbidden
        self._counters, self._log, self._tasks = counters, log, tasks
        self._once = SayOnce()
        self._legs: set[VoicebotLeg] = set()
        self._beginning: set[asyncio.Task[None]] = set()  # they have not said start yet
        self._places = 0  # taken, also by those who have not said start yet
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def states(self) -> Mapping[str, int]:
        """Streams by the state of their leg."""
        return Counter(leg.state.value for leg in self._legs)

    # --- before the upgrade ---------------------------------------------------------------------

    def admit(self, request: StreamRequest) -> _Ticket:
        rules, credentials = self.rules, request.credentials
        known = None if credentials is None else (credentials.user, credentials.password)
        verdict = rules.admission.judge(request.ip, known)
        if verdict.status:
            raise StreamRefused(verdict.rule, verdict.status)
        agent = request.agent if request.agent in rules.agents else ""
        if not agent and not rules.routes.may_take(request.path, named=bool(request.agent)):
            raise StreamRefused(UNKNOWN_AGENT, 404)
        self._find_place(verdict.trunk)
        return _Ticket(request, verdict.trunk, agent)

    def _find_place(self, trunk: str) -> None:
        full = self._capacity.refusal(trunk)
        stopping = refusals.SHUTTING_DOWN.rule if self.stopping else None
        for rule in (stopping, full, *self._forbidden()):
            if rule is not None:
                raise StreamRefused(rule, 503, self.rules.retry_after_s)
        self._capacity.add(trunk)
        self._places += 1
        self._empty.clear()

    def refused(self, refusal: StreamRefused, ip: str) -> None:
        self._counters.count("refused", rule=refusal.rule)
        # Strangers are told of once; whoever may call wants to know of each call that was lost.
        if refusal.status not in _NOT_ALLOWED or self._once.is_first(refusal.rule, ip):
            self._log.warning("stream refused", rule=refusal.rule, status=refusal.status, peer=ip)

    # --- from the upgrade on --------------------------------------------------------------------

    def enter(self, ticket: object, socket: ServerSocket) -> None:
        assert isinstance(ticket, _Ticket)
        task = self._tasks.create_task(self._live(ticket, socket), name="stream")
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)

    async def _live(self, ticket: _Ticket, socket: ServerSocket) -> None:
        """One stream from the upgrade to its end. No stream harms another."""
        try:
            await self._serve(ticket, socket)
        except Exception as error:
            self._counters.count("faults", where="stream")
            self._log.error("stream failed", error=repr(error))
            socket.abort()
        except asyncio.CancelledError:
            socket.abort()
            raise
        finally:
            self._capacity.remove(ticket.trunk)
            self._places -= 1
            if not self._places:
                self._empty.set()

    async def _serve(self, ticket: _Ticket, socket: ServerSocket) -> None:
        try:
            leg, route = await self._begin(ticket, socket)
        except StreamRefused as refusal:
            self.refused(refusal, ticket.request.ip)
            code = GOING_AWAY if refusal.status == 503 else REJECTED + refusal.status
            await _close(socket, code, refusal.rule)
        except StreamError as error:
            self.refused(StreamRefused(error.reason, error.status), ticket.request.ip)
            await _close(socket, PROTOCOL_ERROR, error.reason)
        except SocketClosed:
            self.refused(StreamRefused("closed-before-start", 400), ticket.request.ip)
        else:
            await self._carry(leg, route)

    async def _begin(
        self, ticket: _Ticket, socket: ServerSocket
    ) -> tuple[VoicebotLeg, RouteResult]:
        """Raises StreamRefused, StreamError or SocketClosed."""
        request, rules = ticket.request, self.rules
        start = await _start_of(socket)
        if self.stopping:
            raise StreamRefused(refusals.SHUTTING_DOWN.rule, 503)
        rate = stream_rate(start, request.query)
        info = stream_info(
            start,
            rate=rate,
            peer=f"{request.ip}:{request.port}",
            trunk=ticket.trunk,
            query=request.query,
            path=request.rest,
            transport=request.kind,
        )
        route = RouteResult(ticket.agent, NAMED)
        if not ticket.agent:
            route = rules.routes.choose(info, request.path)
        if route.agent is None:
            raise StreamRefused(route.rule, 404)
        known = rules.settings if request.kind == "voicebot" else rules.listening
        settings = known.get(ticket.trunk, known[""])
        return VoicebotLeg(socket, start, info, rate, settings), route

    async def _carry(self, leg: VoicebotLeg, route: RouteResult) -> None:
        assert route.agent is not None
        placement = Placement(secrets.token_hex(8), route.agent, route.rule)
        self._announce(leg.info, placement)
        task = asyncio.current_task()
        assert task is not None
        self._beginning.discard(task)
        self._legs.add(leg)
        self.times.begin(leg)
        try:
            self._host.take(leg, placement)
            await leg.carry()
        finally:
            self.times.end(leg)
            self._legs.discard(leg)

    def _announce(self, info: LegInfo, placement: Placement) -> None:
        self._counters.count("calls", trunk=info.trunk)
        self._log.info(
            "call received",
            call_id=placement.call_id,
            stream_sid=info.protocol_id,
            caller=info.caller,
            callee=info.callee,
            trunk=info.trunk,
            transport=info.transport,
            peer=info.peer,
            agent=placement.agent,
            rule=placement.rule,
        )

    async def wait_empty(self) -> None:
        """Wait until there is no stream."""
        await self._empty.wait()

    # --- the end --------------------------------------------------------------------------------

    async def drain(self, deadline_s: float) -> None:
        """Take no more streams, let those that live finish for ``deadline_s``, then end them."""
        self.stopping = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                await self._empty.wait()
        if self._legs:
            self._log.warning("ending streams at the deadline", calls=len(self._legs))
        for task in tuple(self._beginning):
            task.cancel()
        for leg in tuple(self._legs):
            await leg.hangup(EndReason.SHUTDOWN)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ENDING_S):
                await self._empty.wait()


async def _start_of(socket: ServerSocket) -> Start:
    """Raises StreamRefused, StreamError or SocketClosed."""
    words = _FirstWords(socket)
    socket.attach(words)
    try:
        async with asyncio.timeout(START_S):
            return await words.start
    except TimeoutError:
        raise StreamRefused("no-start", 408) from None


async def _close(socket: ServerSocket, code: int, reason: str) -> None:
    try:
        async with asyncio.timeout(CLOSE_S):
            await socket.close(code, reason)
    except TimeoutError:
        socket.abort()
