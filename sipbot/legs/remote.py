"""``RemoteLeg``: a leg whose signalling and media live in another process.

Audio is in rings that both processes see; what the leg is told to do goes out through
``RemoteControl``, what happened to it comes in by ``handle``. The other side decides: this one
never ends a leg on its own but when the link is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, Protocol

from sipbot.call.leg import (
    EndReason,
    LegEnded,
    LegEvent,
    LegInfo,
    LegSink,
    TransferResult,
)
from sipbot.call.record import Stat
from sipbot.legs.facts import stream_facts
from sipbot.legs.stream_audio import AudioSlot, SlotWaiters, StreamAudio
from sipbot.media.stream import StreamStats

_MAX_KEPT_EVENTS: Final = 256  # events before a sink is attached


class RemoteControl(Protocol):
    """Carries a leg's commands to where it lives. What is awaited returns when it was done there.

    When the leg ends meanwhile the awaited ones return as well: ``answer`` and ``send_dtmf`` as
    done, ``transfer`` as not accepted.
    """

    def ring(self) -> None: ...

    async def answer(self) -> None: ...

    def reject(self, status: int, reason: str) -> None: ...

    def hang_up(self, reason: EndReason) -> None: ...

    async def transfer(self, target: str) -> TransferResult: ...

    async def send_dtmf(self, digits: str, duration_ms: int, gap_ms: int) -> None: ...

    def loop_back(self, on: bool) -> None: ...


class RemoteLeg:
    """A leg seen from a worker. ``on_ended`` is called once, when its audio is left alone."""

    def __init__(
        self,
        control: RemoteControl,
        info: LegInfo,
        slot: AudioSlot,
        waiters: SlotWaiters,
        on_ended: Callable[[RemoteLeg], None] = lambda leg: None,
    ) -> None:
        self._control, self._info, self._on_ended = control, info, on_ended
        self._audio = StreamAudio(slot, waiters)
        self._sink: LegSink | None = None
        self._kept: list[LegEvent] = []
        self._rung = self._answered = self._closing = False
        self._gone = asyncio.Event()
        self._stats = StreamStats()

    # --- the Leg port ---------------------------------------------------------------------------

    @property
    def info(self) -> LegInfo:
        return self._info

    @property
    def audio(self) -> StreamAudio:
        return self._audio

    @property
    def ended(self) -> bool:
        return self._gone.is_set()

    def attach(self, sink: LegSink) -> None:
        self._sink = sink
        kept, self._kept = self._kept, []
        for event in kept:
            sink(event)

    async def ring(self) -> None:
        if not self.ended and not self._rung:
            self._rung = True
            self._control.ring()

    async def answer(self) -> None:
        if not self.ended and not self._answered:
            self._answered = True
            await self._control.answer()

    async def reject(self, status: int, reason: str = "") -> None:
        if not self.ended and not self._answered:
            self._control.reject(status, reason)
            await self._gone.wait()

    async def hangup(self, reason: EndReason = EndReason.BOT_HUNG_UP) -> None:
        if self.ended:
            return
        if not self._closing:  # the first reason counts
            self._closing = True
            self._control.hang_up(reason)
        await self._gone.wait()

    async def transfer(self, target: str) -> TransferResult:
        if self.ended or not self._answered:
            return TransferResult(False, "not-possible-now")
        return await self._control.transfer(target)

    async def send_dtmf(self, digits: str, duration_ms: int = 100, gap_ms: int = 60) -> None:
        if not self.ended and self._answered:
            await self._control.send_dtmf(digits, duration_ms, gap_ms)

    def loopback(self, on: bool) -> None:
        """Give the peer its own audio back, inside the plane."""
        if not self.ended:
            self._control.loop_back(on)

    # --- what the record of a call wants --------------------------------------------------------

    def stats(self) -> StreamStats:
        """Of the media stream; known once the leg has ended."""
        return self._stats

    def facts(self) -> Mapping[str, Stat]:
        """The same for records and logs."""
        return stream_facts(self.stats())

    # --- what comes from the other side ---------------------------------------------------------

    def handle(self, event: LegEvent) -> None:
        """Take one event but the end."""
        if self.ended:
            return
        if self._sink is not None:
            self._sink(event)
        elif len(self._kept) < _MAX_KEPT_EVENTS:
            self._kept.append(event)

    def end(self, ended: LegEnded, codec: str, stats: StreamStats) -> None:
        """The leg is over. From here on the rings are not touched."""
        if self.ended:
            return
        self._info, self._stats = replace(self._info, codec=codec), stats
        self._audio.end()
        self.handle(ended)
        self._sink = None  # leg and call would keep each other until the collector comes
        self._gone.set()
        self._on_ended(self)
