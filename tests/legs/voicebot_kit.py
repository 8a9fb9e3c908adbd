"""Exotel in memory: a socket whose other end plays what it gets, in virtual time."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from sipbot.call.leg import Pcm
from sipbot.exotel.wire import Start, parse
from sipbot.legs.sip import LegState
from sipbot.legs.voicebot import REJECTED, VoicebotLeg, VoicebotSettings
from sipbot.legs.voicebot_info import stream_info, stream_rate
from sipbot.legs.voicebot_sending import Pace, SocketUser
from sipbot.rtp.g711 import decode, encode

START: dict[str, Any] = {
    "event": "start",
    "sequence_number": 1,
    "stream_sid": "s1",
    "start": {
        "stream_sid": "s1",
        "call_sid": "c1",
        "account_sid": "a1",
        "from": "09812345678",
        "to": "08064061518",
        "custom_parameters": {"product": "radio"},
        "media_format": {"encoding": "base64", "sample_rate": "8000", "bit_rate": "128kbps"},
    },
}


def start_message(rate: int = 8_000, encoding: str = "base64") -> dict[str, Any]:
    message: dict[str, Any] = json.loads(json.dumps(START))
    message["start"]["media_format"] = {"encoding": encoding, "sample_rate": str(rate)}
    return message


@dataclass
class Played:
    """One message in the peer's queue: loop times, samples, and marks to be returned at its end."""

    start: float
    end: float
    pcm: Pcm


class MemorySocket:
    """Implements ``StreamSocket``, and plays Exotel on its other side.

    With ``marks`` off none comes back; ``delay_s`` delays their return; with ``stuck`` set nothing
    is accepted from us.
    """

    def __init__(self, rate: int, mu_law: bool) -> None:
        self.rate, self.mu_law = rate, mu_law
        self.marks, self.delay_s, self.stuck = True, 0.0, False
        self.sent: list[tuple[float, dict[str, Any]]] = []  # what we sent, by loop time
        self.closed: tuple[int, str] | None = None  # as we closed it
        self.aborted = False
        self.queue: asyncio.Queue[str | int] = asyncio.Queue()
        self.played: list[Played] = []
        self._over: int | None = None
        self._loop = asyncio.get_running_loop()

    # Our side

    def attach(self, user: SocketUser) -> None:
        self.user = user
        self._reading = self._loop.create_task(self._deliver(user))

    async def _deliver(self, user: SocketUser) -> None:
        while True:
            message = await self.queue.get()
            if isinstance(message, int):
                self._over = message
                user.on_closed(message)
                return
            user.on_message(message)

    @property
    def congested(self) -> bool:
        return self.stuck

    def send(self, text: str) -> None:
        if self._over is not None or self.closed is not None:
            return
        message = json.loads(text)
        self.sent.append((self._loop.time(), message))
        match message["event"]:
            case "media":
                self._play(base64.b64decode(message["media"]["payload"]))
            case "mark":
                self._return(text)
            case "clear":
                now = self._loop.time()
                self.played = [one for one in self.played if one.start <= now]

    async def close(self, code: int, reason: str) -> None:
        self._reading.cancel()
        if self.stuck:
            await self._loop.create_future()
        if self._over is None and self.closed is None:
            self.closed = (code, reason)

    def abort(self) -> None:
        self.aborted = True

    # Exotel's side

    def says(self, **message: Any) -> None:
        self.queue.put_nowait(json.dumps(message))

    def media(self, pcm: Pcm) -> None:
        data = encode("PCMU", pcm) if self.mu_law else pcm.astype("<i2")
        payload = base64.b64encode(data.tobytes()).decode()
        self.says(event="media", sequence_number=3, stream_sid="s1", media={"payload": payload})

    def events(self, name: str) -> list[tuple[float, dict[str, Any]]]:
        return [(at, message) for at, message in self.sent if message["event"] == name]

    def heard(self, since: float) -> Pcm:
        """What came out of the phone from ``since`` until now, silence included."""
        now = self._loop.time()
        line = np.zeros(max(round((now - since) * self.rate), 0), np.int16)
        for one in self.played:
            at = round((one.start - since) * self.rate)
            part = one.pcm[: max(len(line) - at, 0)]
            line[at : at + len(part)] = part
        return line

    def _play(self, payload: bytes) -> None:
        assert payload
        assert len(payload) % 320 == 0
        pcm = decode("PCMU", payload) if self.mu_law else np.frombuffer(payload, "<i2")
        start = max(self._loop.time(), self.played[-1].end if self.played else 0.0)
        self.played.append(Played(start, start + len(pcm) / self.rate, np.array(pcm, np.int16)))

    def _return(self, text: str) -> None:
        if self.marks:
            end = self.played[-1].end if self.played else 0.0
            when = max(end, self._loop.time()) + self.delay_s
            self._loop.call_at(when, self.queue.put_nowait, text)


class VoicebotHarness:
    """The contract's harness on virtual time; the peer speaks every ``cadence_ms``."""

    def __init__(
        self,
        rate: int = 8_000,
        *,
        message_bytes: int = 640,
        cadence_ms: int = 20,
        encoding: str = "base64",
        timeout_s: float = 30.0,
        listen_only: bool = False,
    ) -> None:
        start = parse(json.dumps(start_message(rate, encoding)))
        assert isinstance(start, Start)
        self.socket = MemorySocket(rate, start.encoding == "PCMU")
        info = stream_info(
            start, rate=stream_rate(start, {}), peer="x:1", trunk="voicebot", query={}, path=""
        )
        settings = VoicebotSettings(Pace(message_bytes, 0.1), timeout_s, listen_only)
        self.leg = VoicebotLeg(self.socket, start, info, rate, settings)
        self._cadence_s = cadence_ms / 1000
        self._speech: Pcm = np.zeros(0, np.int16)
        self.silent = False  # the peer sends nothing at all
        self._began = asyncio.get_running_loop().time()
        self._tasks = [
            asyncio.create_task(self.leg.carry()),
            asyncio.create_task(self._speak()),
        ]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def advance(self, ms: int) -> None:
        await asyncio.sleep(ms / 1000)

    async def peer_sends(self, pcm: Pcm) -> None:
        self._speech = np.concatenate((self._speech, pcm))

    def peer_heard(self) -> Pcm:
        return self.socket.heard(self._began)

    async def peer_presses(self, digit: str) -> None:
        self.socket.says(event="dtmf", stream_sid="s1", dtmf={"duration": "100", "digit": digit})

    async def peer_hangs_up(self) -> None:
        self.silent = True
        self.socket.says(event="stop", stream_sid="s1", stop={"reason": "callended"})
        self.socket.queue.put_nowait(1000)

    def peer_saw(self) -> list[str]:
        """Of ringing and answering the wire says nothing: the leg's own states stand for them."""
        names = {LegState.RINGING: "ringing", LegState.ANSWERED: "answered"}
        saw = [name for state, name in names.items() if self.leg.seconds(state, state) is not None]
        if self.socket.closed is not None:
            code = self.socket.closed[0]
            saw.append(f"rejected {code - REJECTED}" if code >= REJECTED else "ended")
        return saw

    async def _speak(self) -> None:
        loop = asyncio.get_running_loop()
        size = round(self._cadence_s * self.leg.audio.rate)
        due = loop.time()
        while True:
            due += self._cadence_s
            await asyncio.sleep(due - loop.time())
            if self.silent:
                continue
            part, self._speech = self._speech[:size], self._speech[size:]
            self.socket.media(np.concatenate((part, np.zeros(size - len(part), np.int16))))
