"""A leg without a network: the caller is a script, and everything it hears is kept."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

import numpy as np

from sipbot.call.leg import (
    EndReason,
    LegDtmf,
    LegEnded,
    LegEvent,
    LegHeld,
    LegInfo,
    LegResumed,
    LegSink,
    Pcm,
    TransferResult,
)
from sipbot.errors import SipbotError

TICK_MS: Final = 20  # milliseconds of audio that move at once
BUFFER_MS: Final = 2_048  # milliseconds that each direction holds
CALLER: Final = LegInfo(
    transport="fake", direction="inbound", caller="+919800000001", callee="+918000000001"
)


class FakeAudio:
    """``LegAudio`` in memory. ``tick`` lets 20 ms pass."""

    def __init__(self, rate: int = 8_000) -> None:
        self.rate = rate
        self.received = self.written = self.consumed = self.played = 0
        self.overruns = 0  # samples that the reader was too slow for
        self.heard: list[Pcm] = []  # frames that went to the caller, silence included
        self.speech: deque[Pcm] = deque()  # what the caller says next
        self.running = self.held = self.closed = False
        self._room = rate * BUFFER_MS // 1000
        self._frame = rate * TICK_MS // 1000
        self._arrived = self._queued = np.zeros(0, np.int16)
        self._reader: asyncio.Future[None] | None = None
        self._writers: list[tuple[int, asyncio.Future[bool]]] = []

    def read(self) -> Pcm:
        taken, self._arrived = self._arrived, self._arrived[:0]
        return taken

    async def wait_readable(self) -> bool:
        while not len(self._arrived):
            if self.closed:
                return False
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        return True

    def write(self, pcm: Pcm) -> int:
        if self.closed or not self.running:
            return 0
        count = min(len(pcm), self._room - len(self._queued))
        self._queued = np.concatenate((self._queued, pcm[:count]))
        self.written += count
        return count

    async def wait_consumed(self, position: int) -> bool:
        if self.consumed >= position or self.closed:
            return self.consumed >= position
        reached: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._writers.append((position, reached))
        return await reached

    async def clear(self) -> int:
        unheard = len(self._queued)
        self._queued = self._queued[:0]
        self.consumed += unheard
        self._wake()
        return unheard

    def tick(self) -> None:
        """Let 20 ms pass: one frame arrives, one leaves."""
        if not self.running or self.closed:
            return
        self._arrive(self._next_speech())
        frame = np.zeros(self._frame, np.int16)
        if not self.held:
            out, self._queued = self._queued[: self._frame], self._queued[self._frame :]
            self.consumed += len(out)
            self.played += len(out)
            frame[: len(out)] = out
        self.heard.append(frame)
        self._wake()

    def close(self) -> None:
        self.closed = True
        self._wake()

    def _next_speech(self) -> Pcm:
        frame = np.zeros(self._frame, np.int16)
        filled = 0
        while self.speech and filled < self._frame and not self.held:
            part = self.speech.popleft()
            taken = part[: self._frame - filled]
            frame[filled : filled + len(taken)] = taken
            filled += len(taken)
            if len(taken) < len(part):
                self.speech.appendleft(part[len(taken) :])
        return frame

    def _arrive(self, frame: Pcm) -> None:
        self.received += len(frame)
        waiting = np.concatenate((self._arrived, frame))
        self.overruns += max(len(waiting) - self._room, 0)
        self._arrived = waiting[-self._room :]

    def _wake(self) -> None:
        if self._reader is not None and (self.closed or len(self._arrived)):
            if not self._reader.done():
                self._reader.set_result(None)
            self._reader = None
        due = [one for one in self._writers if self.closed or self.consumed >= one[0]]
        self._writers = [one for one in self._writers if one not in due]
        for position, waiter in due:
            if not waiter.done():
                waiter.set_result(self.consumed >= position)


class FakeLeg:
    """Implements ``Leg``. ``steps`` lists what was done to it, for example ``"ring"``.

    With ``autorun`` the audio moves by itself every 20 ms of the event loop's time once the call
    is answered; without, the test calls ``tick``. ``transfer_result`` is what a transfer comes
    to, ``answer_error`` an exception that ``answer`` raises.
    """

    def __init__(
        self,
        info: LegInfo = CALLER,
        *,
        rate: int = 8_000,
        autorun: bool = True,
        transfer_result: TransferResult = TransferResult(True),  # noqa: B008  # a frozen value
        answer_error: SipbotError | None = None,
    ) -> None:
        self.info = info
        self.audio = FakeAudio(rate)
        self.steps: list[str] = []
        self._autorun, self._transfer_result = autorun, transfer_result
        self._answer_error = answer_error
        self._sink: LegSink | None = None
        self._kept: list[LegEvent] = []
        self._timer: asyncio.TimerHandle | None = None
        self._next_tick = 0.0  # loop time, seconds

    @property
    def ended(self) -> bool:
        return self.audio.closed

    @property
    def heard(self) -> Pcm:
        """All that the caller heard since the answer, silence included."""
        return np.concatenate(self.audio.heard) if self.audio.heard else np.zeros(0, np.int16)

    # The port

    def attach(self, sink: LegSink) -> None:
        self._sink = sink
        kept, self._kept = self._kept, []
        for event in kept:
            sink(event)

    async def ring(self) -> None:
        if not self.ended and "ring" not in self.steps:
            self.steps.append("ring")

    async def answer(self) -> None:
        if self.ended or self.audio.running:
            return
        if self._answer_error is not None:
            raise self._answer_error
        self.steps.append("answer")
        self.audio.running = True
        if self._autorun:
            self._next_tick = asyncio.get_running_loop().time()
            self._arm()

    async def reject(self, status: int, reason: str = "") -> None:
        if not self.ended and not self.audio.running:
            self.steps.append(f"reject {status}")
            self._end(EndReason.REJECTED)

    async def hangup(self, reason: EndReason = EndReason.BOT_HUNG_UP) -> None:
        if not self.ended:
            self.steps.append(f"hangup {reason.value}")
            self._end(reason)

    async def transfer(self, target: str) -> TransferResult:
        if self.ended:
            return TransferResult(False, "ended")
        self.steps.append(f"transfer {target}")
        return self._transfer_result

    async def send_dtmf(self, digits: str, duration_ms: int = 100, gap_ms: int = 60) -> None:
        if not self.ended:
            self.steps.append(f"dtmf {digits}")
            frames = -(-len(digits) * (duration_ms + gap_ms) // TICK_MS)
            if self._autorun:
                await asyncio.sleep(frames * TICK_MS / 1000)

    # The caller

    def speak(self, pcm: Pcm) -> None:
        """Queue what the caller says, at the leg's rate."""
        self.audio.speech.append(np.asarray(pcm, np.int16))

    def press(self, digit: str) -> None:
        """Press one key now."""
        self._tell(LegDtmf(digit, "rtp"))

    def hold(self) -> None:
        """Put the bot on hold: neither side hears the other, and what is queued waits."""
        self.audio.held = True
        self._tell(LegHeld())

    def resume(self) -> None:
        """Take the bot off hold."""
        self.audio.held = False
        self._tell(LegResumed())

    def hang_up(self, reason: EndReason | None = None) -> None:
        """End the call from the caller's side, or give up before it was answered."""
        if not self.ended:
            answered = self.audio.running
            self._end(reason or (EndReason.CALLER_HUNG_UP if answered else EndReason.CANCELLED))

    def tick(self) -> None:
        """Let 20 ms pass. Only for legs without ``autorun``."""
        self.audio.tick()

    def _arm(self) -> None:
        loop = asyncio.get_running_loop()
        self._next_tick += TICK_MS / 1000
        self._timer = loop.call_at(self._next_tick, self._run)

    def _run(self) -> None:
        self.audio.tick()
        self._arm()

    def _end(self, reason: EndReason) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.audio.close()
        self._tell(LegEnded(reason, "scripted"))

    def _tell(self, event: LegEvent) -> None:
        if self.ended and not isinstance(event, LegEnded):
            return
        if self._sink is None:
            self._kept.append(event)
        else:
            self._sink(event)
