"""Google Cloud: recognition and speech by Google's own libraries, which are an extra
(``pip install "sipbot[google]"``).

Each utterance is a stream of its own, since Google ends streams after five minutes; interim texts
come while the caller speaks. Speech comes whole for each text.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from sipbot.agent.ports import ListenFor, Transcript
from sipbot.agent.providers.counts import Counts, failed, used
from sipbot.agent.providers.patience import PATIENT, Patience, insisted
from sipbot.agent.providers.pcm import NotPcmError, PcmReader, to_bytes
from sipbot.agent.providers.websocket import alongside
from sipbot.call.leg import Pcm
from sipbot.call.speech import SpeechChunk
from sipbot.errors import ProviderError, SpeechServiceError

GOOGLE: Final = "google"
SPEECH: Final = "google.cloud.speech_v1"
TEXT_TO_SPEECH: Final = "google.cloud.texttospeech_v1"
MAX_TEXT: Final = 4_000  # characters; the service takes 5,000 bytes
MAX_WAITING: Final = 1_500  # pieces of audio that may wait for the service; 30 s of frames
MAX_STREAM_S: Final = 240.0  # seconds of audio after which a silent stream is begun anew
USUAL_LANGUAGE: Final = "en-IN"
# Names of gRPC's status codes: what they mean to us, and whether to try again.
REASONS: Final[Mapping[str, tuple[str, bool]]] = MappingProxyType(
    {
        "UNAUTHENTICATED": ("unauthorised", False),
        "PERMISSION_DENIED": ("unauthorised", False),
        "RESOURCE_EXHAUSTED": ("rate-limited", True),
        "UNAVAILABLE": ("unavailable", True),
        "INTERNAL": ("unavailable", True),
        "ABORTED": ("unavailable", True),
        "OUT_OF_RANGE": ("cut-off", True),
        "DEADLINE_EXCEEDED": ("timeout", True),
    }
)


@dataclass(frozen=True, slots=True)
class GoogleAccount:
    """``credentials`` is the file of a service account; None takes the machine's own. ``endpoint``
    is a host such as ``asia-south1-speech.googleapis.com``."""

    credentials: Path | None = None
    endpoint: str | None = None


class Library:
    """A library of Google that may be missing, and its client, made in the loop that uses it.

    ``make`` replaces the client, for tests.
    """

    def __init__(
        self,
        module: str,
        client: str,
        account: GoogleAccount,
        make: Callable[[], Any] | None = None,
    ) -> None:
        try:
            self.types: Any = importlib.import_module(module)
        except ImportError:
            self.types = None
        self._name, self._account, self._make = client, account, make
        self._client: Any = None

    def client(self) -> Any:
        """Raises ProviderError ``no-library`` or ``no-credentials``."""
        if self.types is None:
            raise ProviderError(GOOGLE, "no-library")
        if self._client is None:
            self._client = self._made() if self._make is None else self._make()
        return self._client

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.transport.close()

    def _made(self) -> Any:
        kind, account = getattr(self.types, self._name), self._account
        options = {"api_endpoint": account.endpoint} if account.endpoint else None
        try:
            if account.credentials is None:
                return kind(client_options=options)
            return kind.from_service_account_file(str(account.credentials), client_options=options)
        except Exception:  # what Google's libraries raise here is of many kinds, and quotes
            raise ProviderError(GOOGLE, "no-credentials") from None


def problem(error: Exception) -> ProviderError:
    """An error of Google's libraries. Their texts are not handed on."""
    code = getattr(error, "grpc_status_code", None)
    reason, retry = REASONS.get(getattr(code, "name", ""), ("refused", False))
    return ProviderError(GOOGLE, reason, retry=retry)


class GoogleEars:
    """Implements ``SpeechToText`` and ``Service``."""

    def __init__(
        self,
        account: GoogleAccount,
        counts: Counts,
        *,
        model: str,
        language: str | None = None,
        patience: Patience = PATIENT,
        make: Callable[[], Any] | None = None,
    ) -> None:
        self._library = Library(SPEECH, "SpeechAsyncClient", account, make)
        self._counts, self._patience = counts, patience
        self._model, self._language = model, language

    async def warm(self) -> None:
        """Connections are opened by the library when they are needed."""

    async def close(self) -> None:
        await self._library.close()

    @asynccontextmanager
    async def open(self, wanted: ListenFor) -> AsyncGenerator[GoogleTranscriber, None]:
        """Raises ProviderError when library or credentials are missing."""
        try:
            client = self._library.client()
        except ProviderError as error:
            failed(self._counts, error)
            raise
        transcriber = GoogleTranscriber(
            client, self._first_request(wanted), self._patience, self._counts, wanted.rate
        )
        async with alongside(transcriber.serve()):
            try:
                yield transcriber
            finally:
                transcriber.close()

    def _first_request(self, wanted: ListenFor) -> Any:
        types = self._library.types
        config = types.RecognitionConfig(
            encoding=types.RecognitionConfig.AudioEncoding.LINEAR16,
            sample_rate_hertz=wanted.rate,
            language_code=self._language or wanted.language or USUAL_LANGUAGE,
            model=self._model,
            enable_automatic_punctuation=True,
            speech_contexts=[types.SpeechContext(phrases=list(wanted.phrases))],
        )
        streaming = types.StreamingRecognitionConfig(config=config, interim_results=True)
        return types.StreamingRecognizeRequest(streaming_config=streaming)


class _Stream:
    """The requests of one utterance. None ends them."""

    def __init__(self, first: Any) -> None:
        self._first = first
        self._audio: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_WAITING)
        self.samples = 0
        self.ended = asyncio.Event()  # the utterance is over

    async def put(self, pcm: Pcm) -> None:
        await self._audio.put(to_bytes(pcm))
        self.samples += len(pcm)

    async def end(self) -> None:
        await self._audio.put(None)
        self.ended.set()

    async def requests(self) -> AsyncIterator[Any]:
        yield self._first
        while (data := await self._audio.get()) is not None:
            yield type(self._first)(audio_content=data)


class GoogleTranscriber:
    """Implements ``Transcriber``: a stream for each utterance, one after the other."""

    def __init__(
        self, client: Any, first: Any, patience: Patience, counts: Counts, rate: int
    ) -> None:
        self._client, self._first = client, first
        self._patience, self._counts, self._rate = patience, counts, rate
        self._stream: _Stream | None = None
        self._streams: asyncio.Queue[_Stream] = asyncio.Queue()
        self._results: asyncio.Queue[Transcript | ProviderError | None] = asyncio.Queue()
        self._said = False  # something was understood in the present stream

    async def push(self, pcm: Pcm) -> None:
        stream = self._stream
        if stream is not None and not self._said and stream.samples > MAX_STREAM_S * self._rate:
            await stream.end()  # nothing but silence; its empty final transcript does no harm
            stream = None
        if stream is None:
            stream = self._begin()
        await self._in_time(stream.put(pcm))

    async def finish_utterance(self) -> None:
        stream, self._stream = self._stream or self._begin(), None
        await self._in_time(stream.end())

    async def transcripts(self) -> AsyncIterator[Transcript]:
        while (result := await self._results.get()) is not None:
            if isinstance(result, ProviderError):
                raise result
            yield result

    def close(self) -> None:
        self._results.put_nowait(None)

    async def serve(self) -> None:
        """Recognise utterances until cancelled, or until one fails."""
        try:
            while True:
                await self._recognise(await self._streams.get())
        except ProviderError as error:
            failed(self._counts, error)
            self._results.put_nowait(error)

    async def _recognise(self, stream: _Stream) -> None:
        parts: list[str] = []
        confidence: list[float] = []
        self._said = False
        reading = asyncio.ensure_future(self._read(stream, parts, confidence))
        over = asyncio.ensure_future(stream.ended.wait())
        try:
            await asyncio.wait({reading, over}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({reading}, timeout=self._patience.first_s)
            if not reading.done():
                raise ProviderError(GOOGLE, "timeout", retry=True)
            reading.result()
        finally:
            reading.cancel()
            over.cancel()
            await asyncio.wait({reading, over})
        used(self._counts, GOOGLE, "audio-ms", 1_000 * stream.samples // self._rate)
        text = " ".join(part.strip() for part in parts).strip()
        self._results.put_nowait(Transcript(text, True, min(confidence, default=None)))

    async def _read(self, stream: _Stream, parts: list[str], confidence: list[float]) -> None:
        try:
            answers = await self._client.streaming_recognize(requests=stream.requests())
            async for answer in answers:
                interim = []
                for result in answer.results:
                    if not result.alternatives:
                        continue
                    best = result.alternatives[0]
                    if result.is_final:
                        parts.append(best.transcript)
                        confidence.append(best.confidence)
                    else:
                        interim.append(best.transcript)
                text = " ".join(part.strip() for part in (*parts, *interim)).strip()
                if text:
                    self._said = True
                    self._results.put_nowait(Transcript(text, False))
        except Exception as error:  # Google's errors have no common base without the library
            raise problem(error) from None

    def _begin(self) -> _Stream:
        self._stream = _Stream(self._first)
        self._streams.put_nowait(self._stream)
        return self._stream

    async def _in_time(self, work: Any) -> None:
        try:
            async with asyncio.timeout(self._patience.between_s):
                await work
        except TimeoutError:
            raise ProviderError(GOOGLE, "timeout", retry=True) from None


class GoogleVoice:
    """Implements ``Synthesizer`` and ``Service``; a voice is named like ``hi-IN-Wavenet-A``."""

    def __init__(
        self,
        account: GoogleAccount,
        counts: Counts,
        *,
        voice: str,
        rate: int,
        patience: Patience = PATIENT,
        make: Callable[[], Any] | None = None,
    ) -> None:
        self._library = Library(TEXT_TO_SPEECH, "TextToSpeechAsyncClient", account, make)
        self._counts, self._voice, self._rate = counts, voice, rate
        self._patience = patience

    async def warm(self) -> None:
        """Connections are opened by the library when they are needed."""

    async def close(self) -> None:
        await self._library.close()

    async def synthesize(
        self, text: str, voice: str | None = None
    ) -> AsyncGenerator[SpeechChunk, None]:
        """One chunk. Raises ``SpeechServiceError``."""
        if not text.strip():
            return
        if len(text) > MAX_TEXT:
            raise SpeechServiceError(GOOGLE, "text-too-long")
        used(self._counts, GOOGLE, "characters", len(text))
        try:
            yield await insisted(
                self._patience, self._counts, lambda: self._attempt(text, voice or self._voice)
            )
        except ProviderError as error:
            raise SpeechServiceError(GOOGLE, error.reason, retry=error.retry) from None

    async def _attempt(self, text: str, voice: str) -> SpeechChunk:
        client, types = self._library.client(), self._library.types
        try:
            async with asyncio.timeout(self._patience.first_s):
                answer = await client.synthesize_speech(
                    input=types.SynthesisInput(text=text),
                    voice=types.VoiceSelectionParams(
                        name=voice, language_code="-".join(voice.split("-")[:2])
                    ),
                    audio_config=types.AudioConfig(
                        audio_encoding=types.AudioEncoding.LINEAR16,
                        sample_rate_hertz=self._rate,
                    ),
                    retry=None,
                )
        except TimeoutError:
            raise ProviderError(GOOGLE, "timeout", retry=True) from None
        except Exception as error:  # Google's errors have no common base without the library
            raise problem(error) from None
        reader = PcmReader(self._rate)
        try:
            pcm = reader.feed(answer.audio_content)
        except NotPcmError:
            raise ProviderError(GOOGLE, "garbage") from None
        if not len(pcm):
            raise ProviderError(GOOGLE, "empty", retry=True)
        return SpeechChunk(pcm, reader.rate)
