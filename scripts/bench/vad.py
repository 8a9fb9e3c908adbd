#!/usr/bin/env python3
"""Voice activity: what a window costs alone and in batches, and what a call costs.

    scripts/bench/vad.py                   batches of 1 to 128, then 100 calls for 10 seconds
    scripts/bench/vad.py --calls 200 --seconds 20 --json

First table: CPU of one window of 32 ms in the model, by the size of the batch. Second: 100 calls
whose frames of 20 ms come at five different moments, as from the media plane, through the whole
service (levels, noise floors, gate, model, endpointing). "talk" is the share of time in which
callers speak; "%" is CPU of one core for each call, the loop without voice activity subtracted.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from typing import Any, Final

import numpy as np
from common import REPO, run, show

sys.path.insert(0, str(REPO))

from sipbot.agent.listening.batch import VadBatch
from sipbot.agent.listening.endpointing import Endpointer
from sipbot.agent.listening.silero import (
    STATE_SIZE,
    SileroModel,
    context_size,
    window_size,
)
from sipbot.agent.listening.vad import VadService, VadWindow
from sipbot.agent.providers.espeak import EspeakSynthesizer
from sipbot.call.leg import Pcm
from sipbot.call.resample import Resampler

RATE: Final = 8_000  # Hz
FRAME: Final = RATE // 50  # samples of 20 ms
PHASES: Final = 5  # moments within 20 ms at which frames come
TEXT: Final = "I would like to book an appointment with the doctor for tomorrow morning please. "
SIZES: Final = (1, 8, 16, 32, 64, 128)


def batches(repeat: int = 100) -> list[dict[str, Any]]:
    """CPU of the model alone."""
    model, rows = SileroModel(RATE), []
    for size in SIZES:
        windows = np.zeros((size, window_size(RATE) + context_size(RATE)), np.float32)
        states = np.zeros((2, size, STATE_SIZE), np.float32)
        model.run(windows, states)
        began = time.process_time()
        for _ in range(repeat):
            model.run(windows, states)
        cost = (time.process_time() - began) / repeat / size
        rows.append({"batch": size, "us/window": round(cost * 1e6, 1)})
    return rows


async def speech() -> Pcm:
    chunks = [chunk async for chunk in EspeakSynthesizer().synthesize(TEXT)]
    resampler = Resampler(chunks[0].rate, RATE)
    return np.concatenate([*(resampler.push(chunk.pcm) for chunk in chunks), resampler.flush()])


def lines(spoken: Pcm, calls: int, seconds: float, talk: float) -> list[Pcm]:
    """One stream a call: noise, and speech for about ``talk`` of the time."""
    random = np.random.default_rng(3)
    length, cycle = int((seconds + 1) * RATE), int(len(spoken) / max(talk, 0.01))
    made = []
    for _ in range(calls):
        line = random.normal(0, 20, length + cycle)
        for at in range(0, len(line) if talk else 0, cycle):
            part = spoken[: len(line) - at]
            line[at : at + len(part)] += part
        first = int(random.integers(cycle))
        made.append(np.clip(line[first:], -32_768, 32_767).astype(np.int16))
    return made


async def serve(streams: list[Pcm], seconds: float, listen: bool) -> tuple[float, VadBatch]:
    """CPU seconds a second for all streams."""
    loop = asyncio.get_running_loop()
    service = VadService(RATE)
    ends = [Endpointer() for _ in streams]

    def hear(number: int) -> Any:
        def heard(window: VadWindow) -> None:
            ends[number].push(*window[:3], window.end / RATE)

        return heard

    open_lines = [service.open(hear(number)) for number in range(len(streams))]
    began, cpu, ticks = loop.time(), time.process_time(), int(seconds * 50 * PHASES)
    for tick in range(ticks):
        frame, phase = divmod(tick, PHASES)
        for number in range(phase, len(streams), PHASES):
            pcm = streams[number][frame * FRAME : (frame + 1) * FRAME]
            if listen:
                open_lines[number].push(pcm)
        await asyncio.sleep(began + (tick + 1) / 50 / PHASES - loop.time())
    used = (time.process_time() - cpu) / (loop.time() - began)
    for line in open_lines:
        line.close()
    return used, service.batch


async def calls(options: argparse.Namespace) -> list[dict[str, Any]]:
    spoken, rows = await speech(), []
    for talk in (0.0, 0.4, 1.0):
        streams = lines(spoken, options.calls, options.seconds, talk)
        idle, _ = await serve(streams, min(options.seconds, 5), listen=False)
        used, batch = await serve(streams, options.seconds, listen=True)
        windows = batch.judged + batch.skipped
        rows.append(
            {
                "calls": options.calls,
                "talk": talk,
                "windows": windows,
                "judged": batch.judged,
                "batch": round(batch.judged / max(batch.runs, 1), 1),
                "%": round(100 * (used - idle) / options.calls, 3),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    alone = batches()
    rows = run(calls(options))
    if options.json:
        show(rows, True, batches=alone)
    else:
        show(alone, False)
        print()
        show(rows, False)


if __name__ == "__main__":
    main()
