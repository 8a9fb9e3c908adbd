"""The caller's audio on its way to voice activity and to the recogniser."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from sipbot.agent.listening.endpointing import Endpointer, SpeechEvent
from sipbot.agent.listening.vad import VadService, VadWindow
from sipbot.agent.ports import ListenFor, SpeechToText, Transcriber, Transcript
from sipbot.call.call import CallLog
from sipbot.call.leg import Pcm
from sipbot.call.listening import AudioStream
from sipbot.errors import ProviderError

MAX_QUEUED: Final = 150  # frames of 20 ms for a recogniser that is behind; older ones are lost
MAX_REOPENED: Final = 3  # times in a row that a recogniser is opened again
PAUSE_S: Final = 0.2  # seconds until it is; doubled each time


@dataclass(frozen=True, slots=True)
class RecogniserLost:
    """The recogniser is gone for good."""


HearingEvent: TypeAlias = SpeechEvent | Transcript | RecogniserLost


class RecogniserLine:
    """One call's recogniser: opened before the answer, opened again when it fails.

    ``run`` is a task for the life of the call. What it hears goes to ``listener``.
    """

    def __init__(self, stt: SpeechToText, wanted: ListenFor, log: CallLog) -> None:
        self.ready = asyncio.Event()  # open, or given up
        self.dropped = 0  # frames that were too many
        self.lost = False  # it failed too often
        self.listener: Callable[[Transcript | RecogniserLost], None] = lambda heard: None
        self._stt, self._wanted, self._log = stt, wanted, log
        self._queue: deque[Pcm | None] = deque()  # None: finish the utterance
        self._news = asyncio.Event()
        self._failures = 0

    def push(self, pcm: Pcm) -> None:
        """Never waits."""
        if len(self._queue) >= MAX_QUEUED:
            self._queue.popleft()
            self.dropped += 1
        self._put(pcm)

    def finish_utterance(self) -> None:
        """A final transcript shall come of what was pushed."""
        self._put(None)

    async def run(self) -> None:
        """Listen until cancelled, or until the recogniser failed too often."""
        while True:
            try:
                async with self._stt.open(self._wanted) as transcriber:
                    self.ready.set()
                    await self._listen(transcriber)
                reason = "ended"
            except ProviderError as error:
                reason = error.reason
            self._failures += 1
            self._log.warning("recogniser failed", reason=reason, failures=self._failures)
            if self._failures > MAX_REOPENED:
                self.lost = True
                self.ready.set()
                self.listener(RecogniserLost())
                return
            await asyncio.sleep(PAUSE_S * 2 ** (self._failures - 1))

    async def _listen(self, transcriber: Transcriber) -> None:
        """Both directions, until one of them ends or fails."""
        tasks = [
            asyncio.ensure_future(self._feed(transcriber)),
            asyncio.ensure_future(self._read(transcriber)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _feed(self, transcriber: Transcriber) -> None:
        while True:
            while self._queue:
                pcm = self._queue.popleft()
                if pcm is None:
                    await transcriber.finish_utterance()
                else:
                    await transcriber.push(pcm)
            self._news.clear()
            await self._news.wait()

    async def _read(self, transcriber: Transcriber) -> None:
        async for transcript in transcriber.transcripts():
            self._failures = 0
            self.listener(transcript)

    def _put(self, item: Pcm | None) -> None:
        self._queue.append(item)
        self._news.set()


class Ear:
    """Hands each frame of a call to voice activity and to the recogniser."""

    def __init__(
        self,
        vad: VadService,
        recogniser: RecogniserLine,
        endpointer: Endpointer,
        tell: Callable[[SpeechEvent], None],
    ) -> None:
        self._line = vad.open(self._judged)
        self._rate = vad.rate
        self._recogniser, self._endpointer, self._tell = recogniser, endpointer, tell
        self._pushed = 0  # samples
        self._at = 0.0  # loop time when the last of them came

    async def run(self, audio: AudioStream) -> None:
        """Until the call ends."""
        now = asyncio.get_running_loop().time
        try:
            async for frame in audio:
                self._pushed += len(frame)
                self._at = now()
                self._recogniser.push(frame)
                self._line.push(frame)
        finally:
            self._line.close()

    def _judged(self, window: VadWindow) -> None:
        end = self._at - (self._pushed - window.end) / self._rate
        event = self._endpointer.push(window.probability, window.level, window.floor, end)
        if event is not None:
            self._tell(event)
