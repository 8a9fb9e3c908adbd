#!/usr/bin/env python3
"""Plays Exotel for many streams at once: one 20 ms message a stream and step, evenly spread.

    stream_load.py URL STREAMS SECONDS WARMUP

Each frame carries its number as the value of all its samples, so that an echo tells when its audio
left, however the server cut it. Prints one JSON object.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import struct
import sys
import time
from typing import Final

from common import percentile, run
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

STEP_S: Final = 0.02
SAMPLES: Final = 160
NUMBERS: Final = 30_000  # frames until the numbers begin anew: 10 minutes
LATE_S: Final = 0.03
GRACE_S: Final = 1.0  # for the last echoes
PAYLOAD: Final = b'"payload":"'
AT_ONCE: Final = 20  # connections that are being opened


class Stream(WSListener):
    """One stream. ``left`` holds when each of its latest frames left."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._left = [0.0] * NUMBERS
        self._number = 0
        self._returned = 0
        self.transport: WSTransport | None = None
        self._time = time.perf_counter

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        transport.send(WSMsgType.TEXT, b'{"event":"connected"}')
        transport.send(WSMsgType.TEXT, START)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != WSMsgType.TEXT:
            transport.disconnect()
            return
        data = frame.get_payload_as_bytes()
        at = data.find(PAYLOAD) + len(PAYLOAD)
        if at < len(PAYLOAD):
            if b'"mark"' in data:
                transport.send(WSMsgType.TEXT, data)
            return
        number = struct.unpack_from("<h", binascii.a2b_base64(data[at : at + 4]))[0]
        # What comes in the middle of a reframed message is seen only by its first sample.
        if number and number != self._returned:
            self._returned = number
            self._seen.returned(self._time(), self._left[number])

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.transport = None

    def speak(self) -> None:
        if self.transport is None:
            self._seen.broken += 1
            return
        self._number = self._number % (NUMBERS - 1) + 1
        self._left[self._number] = self._time()
        self._seen.sent(self._left[self._number])
        self.transport.send(WSMsgType.TEXT, FRAMES[self._number])


class Seen:
    """What counts: frames that left between ``begin`` and ``end``."""

    def __init__(self) -> None:
        self.begin = self.end = float("inf")
        self.count = self.broken = 0
        self.delays: list[float] = []
        self.lag = 0.0

    def sent(self, now: float) -> None:
        self.count += self.begin <= now < self.end

    def returned(self, now: float, left: float) -> None:
        if self.begin <= left < self.end:
            self.delays.append(now - left)


START: Final = json.dumps(
    {
        "event": "start",
        "sequence_number": 1,
        "stream_sid": "s1",
        "start": {
            "stream_sid": "s1",
            "call_sid": "c1",
            "account_sid": "a1",
            "from": "1",
            "to": "2",
            "media_format": {"encoding": "base64", "sample_rate": "8000", "bit_rate": "128kbps"},
        },
    }
).encode()


def message(number: int) -> bytes:
    payload = base64.b64encode(struct.pack("<h", number) * SAMPLES).decode()
    media = {"chunk": number, "timestamp": str(20 * number), "payload": payload}
    text = {"event": "media", "sequence_number": number, "stream_sid": "s1", "media": media}
    return json.dumps(text, separators=(",", ":")).encode()


FRAMES: list[bytes] = []


async def open_all(url: str, streams: int, seen: Seen) -> list[Stream]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one() -> Stream:
        async with gate:
            _, listener = await ws_connect(lambda: Stream(seen), url)
            assert isinstance(listener, Stream)
            return listener

    return list(await asyncio.gather(*(one() for _ in range(streams))))


async def play(url: str, streams: int, seconds: float, warmup: float) -> dict[str, float]:
    seen = Seen()
    everybody = await open_all(url, streams, seen)
    began = time.perf_counter() + 0.1  # finer than the clock of the loop
    seen.begin = began + warmup
    seen.end = seen.begin + seconds
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    turn, turns = 0, round((warmup + seconds) / STEP_S) * streams
    while turn < turns:
        due = began + turn * STEP_S / streams
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        elif due >= seen.begin:
            seen.lag = max(seen.lag, -wait)
        while turn < turns and began + turn * STEP_S / streams <= time.perf_counter():
            everybody[turn % streams].speak()
            turn += 1
        await asyncio.sleep(0)
    await asyncio.sleep(GRACE_S)
    for stream in everybody:
        if stream.transport is not None:
            stream.transport.disconnect(graceful=False)
    return {
        "sent": seen.count,
        "lost": seen.count - len(seen.delays),
        "broken": seen.broken,
        "late": sum(delay > LATE_S for delay in seen.delays),
        "delay_p50_ms": 1_000 * percentile(seen.delays, 0.5),
        "delay_p99_ms": 1_000 * percentile(seen.delays, 0.99),
        "delay_max_ms": 1_000 * max(seen.delays, default=0.0),
        "max_lag_ms": 1_000 * seen.lag,
    }


def main() -> None:
    url, streams, seconds, warmup = sys.argv[1:]
    steps = round((float(seconds) + float(warmup)) / STEP_S) + 2
    FRAMES.extend(message(number) for number in range(min(steps, NUMBERS)))
    report = run(play(url, int(streams), float(seconds), float(warmup)))
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
