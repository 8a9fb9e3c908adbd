#!/usr/bin/env python3
"""Turns: how fast a voice agent answers and stops, measured on the wire.

    scripts/bench/turns.py                      1 and 50 conversations over SIP
    scripts/bench/turns.py --conversations 20 --turns 8 --json

Each conversation is a SIP call that sends speech (espeak, A-law) and listens to the RTP that comes
back. Recogniser, language model and voice have known delays (150, 200 and 100 ms); voice activity
and end of speech are the real ones. "turn" is from the caller's last sound to the first packet with
sound of the bot, "over" what is left of it without the hold of 500 ms and the three delays (the
recogniser works during the hold, so that it may be less than nothing). "stop" is from the caller's
first sound to the last packet with sound of the bot. "late" counts packets of the bot that came
more than 40 ms after the one before, and "lag" is how late the generator itself was at worst.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import secrets
import socket
import struct
import sys
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
from bench_voice import HOLD_MS, LLM_S, STT_S, TTS_S
from common import HOST, REPO, cpu_s, percentile, run, say, show, sipbot
from sip_peer import Peer

sys.path.insert(0, str(REPO))

from sipbot.agent.providers.espeak import EspeakSynthesizer
from sipbot.call.resample import Resampler
from sipbot.rtp.g711 import decode, encode

RATE: Final = 8_000  # Hz
FRAME: Final = 160  # samples of 20 ms
LOUD: Final = 700  # peak from which a frame is sound
SILENT_S: Final = 0.2  # without sound, the bot has stopped
LISTEN_S: Final = 1.5  # that the caller listens before they interrupt
GIVE_UP_S: Final = 6.0
TEXTS: Final = ("I would like an appointment", "no, tell me about prices", "when do you open today")
DUE_MS: Final = HOLD_MS + 1_000 * (STT_S + LLM_S + TTS_S)

Packet: TypeAlias = tuple[bytes, bool]  # a payload, and whether it is sound
_IS_LOUD: Final = np.abs(decode("PCMA", bytes(range(256))).astype(np.int32)) >= LOUD
_SILENCE: Final[Packet] = (encode("PCMA", np.zeros(FRAME, np.int16)).tobytes(), False)


@dataclass(slots=True, eq=False)
class Line(asyncio.DatagramProtocol):
    """One caller: sends frames, knows when the bot was heard last and first."""

    speech: list[list[Packet]]
    now: Any
    to: tuple[str, int] = (HOST, 0)
    sock: asyncio.DatagramTransport | None = None
    queue: list[Packet] = field(default_factory=list)
    sent_loud: float = 0.0  # when the last frame with sound left
    first_loud: float = 0.0  # when the first of what is being said did
    heard_first: float = 0.0  # sound of the bot, the first since ``forget``
    heard_last: float = 0.0
    packet_at: float = 0.0
    late: int = 0
    sequence: int = 0
    source: int = field(default_factory=lambda: secrets.randbits(32))

    def connection_made(self, transport: Any) -> None:
        self.sock = transport

    def datagram_received(self, data: bytes, addr: object) -> None:
        now = self.now()
        if self.packet_at and now - self.packet_at > 0.04:
            self.late += 1
        self.packet_at = now
        if _IS_LOUD[np.frombuffer(data, np.uint8, offset=12)].any():
            self.heard_first = self.heard_first or now
            self.heard_last = now

    def tick(self) -> None:
        """Send 20 ms."""
        payload, loud = self.queue.pop(0) if self.queue else _SILENCE
        head = struct.pack(
            "!BBHII",
            0x80,
            8,
            self.sequence & 0xFFFF,
            self.sequence * FRAME & 0xFFFFFFFF,
            self.source,
        )
        self.sequence += 1
        if self.sock is not None:
            self.sock.sendto(head + payload, self.to)
        if loud:
            self.sent_loud = self.now()
            self.first_loud = self.first_loud or self.sent_loud

    def say(self, speech: list[Packet]) -> None:
        self.first_loud = 0.0
        self.queue += speech

    def forget(self) -> None:
        self.heard_first = 0.0


@dataclass(slots=True)
class Figures:
    turns: list[float] = field(default_factory=list)  # ms
    stops: list[float] = field(default_factory=list)  # ms
    missed: int = 0


async def converse(line: Line, turns: int, figures: Figures) -> None:
    """Ask, listen a little, interrupt with the next question, and so on."""
    now = line.now
    for turn in range(turns):
        line.say(line.speech[turn % len(line.speech)])
        if turn:
            await _until(lambda: line.first_loud > 0, now)
            began = line.first_loud
            await _until(lambda: now() - line.heard_last > SILENT_S or not line.queue, now)
            if now() - line.heard_last > SILENT_S:
                figures.stops.append((line.heard_last - began) * 1000)
            else:
                figures.missed += 1
        await _until(lambda: not line.queue, now)
        line.forget()
        if not await _until(lambda: line.heard_first > 0, now):
            figures.missed += 1
            continue
        figures.turns.append((line.heard_first - line.sent_loud) * 1000)
        await asyncio.sleep(LISTEN_S)


async def _until(true: Any, now: Any) -> bool:
    limit = now() + GIVE_UP_S
    while not true():
        if now() > limit:
            return False
        await asyncio.sleep(0.02)  # moments are taken where packets come and go
    return True


async def pace(lines: list[Line], lag: list[float]) -> None:
    """Every line sends each 20 ms, the lines spread over them."""
    loop = asyncio.get_running_loop()
    began, steps = loop.time(), 10
    for tick in range(10**9):
        due = began + tick * 0.02 / steps
        await asyncio.sleep(due - loop.time())
        lag[0] = max(lag[0], loop.time() - due)
        for line in lines[tick % steps :: steps]:
            line.tick()


async def spoken() -> list[list[Packet]]:
    """The caller's sentences as payloads."""
    made = []
    for text in TEXTS:
        chunks = [chunk async for chunk in EspeakSynthesizer().synthesize(text)]
        resampler = Resampler(chunks[0].rate, RATE)
        parts = [*(resampler.push(chunk.pcm) for chunk in chunks), resampler.flush()]
        wire = encode("PCMA", np.concatenate(parts))
        frames = [wire[at : at + FRAME] for at in range(0, len(wire) - FRAME, FRAME)]
        made.append([(frame.tobytes(), bool(_IS_LOUD[frame].any())) for frame in frames])
    return made


async def measure(conversations: int, options: argparse.Namespace) -> dict[str, Any]:
    loop, speech = asyncio.get_running_loop(), await spoken()
    lines, figures, lag = list[Line](), Figures(), [0.0]
    agents = {"voice": {"type": "python", "entry": "bench_voice:make"}}
    with sipbot(1, conversations + 5, agents) as bot:
        async with Peer(bot.address) as peer:
            for _ in range(conversations):
                line = Line(speech, loop.time)
                sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                sock.bind((HOST, 0))
                await loop.create_datagram_endpoint(lambda line=line: line, sock=sock)
                call = await peer.dial("voice", media_port=sock.getsockname()[1])
                if call.status != 200:
                    raise SystemExit(f"a call was answered with {call.status}")
                line.to = (HOST, call.media_port)
                lines.append(line)
            pacer = asyncio.ensure_future(pace(lines, lag))
            await asyncio.sleep(1.0)
            lag[0] = 0.0
            before, since = cpu_s(bot.pids), loop.time()
            for line in lines:
                line.late = 0
            talks = []
            for line in lines:
                talks.append(asyncio.ensure_future(converse(line, options.turns, figures)))
                await asyncio.sleep(3.0 / conversations)
            await asyncio.gather(*talks)
            used = (cpu_s(bot.pids) - before) / (loop.time() - since)
            pacer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await pacer
    return {
        "calls": conversations,
        "turns": len(figures.turns),
        "missed": figures.missed,
        "turn p50": round(percentile(figures.turns, 0.5)),
        "p95": round(percentile(figures.turns, 0.95)),
        "over p50": round(percentile(figures.turns, 0.5) - DUE_MS),
        "over p95": round(percentile(figures.turns, 0.95) - DUE_MS),
        "stop p50": round(percentile(figures.stops, 0.5)),
        "stop p95": round(percentile(figures.stops, 0.95)),
        "late": sum(line.late for line in lines),
        "lag": round(lag[0] * 1000),
        "cpu %": round(100 * used / conversations, 2),
    }


async def all_rows(options: argparse.Namespace) -> list[dict[str, Any]]:
    rows = []
    for conversations in options.conversations:
        say(f"{conversations} conversations")
        rows.append(await measure(conversations, options))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--conversations", type=int, nargs="+", default=[1, 50])
    parser.add_argument("--turns", type=int, default=8, help="turns of each conversation")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    show(run(all_rows(options)), options.json)


if __name__ == "__main__":
    main()
