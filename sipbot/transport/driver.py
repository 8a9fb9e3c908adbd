"""Runs a sans-I/O user agent on an event loop: bytes in, effects out, one armed alarm."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from sipbot.clock import Clock
from sipbot.sip.effects import Effect, Event, Flow, Send
from sipbot.sip.user_agent import UserAgent
from sipbot.transport.endpoint import SipEndpoint


class SipDriver:
    """Owns the clockwork of one user agent.

    ``on_event`` hears every event in order. It may call commands of ``agent`` and hand their
    effects to ``perform`` before it returns.
    """

    def __init__(self, clock: Clock, on_event: Callable[[Event], None]) -> None:
        self._clock = clock
        self._on_event = on_event
        self._agent: UserAgent | None = None
        self._endpoint: SipEndpoint | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._armed_for = 0.0
        self._idle = asyncio.Event()

    def connect(self, agent: UserAgent, endpoint: SipEndpoint) -> None:
        """Join the parts; they need each other, so none of them can come first."""
        self._agent, self._endpoint = agent, endpoint

    @property
    def agent(self) -> UserAgent:
        assert self._agent is not None, "connect() comes first"
        return self._agent

    def now(self) -> float:
        """Seconds on the clock that all of the user agent's timers use."""
        return self._clock.monotonic()

    def receive(self, data: bytes, flow: Flow) -> None:
        """One framed message from the network."""
        self.perform(self.agent.receive(data, flow, self.now()))

    def perform(self, effects: Iterable[Effect]) -> None:
        """Carry out what the core asked for, in order, and re-arm the alarm."""
        assert self._endpoint is not None, "connect() comes first"
        for effect in effects:
            if isinstance(effect, Send):
                self._endpoint.send(effect, self._send_failed)
            else:
                self._on_event(effect)
        self._arm()
        if self._agent is not None and not self._agent.counts().sessions:
            self._idle.set()
        else:
            self._idle.clear()

    async def wait_idle(self, timeout_s: float) -> bool:
        """Wait until no session is left, so that every BYE was answered; False when time is up."""
        if self._agent is None or not self._agent.counts().sessions:
            return True
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Stop the clockwork. The endpoint is closed by whoever made it."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._agent = None

    def _send_failed(self, key: str) -> None:
        if self._agent is not None:
            self.perform(self._agent.transport_failed(key, self.now()))

    def _arm(self) -> None:
        deadline = None if self._agent is None else self._agent.next_deadline()
        if deadline is None:
            return
        if self._alarm is not None:
            if self._armed_for <= deadline:
                return
            self._alarm.cancel()
        loop = asyncio.get_running_loop()
        self._armed_for = deadline
        self._alarm = loop.call_later(max(0.0, deadline - self.now()), self._on_alarm)

    def _on_alarm(self) -> None:
        self._alarm = None
        if self._agent is not None:
            self.perform(self._agent.handle_timer(self.now()))
