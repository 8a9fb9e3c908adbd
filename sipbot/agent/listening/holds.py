"""How long to wait after somebody stopped speaking before the turn is taken: the hold.

What was said so far tells much: after "yes" nothing is to come, after "my number is nine eight" a
lot is. English and Hindi (in Latin letters and in Devanagari).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Protocol


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split("|"))


COMPLETE: Final = _set(
    "yes|no|yeah|yep|yup|nope|sure|okay|ok|right|correct|exactly|please|thanks|thank you|bye|"
    "goodbye|hello|hi|no thanks|yes please|no thank you|that's all|that is all|"
    "haan|han|haan ji|ji|ji haan|nahi|nahin|ji nahi|achha|accha|theek hai|thik hai|bas|namaste|"
    "हाँ|हां|जी|नहीं|अच्छा|ठीक है|बस|नमस्ते"
)
DANGLING: Final = _set(
    "and|but|or|so|because|um|uh|uhm|er|erm|hmm|the|a|an|my|your|his|her|their|to|of|for|with|at|"
    "in|on|from|about|if|when|that|is|are|was|i|we|it's|i'm|like|then|well|plus|"
    "aur|lekin|ya|par|ki|ka|ke|ko|se|mein|matlab|toh|mera|meri|"
    "और|लेकिन|या|पर|कि|का|की|के|को|से|में|मतलब|तो|मेरा|मेरी"
)
NUMBERS: Final = _set(
    "zero|oh|one|two|three|four|five|six|seven|eight|nine|double|triple|"
    "shunya|ek|do|teen|char|chaar|paanch|panch|chhe|saat|aath|nau|"
    "शून्य|एक|दो|तीन|चार|पाँच|पांच|छह|सात|आठ|नौ"
)
MIN_SPELLED: Final = 2  # numbers in a row from which somebody reads digits out
WHOLE_NUMBER: Final = 10  # digits of a telephone number: nothing more is to come

_WORDS: Final = re.compile(r"[^\s.,;:!?\u2026\u0964\"()\[\]\u2013\u2014-]+")  # of any script


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation."""
    return _WORDS.findall(text.casefold().replace("\u2019", "'"))


class HoldRule(Protocol):
    """Decides about the hold. A model that detects ends of turns fits in here."""

    def hold_ms(self, text: str, speech_ms: float) -> float:
        """Milliseconds from the end of speech until the turn is taken.

        ``text`` is what was understood so far, perhaps nothing; ``speech_ms`` how long it was
        spoken. Asked again with each new transcript; must answer at once.
        """
        ...


@dataclass(frozen=True, slots=True)
class TextHolds:
    """The rules that are built in. All in milliseconds."""

    usual_ms: float = 500
    short_ms: float = 300  # after a complete answer or a question
    long_ms: float = 1_200  # in the middle of a number or of a sentence

    def hold_ms(self, text: str, speech_ms: float) -> float:
        words = words_of(text)
        if not words:
            return self.usual_ms
        if " ".join(words) in COMPLETE:
            return self.short_ms
        if words[-1] in DANGLING or text.rstrip().endswith((",", "...", "…", "-")):
            return self.long_ms
        if _mid_number(words):
            return self.long_ms
        return self.short_ms if text.rstrip().endswith("?") else self.usual_ms


def _mid_number(words: list[str]) -> bool:
    digits = groups = 0
    for word in reversed(words):
        if word.isdecimal():
            digits += len(word)
        elif word in NUMBERS:
            digits += 1
        else:
            break
        groups += 1
    return groups >= MIN_SPELLED and digits < WHOLE_NUMBER
