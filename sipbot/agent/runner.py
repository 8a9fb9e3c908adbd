"""Runs one call with one agent, from the ringing to the record."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final, TypeAlias

from sipbot.agent.port import Agent, PreparesCalls
from sipbot.call.call import Call
from sipbot.call.events import CallEnded
from sipbot.call.leg import EndReason
from sipbot.call.record import CallRecord, Stat
from sipbot.errors import SipbotError

AGENT_FAILED_STATUS: Final = 500  # SIP status when the agent fails before the answer
SHOWN_FRAMES: Final = 12  # stack frames in the log of a failure

Stats: TypeAlias = Callable[[], Mapping[str, Stat]]
FailureListener: TypeAlias = Callable[[Call, BaseException], None]


@dataclass(frozen=True, slots=True)
class RunnerSettings:
    """Limits of a call's life, in seconds."""

    min_ring_s: float = 0.0  # let it ring at least so long
    prepare_timeout_s: float = 5.0  # for the agent to get ready while it rings
    max_duration_s: float = 3600.0  # of a conversation
    drain_timeout_s: float = 10.0  # for the last words to be heard
    grace_s: float = 5.0  # for an agent to notice that its call is over
    apology: str = ""  # spoken when the agent fails; empty: none
    show_errors: bool = False  # texts of agents' exceptions in the log: they may hold private data


class _Verdict(Enum):
    DONE = auto()
    CALL_ENDED = auto()
    TOO_LONG = auto()


class AgentRunner:
    """Runs calls. ``on_failure`` hears every exception of an agent."""

    def __init__(
        self, settings: RunnerSettings | None = None, on_failure: FailureListener | None = None
    ) -> None:
        self.settings = settings or RunnerSettings()
        self._on_failure = on_failure

    async def run(self, call: Call, agent: Agent, stats: Stats = dict) -> CallRecord:
        """Ring, prepare, answer, run, drain, hang up. Raises nothing but ``CancelledError``.

        To end a call from outside use ``call.end(reason)``: this returns its record soon after.
        When cancelled instead, the call is ended for ``SHUTDOWN``.
        """
        run = _Run(self.settings, call, agent, self._on_failure)
        try:
            await run.live()
        except asyncio.CancelledError:
            await call.end(EndReason.SHUTDOWN)
            raise
        return call.record(detail=run.detail, failure=run.failure, stats=stats())


class _Run:
    """One call's life. ``detail`` and ``failure`` go to the record."""

    def __init__(
        self,
        settings: RunnerSettings,
        call: Call,
        agent: Agent,
        on_failure: FailureListener | None,
    ) -> None:
        self.detail = ""
        self.failure = ""
        self._settings, self._call, self._agent = settings, call, agent
        self._on_failure = on_failure

    async def live(self) -> None:
        try:
            await self._ring()
            if await self._take():
                await self._talk()
        except CallEnded:
            return
        await self._ended()

    async def _ring(self) -> None:
        began = asyncio.get_running_loop().time()
        await self._call.ring()
        if isinstance(self._agent, PreparesCalls):
            await self._prepare(self._agent)
        rung = asyncio.get_running_loop().time() - began
        if rung < self._settings.min_ring_s and self._call.end_reason is None:
            await self._bounded(asyncio.sleep(self._settings.min_ring_s - rung), None, 0)

    async def _prepare(self, agent: PreparesCalls) -> None:
        limit = self._settings.prepare_timeout_s
        try:
            verdict = await self._bounded(agent.prepare(self._call), limit, 0)
        except Exception as error:
            if not _is_end(error):
                self._failed(error)
                await self._call.reject(AGENT_FAILED_STATUS)
            return
        if verdict is _Verdict.TOO_LONG:
            self._call.log.warning("agent prepare timeout", limit_s=limit)

    async def _take(self) -> bool:
        """Answer; False when that cannot be."""
        if self._call.end_reason is not None:
            return False
        try:
            await self._call.answer()
        except CallEnded:
            raise
        except SipbotError as error:
            self._call.log.warning("answer failed", error=type(error).__name__)
            self.detail = "answer-failed"
            await self._call.end(EndReason.NETWORK)
            return False
        return True

    async def _talk(self) -> None:
        limit = self._settings.max_duration_s
        try:
            work = self._agent.run(self._call)
            verdict = await self._bounded(work, limit, self._settings.grace_s)
        except Exception as error:
            if _is_end(error):
                await self._call.end(EndReason.BOT_HUNG_UP)
                return
            self._failed(error)
            await self._apologise()
            await self._call.end(EndReason.AGENT_FAILED)
            return
        if verdict is _Verdict.TOO_LONG:
            self.detail = "max-duration"
            self._call.log.info("call too long", limit_s=limit)
        elif verdict is _Verdict.DONE:
            await self._limited(self._call.let_hear())
        await self._call.end(EndReason.BOT_HUNG_UP)

    async def _apologise(self) -> None:
        if self._settings.apology and self._call.end_reason is None:
            try:
                await self._limited(self._say_sorry())
            except CallEnded:
                return
            except SipbotError as error:
                self._call.log.warning("apology failed", error=type(error).__name__)

    async def _say_sorry(self) -> None:
        await self._call.clear()
        await self._call.say(self._settings.apology, interruptible=False)
        await self._call.let_hear()

    async def _limited(self, last_words: Coroutine[Any, Any, object]) -> None:
        try:
            async with asyncio.timeout(self._settings.drain_timeout_s):
                await last_words
        except TimeoutError:
            self._call.log.warning("drain timeout", limit_s=self._settings.drain_timeout_s)

    async def _ended(self) -> None:
        """Wait for the leg to report its end, so that the record is complete."""
        try:
            async with asyncio.timeout(self._settings.grace_s):
                await self._call.wait_ended()
        except TimeoutError:
            self._call.log.error("leg never ended", limit_s=self._settings.grace_s)

    async def _bounded(
        self, work: Coroutine[Any, Any, None], limit_s: float | None, grace_s: float
    ) -> _Verdict:
        """Run ``work`` until it is done, time is up, or ``grace_s`` after the end of the call.

        Passes its exceptions on.
        """
        task = asyncio.create_task(work, name=f"agent of {self._call.id}")
        gone = asyncio.create_task(self._call.wait_ended(), name=f"end of {self._call.id}")
        try:
            await asyncio.wait({task, gone}, timeout=limit_s, return_when="FIRST_COMPLETED")
            if gone.done() and not task.done():
                await asyncio.wait({task}, timeout=grace_s)
            if task.done():
                await task
                return _Verdict.DONE
            return _Verdict.CALL_ENDED if gone.done() else _Verdict.TOO_LONG
        finally:
            await self._stop(gone)
            await self._stop(task)

    async def _stop(self, task: asyncio.Task[Any]) -> None:
        if task.done():
            return
        task.cancel()
        await asyncio.wait({task}, timeout=self._settings.grace_s)
        if not task.done():
            self._call.log.error("agent stuck", limit_s=self._settings.grace_s)
        else:
            error = None if task.cancelled() else task.exception()
            if error is not None and not _is_end(error):
                self._failed(error)

    def _failed(self, error: BaseException) -> None:
        self.failure = type(error).__name__
        frames = traceback.extract_tb(error.__traceback__)[-SHOWN_FRAMES:]
        where = [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
        shown = {"message": str(error)} if self._settings.show_errors else {}
        self._call.log.error("agent failed", error=self.failure, stack=where, **shown)
        if self._on_failure is not None:
            self._on_failure(self._call, error)


def _is_end(error: BaseException) -> bool:
    """Whether this is how the end of a call ends an agent, also out of a group of tasks."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(CallEnded)[1] is None
    return isinstance(error, CallEnded)
