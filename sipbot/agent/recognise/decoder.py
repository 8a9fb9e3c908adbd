"""One decoder: which phrase of a grammar was said in a piece of audio, and how surely.

The audio is decoded twice: along the grammar, and along a loop of all phones, which fits whatever
was said as well as the model can. Where the grammar fits nearly as well, its phrase was said; where
it fits worse, it was forced upon something else. The second pass is also what makes the measure
independent of voice, line and noise. The weights and the limit were fitted on four synthetic
voices; docs/benchmarks.md has the figures for others.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from math import exp, log
from typing import Any, Final, TypeAlias

import numpy as np

from sipbot.agent.recognise.lexicon import ADDED, model_folder
from sipbot.agent.recognise.phrases import grammar, parse, words_of

RATE: Final = 16_000  # Hz, of the model
MAX_GRAMMARS: Final = 64  # that are kept ready in a decoder
LIMIT: Final = 4.3  # of the misfit; what is above was not said
STEEPNESS: Final = 2.0  # of the confidence around the limit
LONG_WORD: Final = 12  # frames of 10 ms; the fit of shorter words says little
NOISE: Final = 20.0  # rms of what is added to all audio: the model knows no perfect silence
_SCALE: Final = 1e4  # of the library's scores
_LOOP: Final = "phones"

# Wide beams: the grammars are tiny, and with the usual ones good answers get lost on the way.
_BEAMS: Final = {"beam": 1e-60, "wbeam": 1e-40, "pbeam": 1e-60}


@dataclass(frozen=True, slots=True)
class Decoded:
    """The likeliest words, empty for none. ``confidence`` is 0 to 1; below 0.5 it was not them."""

    words: str
    confidence: float


@dataclass(frozen=True, slots=True)
class _Segment:
    """A word or phone on frames ``first`` to ``last``; ``cost`` is 0 for a perfect fit."""

    word: str
    first: int
    last: int
    cost: float

    @property
    def frames(self) -> int:
        return self.last - self.first + 1

    @property
    def spoken(self) -> bool:
        return self.word[0] not in "<[("


_Segments: TypeAlias = list[_Segment]


class Decoder:
    """Owns one pocketsphinx decoder: about 60 MB. Not for several threads at once."""

    def __init__(self) -> None:
        folder = model_folder()
        self._library: Any = import_module("pocketsphinx").Decoder(
            hmm=str(folder / "en-us"),
            dict=str(folder / "cmudict-en-us.dict"),
            lm=None,
            samprate=RATE,
            bestpath=False,
            loglevel="FATAL",
            **_BEAMS,
        )
        self._library.add_allphone_file(_LOOP, None)
        self._ready: OrderedDict[tuple[str, ...], str] = OrderedDict()
        self._added = 0
        self._words: dict[str, str] = {}
        for word, phones in ADDED.items():
            self._pronounce(word, phones)

    def prepare(self, patterns: Sequence[str], pronounced: Mapping[str, str]) -> str:
        """The search for these phrases, made unless it is there. Raises ``PhraseError``."""
        key = (*patterns, *(f"{word}={phones}" for word, phones in sorted(pronounced.items())))
        name = self._ready.get(key)
        if name is None:
            phrases = [parse(pattern) for pattern in patterns]
            for word in sorted(words_of(phrases)):
                if word in pronounced:
                    self._pronounce(word, pronounced[word])
            self._added += 1
            name = f"g{self._added}"
            self._library.add_jsgf_string(name, grammar(phrases))
            self._ready[key] = name
            while len(self._ready) > MAX_GRAMMARS:
                self._library.remove_search(self._ready.popitem(last=False)[1])
        self._ready.move_to_end(key)
        return name

    def decode(self, pcm: bytes, patterns: Sequence[str], pronounced: Mapping[str, str]) -> Decoded:
        """Decode one whole utterance of 16-bit samples at ``RATE``."""
        pcm = _with_noise(pcm)
        along = self._run(self.prepare(patterns, pronounced), pcm)
        words = [one for one in along if one.spoken]
        if not words:
            return Decoded("", 0.0)
        misfit = _misfit(along, words, self._run(_LOOP, pcm))
        confidence = 1 / (1 + exp(min(STEEPNESS * (misfit - LIMIT), 50.0)))
        return Decoded(" ".join(one.word.partition("(")[0] for one in words), confidence)

    def _run(self, search: str, pcm: bytes) -> _Segments:
        library = self._library
        library.activate_search(search)
        library.start_utt()
        library.process_raw(pcm, full_utt=True)  # whole: its mean level is known from the start
        library.end_utt()
        if library.hyp() is None:
            return []
        return [
            _Segment(one.word, one.start_frame, one.end_frame, -_SCALE * log(one.ascore))
            for one in library.seg()
            if one.start_frame >= 0 and one.word != "(NULL)" and one.ascore > 0
        ]

    def _pronounce(self, word: str, phones: str) -> None:
        if self._words.get(word) == phones:
            return
        known = self._library.lookup_word(word)
        if known is None:
            self._library.add_word(word, phones, True)
        self._words[word] = phones


def _with_noise(pcm: bytes) -> bytes:
    samples = np.frombuffer(pcm, "<i2").astype(np.float64)
    samples += np.random.default_rng(1).normal(0, NOISE, len(samples))  # the same every time
    return np.clip(np.rint(samples), -32_768, 32_767).astype("<i2").tobytes()


def _misfit(along: _Segments, words: _Segments, loop: _Segments) -> float:
    """How much worse the phrase fits than the loop does; about 2 to 3.5 for what was said."""
    frames = sum(one.frames for one in words)
    free = max(sum(_cost_between(loop, one) for one in words) / frames, 1e-6)
    ratio = sum(one.cost for one in words) / frames / free
    excess = [
        (one.cost - _cost_between(loop, one)) / one.frames
        for one in words
        if one.frames > LONG_WORD
    ]
    worst = max(excess) / free if excess else ratio - 1
    pauses = sum(
        one.word == "<sil>" and words[0].last < one.first and one.last < words[-1].first
        for one in along
    )
    return ratio + 0.5 * worst + pauses


def _cost_between(loop: _Segments, span: _Segment) -> float:
    """Cost of the loop on the frames of ``span``."""
    total = 0.0
    for one in loop:
        shared = min(one.last, span.last) - max(one.first, span.first) + 1
        if shared > 0:
            total += one.cost * shared / one.frames
    return total
