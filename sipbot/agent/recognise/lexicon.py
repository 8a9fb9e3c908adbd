"""How words sound: the dictionary of the acoustic model, and words of Indian English beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Final

_VOWELS: Final = (
    "AA",
    "AE",
    "AH",
    "AO",
    "AW",
    "AY",
    "EH",
    "ER",
    "EY",
    "IH",
    "IY",
    "OW",
    "OY",
    "UH",
    "UW",
)
_CONSONANTS: Final = (
    "B",
    "CH",
    "D",
    "DH",
    "F",
    "G",
    "HH",
    "JH",
    "K",
    "L",
    "M",
    "N",
    "NG",
    "P",
    "R",
    "S",
    "SH",
    "T",
    "TH",
    "V",
    "W",
    "Y",
    "Z",
    "ZH",
)
PHONES: Final = frozenset({*_VOWELS, *_CONSONANTS})
# Words that the model's dictionary lacks, or knows in a pronunciation that callers do not use.
ADDED: Final[Mapping[str, str]] = {
    "haan": "HH AA N",
    "han": "HH AA N",
    "ji": "JH IY",
    "nahi": "N AH HH IY",
    "nahin": "N AH HH IY N",
    "achha": "AH CH AA",
    "theek": "TH IY K",
    "namaste": "N AH M AH S T EY",
    "namaskar": "N AH M AH S K AA R",
    "hindi": "HH IH N D IY",
    "dobara": "D OW B AA R AA",
    "phir": "F IH R",
    "se": "S EY",
    "samay": "S AH M AY",
    "pata": "P AH T AA",
    "kal": "K AH L",
    "subah": "S UH B AH",
    "shaam": "SH AA M",
}
_VARIANT: Final = re.compile(r"\(\d+\)$")


def model_folder() -> Path:
    """Where the acoustic model is. Imports the library."""
    library = import_module("pocketsphinx")  # heavy: imported when it is needed
    return Path(library.get_model_path()) / "en-us"


@lru_cache(maxsize=1)
def known_words() -> frozenset[str]:
    """Every word that has a pronunciation."""
    text = (model_folder() / "cmudict-en-us.dict").read_text(encoding="utf-8")
    found = (line.split(maxsplit=1)[0] for line in text.splitlines() if line)
    return frozenset(_VARIANT.sub("", word) for word in found) | ADDED.keys()


def unknown(words: Iterable[str], pronounced: Iterable[str] = ()) -> list[str]:
    """Those of ``words`` that have no pronunciation, ``pronounced`` aside."""
    return sorted(set(words) - known_words() - set(pronounced))


def bad_phones(pronunciation: str) -> list[str]:
    """What in a pronunciation (ARPABET, such as ``N AH HH IY``) is no phone of the model."""
    return [phone for phone in pronunciation.split() if phone not in PHONES]
