"""Sends a leg's audio as messages, at the pace at which they are played."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from sipbot.exotel.wire import FRAME_BYTES, Encoding, Writer
from sipbot.legs.voicebot_audio import SAMPLE_BYTES, VoicebotAudio
from sipbot.rtp.g711 import SILENCE, encode

QUIET_S: Final = 0.04  # seconds without a write after which less than a message is sent as it is
IDLE_S: Final = 0.25  # seconds without a write after which a mark is sent that nobody waits for
TAIL_LEAD_S: Final = 0.06  # seconds before the peer runs dry at which such a rest leaves
FASTEST: Final = 2.0  # times real time at which the lead may be built up: never a burst
MARK_EVERY_S: Final = 0.5  # seconds between marks while there is always more to send


class SocketUser(Protocol):
    """Hears of one WebSocket. Nothing of this is called from within ``send``."""

    def on_message(self, message: str | bytes) -> None: ...

    def on_writable(self) -> None:
        """The socket is not congested any more."""
        ...

    def on_closed(self, code: int) -> None:
        """It is closed, with the peer's code; 1006 when it was lost. Called once."""
        ...


class StreamSocket(Protocol):
    """A WebSocket that carries text messages. Nothing waits but ``close``."""

    def attach(self, user: SocketUser) -> None:
        """Tell ``user`` from now on, first of what came before."""
        ...

    @property
    def congested(self) -> bool:
        """The peer is slow: no message should be sent until ``on_writable``."""
        ...

    def send(self, text: str) -> None:
        """Send one message; nothing happens on a closed socket."""
        ...

    async def close(self, code: int, reason: str) -> None:
        """Close, and wait for the peer to agree."""
        ...

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
    """Takes what ``audio`` holds and sends it, by itself from one ``poke`` on.

    ``muted`` sends nothing and lets the clock alone pass: the line of a stream that only listens.
    """

    def __init__(
        self, socket: StreamSocket, writer: Writer, audio: VoicebotAudio, encoding: Encoding,
        pace: Pace, muted: bool = False,
    ) -> None:  # fmt: skip
        self._socket, self._writer, self._audio = socket, writer, audio
        self._muted = muted
        self._mu_law = encoding == "PCMU"
        self._unit = FRAME_BYTES // (1 if self._mu_law else SAMPLE_BYTES)  # samples
        self._full = pace.message_bytes // FRAME_BYTES * self._unit  # samples
        self._lead_s = pace.lead_s
        self.messages = self.marks = 0
        self.blocked_since: float | None = None  # loop time since which the peer takes nothing
        self._next_media = 0.0  # loop time, so that messages never leave in a burst
        self._last_mark = float("-inf")
        self._unmarked = False  # audio left after the last mark
        self._line_samples = 0  # samples ever sent, padding included
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0.0  # loop time
        self._poked = self._stopped = False
        self._loop = asyncio.get_running_loop()

    def poke(self) -> None:
        """Something may be new: a message is sent at once, more in a moment with all that comes
        until then."""
        if 0 < self._audio.queued <= self._full and not self._audio.clear_wanted:
            self._look()
        elif not self._poked and not self._stopped:
            self._poked = True
            self._loop.call_soon(self._on_poke)

    def _on_poke(self) -> None:
        self._poked = False
        self._look()

    def _look(self) -> None:
        """Send what is due, and come back for what is not."""
        if self._stopped:
            return
        now = self._loop.time()
        while True:
            step, when = self._next(now)
            if step is None:
                return
            if when > now:
                self._wake_at(when)
                return
            if self._socket.congested and not self._muted:
                self.blocked_since = now if self.blocked_since is None else self.blocked_since
                return
            self.blocked_since = None
            for message in step(now):
                self._socket.send(message)
                self.messages += 1
            if self._alarm is not None and not self._audio.urgent:
                return  # nothing but the mark is left to do, and the alarm comes for it

    def stop(self) -> None:
        """Send nothing any more."""
        self._stopped = True
        if self._alarm is not None:
            self._alarm.cancel()

    def _wake_at(self, when: float) -> None:
        if self._alarm is not None:
            if self._alarm_at <= when:
                return  # it looks again then: cheaper than a new alarm for each message
            self._alarm.cancel()
        self._alarm_at = when
        self._alarm = self._loop.call_at(when, self._on_alarm)

    def _on_alarm(self) -> None:
        self._alarm = None
        self._look()

    # --- what comes next ------------------------------------------------------------------------

    def _next(self, now: float) -> tuple[Callable[[float], list[str]] | None, float]:
        """What is to be done, and when (loop time); None when nothing is."""
        audio = self._audio
        if audio.clear_wanted:
            return self._clear, now
        queued, end = audio.queued, audio.line.end
        if not queued:
            quiet_s = QUIET_S if audio.awaited else IDLE_S
            return (self._mark if self._unmarked else None), audio.last_write + quiet_s
        earliest = max(self._next_media, end - self._lead_s)
        if queued < self._full:
            earliest = max(earliest, audio.last_write + QUIET_S, end - TAIL_LEAD_S)
        return self._media, earliest

    def _clear(self, now: float) -> list[str]:
        self._audio.clear_wanted = self._unmarked = False
        return [] if self._muted else [self._writer.clear()]

    def _mark(self, now: float) -> list[str]:
        self._unmarked, self._last_mark = False, now
        self.marks += 1
        name = f"m{self.marks}"
        self._audio.line.mark(name)
        return [self._writer.mark(name)]

    def _media(self, now: float) -> list[str]:
        audio = self._audio
        pcm = audio.take(self._full)
        samples = len(pcm) // SAMPLE_BYTES
        padding = -samples % self._unit
        timestamp_ms = self._line_samples * 1000 // audio.rate
        self._line_samples += samples + padding
        audio.line.add(samples, padding, now)
        self._next_media = now + (samples + padding) / audio.rate / FASTEST
        if self._muted:
            audio.moved()
            return []
        messages = [self._writer.media(self._encoded(pcm, padding), timestamp_ms)]
        self._unmarked = True
        if now - self._last_mark >= MARK_EVERY_S:
            messages += self._mark(now)
        audio.moved()
        return messages

    def _encoded(self, pcm: bytes, padding: int) -> bytes:
        if self._mu_law:
            coded = encode("PCMU", np.frombuffer(pcm, np.int16)).tobytes()
            return coded + bytes([SILENCE["PCMU"]]) * padding
        wired = as_on_wire(pcm)
        return wired + bytes(SAMPLE_BYTES * padding) if padding else wired


def as_on_wire(pcm: bytes) -> bytes:
    """16-bit samples from this order of bytes to that of the wire, little-endian, or back."""
    return pcm if sys.byteorder == "little" else np.frombuffer(pcm, np.int16).byteswap().tobytes()
