"""Sends a leg's audio as messages, at the pace at which they are played."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from sipbot.call.leg import Pcm
from sipbot.exotel.wire import FRAME_BYTES, Encoding, Writer
from sipbot.legs.voicebot_audio import SAMPLE_BYTES, VoicebotAudio
from sipbot.rtp.g711 import SILENCE, encode

QUIET_S: Final = 0.04  # seconds without a write after which less than a message is sent as it is
TAIL_LEAD_S: Final = 0.06  # seconds before the peer runs dry at which such a rest leaves
FASTEST: Final = 2.0  # times real time at which the lead may be built up: never a burst
MARK_EVERY_S: Final = 0.5  # seconds between marks while there is always more to send


class StreamSocket(Protocol):
    """A WebSocket that carries text messages. All but ``abort`` raise ``SocketClosed``."""

    async def receive(self) -> str | bytes: ...

    async def send(self, text: str) -> None:
        """Returns when the message was taken, which a slow peer delays."""
        ...

    async def close(self, code: int, reason: str) -> None: ...

    def abort(self) -> None:
        """Drop the connection at once."""
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """``message_bytes`` is a multiple of 320, in the stream's encoding; ``lead_s`` is how much of
    our audio the peer has left when it gets the next message."""

    message_bytes: int = 3_200
    lead_s: float = 0.1


class VoicebotSender:
    """Takes what ``audio`` holds and sends it. ``run`` ends by SocketClosed or cancellation."""

    def __init__(
        self, socket: StreamSocket, writer: Writer, audio: VoicebotAudio, encoding: Encoding,
        pace: Pace,
    ) -> None:  # fmt: skip
        self._socket, self._writer, self._audio = socket, writer, audio
        self._mu_law = encoding == "PCMU"
        self._unit = FRAME_BYTES // (1 if self._mu_law else SAMPLE_BYTES)  # samples
        self._full = pace.message_bytes // FRAME_BYTES * self._unit  # samples
        self._lead_s = pace.lead_s
        self.messages = self.marks = 0
        self.blocked_since: float | None = None  # loop time at which a message began to be sent
        self._next_media = 0.0  # loop time, so that messages never leave in a burst
        self._last_mark = float("-inf")
        self._unmarked = False  # audio left after the last mark
        self._line_samples = 0  # samples ever sent, padding included
        self._wake: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()

    def poke(self) -> None:
        """There may be something new to do."""
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def run(self) -> None:
        while True:
            now = self._loop.time()
            step, when = self._next(now)
            if step is None or when > now:
                await self._sleep(None if step is None else when)
                continue
            for message in step(now):
                self.blocked_since = self._loop.time()
                await self._socket.send(message)
                self.blocked_since = None
                self.messages += 1

    # --- what comes next ------------------------------------------------------------------------

    def _next(self, now: float) -> tuple[Callable[[float], list[str]] | None, float]:
        """What is to be done, and when (loop time)."""
        audio = self._audio
        if audio.clear_wanted:
            return self._clear, now
        queued, end = audio.queued, audio.line.end
        if not queued:
            return (self._mark if self._unmarked else None), audio.last_write + QUIET_S
        earliest = max(self._next_media, end - self._lead_s)
        if queued < self._full:
            earliest = max(earliest, audio.last_write + QUIET_S, end - TAIL_LEAD_S)
        return self._media, earliest

    def _clear(self, now: float) -> list[str]:
        self._audio.clear_wanted = self._unmarked = False
        return [self._writer.clear()]

    def _mark(self, now: float) -> list[str]:
        self._unmarked, self._last_mark = False, now
        self.marks += 1
        name = f"m{self.marks}"
        self._audio.line.mark(name)
        return [self._writer.mark(name)]

    def _media(self, now: float) -> list[str]:
        audio = self._audio
        pcm = audio.take(self._full)
        padding = -len(pcm) % self._unit
        timestamp_ms = self._line_samples * 1000 // audio.rate
        self._line_samples += len(pcm) + padding
        audio.line.add(len(pcm), padding, now)
        self._next_media = now + (len(pcm) + padding) / audio.rate / FASTEST
        messages = [self._writer.media(self._encoded(pcm, padding), timestamp_ms)]
        self._unmarked = True
        if now - self._last_mark >= MARK_EVERY_S:
            messages += self._mark(now)
        audio.moved()
        return messages

    def _encoded(self, pcm: Pcm, padding: int) -> bytes:
        if self._mu_law:
            return encode("PCMU", pcm).tobytes() + bytes([SILENCE["PCMU"]]) * padding
        return pcm.astype(np.dtype("<i2"), copy=False).tobytes() + bytes(SAMPLE_BYTES * padding)

    async def _sleep(self, until: float | None) -> None:
        self._wake = self._loop.create_future()
        alarm = None if until is None else self._loop.call_at(until, self.poke)
        try:
            await self._wake
        finally:
            if alarm is not None:
                alarm.cancel()
