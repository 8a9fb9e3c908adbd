"""Agents of the benchmarks: one that works on each frame, and some that misbehave on purpose."""

from __future__ import annotations

import asyncio
import os
import time

import numpy as np
from numpy.typing import NDArray

from sipbot.agent.echo import EchoAgent
from sipbot.call.call import Call
from sipbot.call.leg import Pcm

RATE = 8_000  # Hz
_BAND = slice(6, 68)  # bins of a 160-point spectrum: 300 to 3400 Hz
_WINDOW: NDArray[np.float32] = np.hanning(160).astype(np.float32)
LEAK_BYTES = 20_000_000  # each turn
TURN_S = 0.05


class Vad(EchoAgent):
    """Echo, after the work of a simple voice detector on each frame: level, crossings, spectrum."""

    async def run(self, call: Call) -> None:
        noise, voiced = 1.0, 0
        async for frame in call.audio(RATE):
            loud, noise = _is_speech(frame, noise)
            voiced = voiced + 1 if loud else 0
            if call.waiting_ms <= 40:
                await call.play(frame, RATE)


def _is_speech(frame: Pcm, noise: float) -> tuple[bool, float]:
    """Whether it may be speech, and how loud the noise is by now."""
    samples = frame.astype(np.float32)
    level = float(np.sqrt(samples @ samples / len(samples)))
    crossings = np.count_nonzero(np.signbit(samples[1:]) != np.signbit(samples[:-1]))
    spectrum = np.abs(np.fft.rfft(samples * _WINDOW))
    share = float(spectrum[_BAND].sum() / (spectrum.sum() + 1.0))
    noise = min(level, 0.995 * noise + 0.005 * level)
    return level > 3 * noise and crossings < 80 and share > 0.5, noise


class Placed:
    """Writes down which process has the call, then does what its subclass does."""

    def __init__(self, file: str) -> None:
        self._file = file

    async def run(self, call: Call) -> None:
        note = f"{call.caller} {os.getpid()} {time.monotonic()}\n".encode()
        descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, note)
        os.close(descriptor)
        await self.behave(call)

    async def behave(self, call: Call) -> None:
        await EchoAgent().run(call)


class Blocks(Placed):
    """Lets nobody else in its process run for one second."""

    async def behave(self, call: Call) -> None:
        time.sleep(1.0)  # noqa: ASYNC251 - that is the point


class Raises(Placed):
    async def behave(self, call: Call) -> None:
        raise RuntimeError("on purpose")


class Leaks(Placed):
    """Fills its memory until somebody stops it."""

    async def behave(self, call: Call) -> None:
        kept: list[bytes] = []
        while True:
            kept.append(os.urandom(1_000) * (LEAK_BYTES // 1_000))
            await asyncio.sleep(TURN_S)
