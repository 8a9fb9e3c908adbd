"""The process that decodes: requests on standard input, answers on standard output.

A request is a line of JSON (``patterns``, ``pronounced``, ``audio``: how many bytes follow) and the
audio; an answer is a line of JSON with ``words`` and ``confidence``, or with ``error``.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import BinaryIO, Final

from sipbot.agent.recognise.decoder import Decoder

MAX_AUDIO_BYTES: Final = 16_000 * 2 * 30  # half a minute
MAX_LINE: Final = 1_048_576  # bytes of a request without its audio


def serve(requests: BinaryIO, answers: BinaryIO, decoder: Decoder) -> None:
    """Answer requests until they end."""
    while line := requests.readline(MAX_LINE):
        head = json.loads(line)
        size = min(int(head["audio"]), MAX_AUDIO_BYTES)
        pcm = requests.read(size)
        if len(pcm) < size:
            return
        try:
            answer = _answer(decoder, pcm, head["patterns"], head["pronounced"])
        except Exception as error:  # what the library raises for a grammar is not documented
            answer = {"error": type(error).__name__}
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def _answer(
    decoder: Decoder, pcm: bytes, patterns: Sequence[str], pronounced: Mapping[str, str]
) -> dict[str, object]:
    if not pcm:
        decoder.prepare(patterns, pronounced)
        return {"words": "", "confidence": 0.0}
    found = decoder.decode(pcm, patterns, pronounced)
    return {"words": found.words, "confidence": found.confidence}


def main() -> None:
    """The child. The terminal's Ctrl-C is for the parent, which then closes our input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(sys.stdin.buffer, sys.stdout.buffer, Decoder())


if __name__ == "__main__":
    main()
