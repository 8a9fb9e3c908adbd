"""What callers sound like: speech by espeak, noise, a crowd, coughs."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Final

import numpy as np

from sipbot.agent.listening.silero import SileroModel
from sipbot.agent.providers.espeak import EspeakSynthesizer
from sipbot.call.leg import Pcm
from sipbot.call.resample import Resampler

SECOND: Final = 8_000  # samples


@cache
def model() -> SileroModel:
    return SileroModel(8_000)


@cache
def spoken(text: str) -> Pcm:
    """A text as espeak says it, at 8 kHz, from its first sound to its last."""

    async def made() -> Pcm:
        chunks = [chunk async for chunk in EspeakSynthesizer().synthesize(text)]
        resampler = Resampler(chunks[0].rate, 8_000)
        return np.concatenate([*(resampler.push(chunk.pcm) for chunk in chunks), resampler.flush()])

    with ThreadPoolExecutor(1) as thread:  # a loop of its own: tests may have one already
        pcm = thread.submit(lambda: asyncio.run(made())).result()
    loud = np.flatnonzero(np.abs(pcm) > 300)
    speech: Pcm = pcm[loud[0] : loud[-1]]
    return speech


def silence(seconds: float) -> Pcm:
    return np.zeros(round(seconds * SECOND), np.int16)


def noisy(pcm: Pcm, level: float) -> Pcm:
    noise = np.random.default_rng(7).normal(0, level, len(pcm))
    clipped: Pcm = np.clip(pcm + noise, -32_768, 32_767).astype(np.int16)
    return clipped


def crowd(samples: int) -> Pcm:
    """Eight people who talk at once."""
    lines = ("the weather is fine", "have you seen the match", "one more coffee for me", "really")
    voices = [np.resize(spoken(line), samples) for line in (*lines, *lines)]
    shifted = [np.roll(voice, 3_700 * number) // 8 for number, voice in enumerate(voices)]
    summed: Pcm = np.sum(shifted, axis=0).astype(np.int16)
    return summed


def level(pcm: Pcm) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(pcm, dtype=np.float64))))


def cough(seed: int) -> Pcm:
    """One or two bursts of noise, each a quarter of a second, that fade."""
    random = np.random.default_rng(seed)
    parts = []
    for _ in range(1 + seed % 2):
        burst = random.normal(0, 1, 2_000)
        burst = np.convolve(burst, np.ones(2 + seed % 5) / 3, "same")
        parts += [burst * np.exp(-np.arange(2_000) / 500), np.zeros(800)]
    whole = np.concatenate(parts)
    coughed: Pcm = (whole / np.abs(whole).max() * 16_000).astype(np.int16)
    return coughed
