"""What the tests of providers share."""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import TypeVar

import numpy as np

from sipbot.agent.ports import Delta, TextDelta
from sipbot.agent.providers.http import HttpService
from sipbot.agent.providers.patience import Patience
from sipbot.call.leg import Pcm
from sipbot.call.speech import SpeechChunk

KEY = "sk-very-secret"
# No waits between attempts, and so much time that only a server that hangs runs out of it.
QUICK = Patience(connect_s=5.0, first_s=20.0, between_s=20.0, wait_s=0.0, longest_wait_s=0.0)
HASTY = Patience(connect_s=5.0, first_s=0.3, between_s=0.3, attempts=1, wait_s=0.0)

OPEN: list[HttpService] = []  # closed after each test

T = TypeVar("T")


def service(url: str, patience: Patience = QUICK) -> HttpService:
    OPEN.append(HttpService("openai", url, {"Authorization": f"Bearer {KEY}"}, patience))
    return OPEN[-1]


async def all_of(pieces: AsyncIterable[T]) -> list[T]:
    return [piece async for piece in pieces]


def text_of(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))


def samples_of(chunks: list[SpeechChunk]) -> Pcm:
    return np.concatenate([chunk.pcm for chunk in chunks])


def ramp(samples: int = 5_000) -> Pcm:
    """Samples that differ, so that none can be lost or swapped unseen."""
    return (np.arange(samples) * 7 % 30_000 - 15_000).astype(np.int16)
