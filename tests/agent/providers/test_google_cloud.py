"""Google's recognition and speech, by Google's libraries, against a gRPC server on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from sipbot.agent.ports import ListenFor, Transcript
from sipbot.agent.providers import google_cloud
from sipbot.agent.providers.counts import Tally
from sipbot.agent.providers.google_cloud import (
    GoogleAccount,
    GoogleEars,
    GoogleTranscriber,
    GoogleVoice,
)
from sipbot.agent.providers.patience import Patience
from sipbot.agent.providers.pcm import to_bytes, to_wav
from sipbot.errors import ProviderError, SpeechServiceError
from tests.agent.providers.kit import HASTY, QUICK, all_of, ramp, samples_of

grpc = pytest.importorskip("grpc")
pytest.importorskip("google.cloud.speech_v1")
pytest.importorskip("google.cloud.texttospeech_v1")

from tests.agent.providers.servers.google import (  # noqa: E402  # needs the libraries
    Recognise,
    Synthesise,
    grpc_serving,
    heard,
    speech_client,
    voice_client,
)

NOBODY = GoogleAccount()
WANTED = ListenFor(rate=8_000, language="hi-IN", phrases=("idli",))


@asynccontextmanager
async def listening(
    recognise: Recognise, patience: Patience = QUICK, tally: Tally | None = None
) -> AsyncGenerator[GoogleTranscriber, None]:
    async with grpc_serving(recognise) as target:
        ears = GoogleEars(
            NOBODY,
            tally or Tally(),
            model="telephony",
            patience=patience,
            make=lambda: speech_client(target),
        )
        try:
            async with ears.open(WANTED) as transcriber:
                yield transcriber
        finally:
            await ears.close()


async def until_final(transcripts: AsyncIterator[Transcript]) -> list[Transcript]:
    got = []
    async with asyncio.timeout(20):
        async for transcript in transcripts:
            got.append(transcript)
            if transcript.final:
                break
    return got


async def test_utterances_are_streams_of_their_own() -> None:
    streams: list[list[Any]] = []

    async def recognise(requests: AsyncIterator[Any], _: Any) -> AsyncIterator[Any]:
        got: list[Any] = []
        streams.append(got)
        async for request in requests:
            got.append(request)
            if len(got) == 2:
                yield heard("A ro")
        yield heard("A room.", final=True, confidence=0.75)
        yield heard(f" Number {len(streams)}.", final=True, confidence=0.5)

    tally = Tally()
    async with listening(recognise, tally=tally) as transcriber:
        transcripts = aiter(transcriber.transcripts())
        for number in (1, 2):
            await transcriber.push(ramp(4_000))
            await transcriber.finish_utterance()
            assert await until_final(transcripts) == [
                Transcript("A ro", False),
                Transcript("A room.", False),
                Transcript(f"A room. Number {number}.", False),
                Transcript(f"A room. Number {number}.", True, 0.5),
            ]
    first, audio = streams[0]
    config = first.streaming_config.config
    assert (config.sample_rate_hertz, config.language_code) == (8_000, "hi-IN")
    assert list(config.speech_contexts[0].phrases) == ["idli"]
    assert first.streaming_config.interim_results
    assert audio.audio_content == to_bytes(ramp(4_000))
    assert tally.values["provider_usage", "google", "audio-ms"] == 1_000


async def nothing(requests: AsyncIterator[Any], _: Any) -> AsyncIterator[Any]:
    """Understands none of it."""
    understood: list[Any] = []
    async for _request in requests:
        pass
    for answer in understood:
        yield answer


async def test_noise_is_nothing_understood() -> None:
    async with listening(nothing) as transcriber:
        await transcriber.push(ramp())
        await transcriber.finish_utterance()
        assert await until_final(transcriber.transcripts()) == [Transcript("", True)]


async def test_a_stream_of_silence_is_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(google_cloud, "MAX_STREAM_S", 0.5)
    async with listening(nothing) as transcriber:
        await transcriber.push(ramp(4_100))
        await transcriber.push(ramp(100))
        assert await until_final(transcriber.transcripts()) == [Transcript("", True)]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("UNAUTHENTICATED", "unauthorised"),
        ("RESOURCE_EXHAUSTED", "rate-limited"),
        ("UNAVAILABLE", "unavailable"),
        ("INVALID_ARGUMENT", "refused"),
    ],
)
async def test_faults_of_recognition(code: str, reason: str) -> None:
    async def recognise(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        yield heard("A ro")
        await context.abort(getattr(grpc.StatusCode, code), "SECRET WORDS")

    tally = Tally()
    async with listening(recognise, tally=tally) as transcriber:
        await transcriber.push(ramp())
        with pytest.raises(ProviderError) as caught:
            await until_final(transcriber.transcripts())
    assert caught.value.reason == reason
    assert "SECRET" not in str(caught.value)
    assert tally.values["provider_failures", "google", reason] == 1


async def test_recognition_that_hangs() -> None:
    async def recognise(requests: AsyncIterator[Any], _: Any) -> AsyncIterator[Any]:
        await asyncio.Event().wait()
        yield heard("never")

    async with listening(recognise, HASTY) as transcriber:
        await transcriber.push(ramp())
        await transcriber.finish_utterance()
        with pytest.raises(ProviderError, match="google: timeout"):
            await until_final(transcriber.transcripts())


async def spoken(synthesise: Synthesise, patience: Patience = QUICK) -> list[Any]:
    async with grpc_serving(synthesise=synthesise) as target:
        voice = GoogleVoice(
            NOBODY,
            Tally(),
            voice="hi-IN-Wavenet-A",
            rate=16_000,
            patience=patience,
            make=lambda: voice_client(target),
        )
        try:
            return await all_of(voice.synthesize("नमस्ते"))
        finally:
            await voice.close()


async def test_speech() -> None:
    from google.cloud.texttospeech_v1 import SynthesizeSpeechResponse

    asked: list[Any] = []

    async def synthesise(request: Any, _: Any) -> Any:
        asked.append(request)
        return SynthesizeSpeechResponse(audio_content=to_wav(ramp(), 16_000))

    chunks = await spoken(synthesise)
    assert np.array_equal(samples_of(chunks), ramp())
    assert chunks[0].rate == 16_000
    assert (asked[0].voice.name, asked[0].voice.language_code) == ("hi-IN-Wavenet-A", "hi-IN")
    assert asked[0].audio_config.sample_rate_hertz == 16_000


async def test_faults_of_speech() -> None:
    tries = []

    async def refused(request: Any, context: Any) -> Any:
        tries.append(request)
        await context.abort(grpc.StatusCode.UNAVAILABLE, "SECRET")

    async def hanging(request: Any, _: Any) -> Any:
        await asyncio.Event().wait()

    with pytest.raises(SpeechServiceError, match="google: unavailable"):
        await spoken(refused)
    assert len(tries) == 2
    with pytest.raises(SpeechServiceError, match="google: timeout"):
        await spoken(hanging, HASTY)


async def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    account = GoogleAccount(tmp_path / "none.json")
    voice = GoogleVoice(account, Tally(), voice="en-IN-Wavenet-A", rate=8_000)
    with pytest.raises(SpeechServiceError, match="google: no-credentials"):
        await all_of(voice.synthesize("Hello."))
    monkeypatch.setattr(google_cloud, "SPEECH", "google.cloud.no_such_library")
    ears = GoogleEars(account, Tally(), model="telephony")
    with pytest.raises(ProviderError, match="google: no-library"):
        await ears.open(WANTED).__aenter__()
