"""A recogniser whose ear is a script, for tests of flows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from sipbot.agent.ports import ListenFor, Transcript
from sipbot.call.leg import Pcm
from sipbot.errors import ProviderError


class ScriptedEar:
    """Understands its ``texts`` in order, one for each utterance; an error is raised instead.

    ``asked`` lists what was listened for, ``samples`` how much audio each utterance had.
    """

    def __init__(self, *texts: str | ProviderError, delay_s: float = 0.0) -> None:
        self.texts = list(texts)
        self.asked: list[ListenFor] = []
        self.samples: list[int] = []
        self.delay_s = delay_s

    @asynccontextmanager
    async def open(self, wanted: ListenFor) -> AsyncIterator[_Utterance]:
        self.asked.append(wanted)
        yield _Utterance(self)


class _Utterance:
    def __init__(self, ear: ScriptedEar) -> None:
        self._ear = ear
        self._samples = 0
        self._found: list[Transcript] = []

    async def push(self, pcm: Pcm) -> None:
        self._samples += len(pcm)

    async def finish_utterance(self) -> None:
        self._ear.samples.append(self._samples)
        if self._ear.delay_s:
            await asyncio.sleep(self._ear.delay_s)
        text = self._ear.texts.pop(0) if self._ear.texts else ""
        if isinstance(text, ProviderError):
            raise text
        self._found.append(Transcript(text, final=True))

    async def transcripts(self) -> AsyncIterator[Transcript]:
        for transcript in self._found:
            yield transcript


def understood(wanted: Iterable[ListenFor]) -> set[str]:
    """Every phrase that was listened for."""
    return {phrase for one in wanted for phrase in one.phrases}
