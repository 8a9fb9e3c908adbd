#!/usr/bin/env python3
"""How well the offline recogniser understands the reception: phrases, nonsense, time.

Speech is made by voices that nothing was tuned on, at 8 kHz, over G.711 A-law, with the noise of a
quiet line. Twenty phrasings of six intents must be told apart, twenty other sentences rejected.

    scripts/bench/recognise.py                       # flite's rms and slt (apt-get install flite)
    scripts/bench/recognise.py --voice espeak:en-gb-scotland --json figures.json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from sipbot.agent.flow import load_flow  # noqa: E402
from sipbot.agent.flow.model import Listen, ListenNode  # noqa: E402
from sipbot.agent.flow.questions import NO, YES, agrees, phrases_of, understand  # noqa: E402  # noqa: E402
from sipbot.agent.ports import ListenFor  # noqa: E402
from sipbot.agent.providers.espeak import EspeakSynthesizer, EspeakVoice  # noqa: E402
from sipbot.agent.recognise import OfflineRecogniser  # noqa: E402
from sipbot.call.leg import Pcm  # noqa: E402
from sipbot.call.resample import Resampler  # noqa: E402
from sipbot.call.wav import read_wav  # noqa: E402
from sipbot.rtp import g711  # noqa: E402

RATE = 8_000  # Hz of the line
PEAK = 8_000  # of the speech, of 32,767
NOISE = 20.0  # rms of the line's noise
PHRASINGS = {
    "appointments": [
        "appointments",
        "I would like to make an appointment",
        "can I book an appointment please",
        "I want to see the doctor",
    ],
    "visit": [
        "what are your opening hours",
        "when are you open",
        "where are you located",
        "what is your address",
    ],
    "person": [
        "I want to speak to a person",
        "speak to a person please",
        "can I talk to somebody",
        "operator",
    ],
    "again": ["please repeat that", "can you say that again", "once again please"],
    "yes": ["yes", "yes please", "that is right"],
    "no": ["no", "no thank you"],
}
NONSENSE = [
    "the train leaves from platform seven",
    "could you water the plants on Friday",
    "my neighbour has bought a new bicycle",
    "how far is it to the moon",
    "I am looking for a birthday present",
    "please send me the invoice by email",
    "where did you put the red umbrella",
    "two tickets for the evening show",
    "it has been raining since yesterday",
    "the battery of my telephone is empty",
    "which bus goes to the railway station",
    "chocolate",
    "elephant",
    "submarine",
    "my sister plays the violin",
    "turn left after the second bridge",
    "do you have this shirt in blue",
    "the kettle is boiling",
    "what is the capital of Australia",
    "we had soup and bread for lunch",
]


async def spoken(voice: str, text: str, noise: np.random.Generator) -> Pcm:
    """``text`` as it comes out of a telephone line, at ``RATE``."""
    kind, _, name = voice.partition(":")
    if kind == "flite":
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "speech.wav"
            command = ["flite", "-voice", name, "-t", text, "-o", str(path)]
            await asyncio.to_thread(subprocess.run, command, check=True)
            wav = read_wav(path)
            pcm, rate = wav.pcm, wav.rate
    else:
        synthesizer = EspeakSynthesizer(EspeakVoice(name))
        chunks = [chunk async for chunk in synthesizer.synthesize(text)]
        pcm, rate = np.concatenate([chunk.pcm for chunk in chunks]), chunks[0].rate
    resampler = Resampler(rate, RATE)
    pcm = np.concatenate((resampler.push(pcm), resampler.flush()))
    quiet = np.zeros(RATE * 3 // 10)
    line = np.concatenate((quiet, pcm * (PEAK / np.abs(pcm.astype(int)).max()), quiet))
    line += noise.normal(0, NOISE, len(line))
    return g711.decode("PCMA", g711.encode("PCMA", np.rint(line).astype(np.int16)))


def meaning(listen: Listen, text: str) -> str | None:
    """The intent of a transcript."""
    found = understand(listen, text).answer
    if found is None and (agreed := agrees(text)) is not None:
        return "yes" if agreed else "no"
    return found


async def measure(voices: list[str]) -> dict[str, object]:
    """All figures."""
    node = load_flow(ROOT / "config" / "flows" / "reception.yaml").file.nodes["reception"]
    assert isinstance(node, ListenNode)
    phrases = (*phrases_of(node.listen), YES, NO)
    recogniser, noise = OfflineRecogniser(), np.random.default_rng(7)
    await recogniser.warm(phrases)
    wrong: list[str] = []
    result: dict[str, object] = {}
    audio_s = decode_s = 0.0
    for voice in voices:
        right = rejected = 0
        cases = [(text, name) for name, texts in PHRASINGS.items() for text in texts]
        for text, name in [*cases, *((text, None) for text in NONSENSE)]:
            pcm = await spoken(voice, text, noise)
            async with recogniser.open(ListenFor(RATE, phrases=phrases, only=True)) as ear:
                await ear.push(pcm)
                began = time.perf_counter()
                await ear.finish_utterance()
                decode_s += time.perf_counter() - began
                audio_s += len(pcm) / RATE
                heard = await anext(aiter(ear.transcripts()))
            found = meaning(node.listen, heard.text)
            right += name is not None and found == name
            rejected += name is None and found is None
            if found != name:
                wrong.append(f"{voice}: {text!r} -> {found}")
        result[voice] = {
            "right": f"{right} of {len(cases)}",
            "rejected": f"{rejected} of {len(NONSENSE)}",
        }
    recogniser.close()
    return {**result, "real_time_factor": round(decode_s / audio_s, 3), "wrong": wrong}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--voice", action="append", help="flite:NAME or espeak:NAME")
    parser.add_argument("--json", type=Path, help="write the figures there")
    arguments = parser.parse_args()
    figures = asyncio.run(measure(arguments.voice or ["flite:rms", "flite:slt"]))
    text = json.dumps(figures, indent=2)
    print(text)
    if arguments.json is not None:
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
