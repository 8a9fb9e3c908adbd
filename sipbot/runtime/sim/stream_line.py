"""A talk over a WebSocket: Exotel's Voicebot and Stream applets, played in real time."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import numpy as np

from sipbot.call.leg import Pcm
from sipbot.errors import TransportError
from sipbot.exotel.sim.ears import Ears
from sipbot.exotel.sim.facts import CallState, StreamOutcome, custom_parameters
from sipbot.exotel.sim.line import EndedBy
from sipbot.exotel.sim.messages import (
    BotClear,
    BotMark,
    BotMedia,
    ExotelWriter,
    Parties,
    read_bot,
)
from sipbot.exotel.sim.model import StreamManner
from sipbot.exotel.sim.playback import PlayQueue
from sipbot.runtime.sim.socket import ClientSocket, open_socket

TICK_MS: Final = 20  # what the caller hears at a time
KEY_STEP_S: Final = 0.2  # seconds from key to key
THROTTLED: Final = "Streaming_call_throttled"
_ORDERLY: Final = frozenset({1000, 1001, 1005})  # close codes that are no failure


class StreamLine:
    """Implements ``Line``. ``outcome`` is what Passthru will be told.

    With ``listen_only`` it is a Stream applet's: audio goes out, and what the bot sends is ignored.
    """

    def __init__(
        self,
        url: str,
        manner: StreamManner,
        state: CallState,
        faults: Callable[[str], None],
        *,
        listen_only: bool = False,
    ) -> None:
        self.ears = Ears(manner.rate)
        self.outcome = StreamOutcome(stream_sid=secrets.token_hex(16), url=_public(url))
        self.messages = self.marks = self.clears = self.close_code = 0
        self._url, self._manner, self._faults = url, manner, faults
        self._listen_only = listen_only
        facts = state.facts
        self._sip_headers = facts.sip_headers
        parties = Parties(
            self.outcome.stream_sid, state.call_sid, facts.account_sid, facts.from_, facts.to
        )
        self._writer = ExotelWriter(manner, parties)
        self._queue = PlayQueue(manner.rate)
        self._speech: Pcm = np.zeros(0, np.int16)  # of the caller, not yet sent
        self._spoken = asyncio.Event()  # nothing of it is left
        self._spoken.set()
        self._ended_by: EndedBy | None = None
        self._ticks: asyncio.Task[None] | None = None
        self._socket = ClientSocket(self._on_text, self._on_closed)
        self._began = 0.0

    @property
    def rate(self) -> int:
        return self._manner.rate

    @property
    def ended_by(self) -> EndedBy | None:
        return self._ended_by

    async def open(self, *, insecure: bool = False) -> bool:
        """Connect, as often as Exotel would; False when that failed, as ``outcome`` then says."""
        if self._manner.throttled:
            self.outcome.status, self.outcome.detailed_status = "failed", THROTTLED
            return False
        limit = self._manner.connect_within_s
        for attempt in range(self._manner.retries + 1):
            try:
                await open_socket(self._url, self._socket, timeout_s=limit, insecure=insecure)
            except TransportError as error:
                self.outcome.status, self.outcome.error = "failed", str(error)
                if attempt < self._manner.retries:
                    self._socket = ClientSocket(self._on_text, self._on_closed)
            else:
                self.outcome.status, self.outcome.error = "completed", ""
                self._start()
                return True
        return False

    async def speak(self, pcm: Pcm) -> None:
        if self._ended_by is None and len(pcm):
            self._speech = np.concatenate((self._speech, pcm))
            self._spoken.clear()
            await self._spoken.wait()

    async def press(self, keys: str) -> None:
        for index, key in enumerate(keys):
            if index:
                await asyncio.sleep(KEY_STEP_S)
            self._send(self._writer.dtmf(key))

    async def hold(self, on: bool) -> bool:
        return False

    async def hang_up(self) -> None:
        """The caller leaves: ``stop``, then the close of the socket."""
        await self._finish("callended")

    async def stop(self) -> None:
        """The applet ends it while the call goes on."""
        await self._finish("stopped")

    async def close(self) -> None:
        """Let go of everything, whatever the state."""
        await self._finish("callended")
        if self._ticks is not None:
            self._ticks.cancel()
            await asyncio.wait({self._ticks})
            with suppress(asyncio.CancelledError):
                self._ticks.result()  # a fault of ours shows here

    def details(self) -> dict[str, int | str]:
        """For the report."""
        return {
            "rate": self.rate,
            "messages": self.messages,
            "marks": self.marks,
            "clears": self.clears,
            "messages_cleared": self._queue.dropped,
            "close_code": self.close_code,
        }

    def _start(self) -> None:
        self._began = asyncio.get_running_loop().time()
        self._send(self._writer.connected())
        self._send(self._writer.start(custom_parameters(self._url, self._sip_headers)))
        self._ticks = asyncio.create_task(self._run())

    async def _run(self) -> None:
        """Real time, in steps of 20 ms: the caller speaks and hears; late steps are made up for."""
        loop = asyncio.get_running_loop()
        frame = self.rate * TICK_MS // 1000
        size = self.rate * self._manner.cadence_ms // 1000
        step, outgoing = 0, np.zeros(0, np.int16)
        while self._ended_by is None:
            step += 1
            await asyncio.sleep(self._began + step * TICK_MS / 1000 - loop.time())
            heard, marks = self._queue.take(frame)
            self.ears.feed(heard)
            for name in marks:
                self._send(self._writer.mark(name))
            outgoing = np.concatenate((outgoing, self._said(frame)))
            if len(outgoing) >= size:
                sent_ms = step * TICK_MS - self._manner.cadence_ms
                self._send(self._writer.media(outgoing.astype("<i2").tobytes(), sent_ms))
                outgoing = np.zeros(0, np.int16)

    def _said(self, samples: int) -> Pcm:
        """The caller's next samples; a caller who says nothing is silence."""
        part, self._speech = self._speech[:samples], self._speech[samples:]
        if not len(self._speech):
            self._spoken.set()
        return np.concatenate((part, np.zeros(samples - len(part), np.int16)))

    def _on_text(self, text: bytes) -> None:
        self.messages += 1
        if self._listen_only:
            self._faults("a stream that only listens gets messages of the bot")
            return
        message, faults = read_bot(text)
        for fault in faults:
            self._faults(fault)
        match message:
            case BotMedia(audio=audio):
                self._queue.media(audio)
            case BotMark(name=name):
                self.marks += 1
                self._queue.mark(name)
            case BotClear():
                self.clears += 1
                self._queue.clear()

    def _on_closed(self, code: int, theirs: bool) -> None:
        if self._ended_by is not None:
            return
        self.close_code = code
        self.outcome.disconnected_by = "bot" if theirs else "user"
        if theirs and code not in _ORDERLY:
            self.outcome.status, self.outcome.error = "failed", f"ws closed {code}"
        self._over("bot" if theirs and code in _ORDERLY else "network")

    async def _finish(self, reason: str) -> None:
        if self._ended_by is not None or self._ticks is None:
            return
        self._send(self._writer.stop(reason))
        self.outcome.disconnected_by = "user"
        self._over("caller")
        await self._socket.close()

    def _over(self, by: EndedBy) -> None:
        seconds = asyncio.get_running_loop().time() - self._began
        self.outcome.duration_s = round(seconds)
        self._ended_by = by
        self._spoken.set()
        self.ears.close()

    def _send(self, text: str) -> None:
        if self._ended_by is None:
            self._socket.send(text)


def _public(url: str) -> str:
    """The URL without user and password."""
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"
