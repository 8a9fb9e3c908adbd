"""Offline speech recognition: tells a few phrases apart, and everything else from them.

No key, no network: the acoustic model comes with the ``pocketsphinx`` package. The work is done in
a process of its own, since the library holds the interpreter's lock while it works.
"""

from sipbot.agent.recognise.offline import OfflineRecogniser
from sipbot.agent.recognise.phrases import Phrase, PhraseError, normalised, parse

__all__ = ["OfflineRecogniser", "Phrase", "PhraseError", "normalised", "parse"]
