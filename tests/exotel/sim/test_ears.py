"""What the caller hears, on the audio's own time line."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from sipbot.exotel.sim.ears import Deaf, Ears, Sound
from sipbot.testing import tone, virtual_time


def silence(ms: int) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return np.zeros(8 * ms, np.int16)


def heard(*pieces: tuple[int, int]) -> Ears:
    ears = Ears(8_000)
    for quiet, loud in pieces:
        ears.feed(silence(quiet))
        ears.feed(tone(loud))
    return ears


@virtual_time
async def test_sounds_have_beginnings_and_ends() -> None:
    ears = heard((100, 200), (20, 100), (300, 20), (300, 100))
    assert ears.position == 1140
    # a gap of 20 ms is none, and 20 ms of sound are a click
    assert ears.sounds == [Sound(100, 420), Sound(1040, 1140)]
    assert ears.sound_ms == 420


@virtual_time
async def test_first_sound_and_first_silence() -> None:
    ears = heard((100, 200), (400, 100), (0, 0))
    assert ears.first_sound(0) == 100
    assert ears.first_sound(150) == 150  # going on
    assert ears.first_sound(300) == 700
    assert ears.first_sound(800) is None
    assert ears.first_silence(0, 50) == 0
    assert ears.first_silence(0, 150) == 300
    assert ears.first_silence(350, 300) == 350
    assert ears.first_silence(350, 400) is None
    ears.feed(silence(500))
    assert ears.first_silence(350, 400) == 800


@virtual_time
async def test_waiting_ends_by_success_limit_or_the_line() -> None:
    ears = Ears(8_000)

    async def feed() -> None:
        for _ in range(20):
            await asyncio.sleep(0.02)
            ears.feed(silence(20))
        ears.feed(tone(100))
        await asyncio.sleep(1)
        ears.close()

    feeding = asyncio.create_task(feed())
    assert await ears.until(lambda: ears.first_sound(0), 100) is None
    assert 100 <= ears.position < 140
    assert await ears.until(lambda: ears.first_sound(0), 1_000) == 400
    with pytest.raises(Deaf):
        await ears.until(lambda: None, 10_000)
    await feeding
