"""Records messages of callers into WAV files."""

from __future__ import annotations

import asyncio
import secrets
import time
import wave
from pathlib import Path
from typing import Final

import numpy as np

from sipbot.agent.keys import KeyReader
from sipbot.call.call import Call
from sipbot.call.events import CallEnded
from sipbot.call.leg import Pcm
from sipbot.call.level import SpeechGate

RATE: Final = 8_000  # Hz
BEEP_HZ: Final = 1_000.0
BEEP_MS: Final = 300
BEEP_LEVEL: Final = 6_000  # peak, of 32,767
FRAMES_A_SECOND: Final = 50


def beep() -> Pcm:
    """The tone after which callers speak."""
    samples = np.arange(RATE * BEEP_MS // 1000)
    tone: Pcm = np.rint(BEEP_LEVEL * np.sin(2 * np.pi * BEEP_HZ * samples / RATE)).astype(np.int16)
    return tone


async def record(call: Call, keys: KeyReader, max_s: float, silence_s: float) -> tuple[Pcm, bool]:
    """The caller's message, and whether there was speech in it.

    It ends with a key, with ``silence_s`` without speech, after ``max_s``, or with the call.
    """
    frames: list[Pcm] = []
    gate = SpeechGate(RATE, hangover_ms=200)
    spoken, quiet = False, 0
    pressing = asyncio.create_task(_key(keys, max_s + silence_s), name="end of the message")
    try:
        async for frame in call.audio(RATE):
            frames.append(frame)
            gate.push(frame)
            spoken = spoken or gate.speaking
            quiet = 0 if gate.speaking else quiet + 1
            long = len(frames) >= max_s * FRAMES_A_SECOND
            if long or quiet >= silence_s * FRAMES_A_SECOND or pressing.done():
                break
    finally:
        pressing.cancel()
        await asyncio.wait({pressing})
    kept = frames[: len(frames) - quiet + FRAMES_A_SECOND // 2] if quiet else frames
    return (np.concatenate(kept) if kept else np.zeros(0, np.int16)), spoken


async def keep(pcm: Pcm, folder: Path, most: int) -> str | None:
    """Write a message; returns the name of its file, or None when ``most`` are there already.

    Raises OSError.
    """
    return await asyncio.to_thread(_write, pcm, folder, most)


async def _key(keys: KeyReader, timeout_s: float) -> None:
    try:
        await keys.key(timeout_s)
    except CallEnded:
        return


def _write(pcm: Pcm, folder: Path, most: int) -> str | None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if sum(1 for _ in folder.glob("*.wav")) >= most:
        return None
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    path = folder / f"{stamp}-{secrets.token_hex(4)}.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(pcm.astype("<i2").tobytes())
    path.chmod(0o600)
    return path.name
