"""OpenAI's speech and transcriptions against a server on loopback, faults included."""

from __future__ import annotations

import asyncio
import io
import wave

import numpy as np
import pytest

from sipbot.agent.ports import ListenFor, Transcript
from sipbot.agent.providers.counts import Tally
from sipbot.agent.providers.openai_audio import MAX_UTTERANCE_S, OpenAiSpeech, OpenAiTranscriptions
from sipbot.agent.providers.patience import Patience
from sipbot.agent.providers.pcm import to_bytes, to_wav
from sipbot.errors import ProviderError, SpeechError, SpeechServiceError
from tests.agent.providers.kit import HASTY, QUICK, all_of, ramp, samples_of, service
from tests.agent.providers.servers.http import Handler, hanging, refusing, script, serving
from tests.agent.providers.servers.openai import speech, transcription


def voice(url: str, patience: Patience = QUICK, tally: Tally | None = None) -> OpenAiSpeech:
    return OpenAiSpeech(
        service(url, patience), tally or Tally(), "tts-x", "alloy", instructions="Calm."
    )


async def test_every_sample_arrives_whatever_the_pieces() -> None:
    tally = Tally()
    async with serving(speech(to_bytes(ramp()))) as server:
        chunks = await all_of(voice(server.url, tally=tally).synthesize("Hello.", "nova"))
        request = server.requests[0]
    assert np.array_equal(samples_of(chunks), ramp())
    assert {chunk.rate for chunk in chunks} == {24_000}
    assert len(chunks) > 3
    assert request.path == "/v1/audio/speech"
    assert request.json == {
        "model": "tts-x",
        "input": "Hello.",
        "voice": "nova",
        "response_format": "pcm",
        "instructions": "Calm.",
    }
    assert tally.values["provider_usage", "openai", "characters"] == 6


@pytest.mark.parametrize("size", [1, 7, 45, 5_000])
async def test_a_wav_header_is_taken_off_and_believed(size: int) -> None:
    async with serving(speech(to_wav(ramp(2_000), 16_000), size)) as server:
        chunks = await all_of(voice(server.url).synthesize("Hello."))
    assert np.array_equal(samples_of(chunks), ramp(2_000))
    assert {chunk.rate for chunk in chunks} == {16_000}


async def test_nothing_is_asked_for_nothing() -> None:
    async with serving(speech(b"")) as server:
        assert await all_of(voice(server.url).synthesize("  ")) == []
        assert server.requests == []


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (refusing(401), "unauthorised"),
        (refusing(429), "rate-limited"),
        (speech(b""), "empty"),
        (speech(b"ID3 packed sound"), "garbage"),
        (speech(b'{"error": "no"}', kind="application/json"), "garbage"),
        (speech(to_bytes(ramp()), cut=True), "cut-off"),
    ],
)
async def test_faults_are_errors_of_speech(fault: Handler, reason: str) -> None:
    async with serving(fault) as server:
        with pytest.raises(SpeechServiceError) as caught:
            await all_of(voice(server.url).synthesize("SECRET"))
    assert caught.value.reason == reason
    assert isinstance(caught.value, SpeechError)
    assert "SECRET" not in str(caught.value)


async def test_a_second_attempt_speaks() -> None:
    handler = script(refusing(500), speech(to_bytes(ramp())))
    async with serving(handler) as server:
        chunks = await all_of(voice(server.url).synthesize("Hello."))
    assert np.array_equal(samples_of(chunks), ramp())


async def test_a_server_that_hangs_runs_out_of_time() -> None:
    async with serving(hanging) as server:
        with pytest.raises(SpeechServiceError, match="timeout"):
            await all_of(voice(server.url, HASTY).synthesize("Hello."))


async def test_closing_stops_the_server() -> None:
    async with serving(speech(to_bytes(ramp(3_000_000)))) as server:
        chunks = voice(server.url).synthesize("Hello.")
        await anext(chunks)
        await chunks.aclose()
        await asyncio.wait_for(server.gone.wait(), 20)


async def listen(
    handler: Handler, pcm: np.ndarray, times: int = 1
) -> tuple[list[Transcript], bytes]:
    """The transcripts of ``times`` utterances, and the body of the last request."""
    async with serving(handler) as server:
        ears = OpenAiTranscriptions(service(server.url), Tally(), "stt-x", "A hotel.")
        wanted = ListenFor(rate=8_000, language="hi-IN", phrases=("room", "key"))
        async with ears.open(wanted) as transcriber:
            transcripts = transcriber.transcripts()
            got = []
            for _ in range(times):
                await transcriber.push(pcm)
                await transcriber.finish_utterance()
                got.append(await anext(aiter(transcripts)))
        return got, server.requests[-1].body if server.requests else b""


def sound_in(body: bytes) -> tuple[np.ndarray, int]:
    with wave.open(io.BytesIO(body[body.index(b"RIFF") :])) as reader:
        return np.frombuffer(reader.readframes(reader.getnframes()), "<i2"), reader.getframerate()


async def test_utterances_are_transcribed_one_by_one() -> None:
    handler = script(transcription(" Hello. "), transcription("Bye."))
    got, body = await listen(handler, ramp(4_000), times=2)
    assert got == [Transcript("Hello.", True), Transcript("Bye.", True)]
    sound, rate = sound_in(body)
    assert rate == 8_000
    assert np.array_equal(sound[:4_000], ramp(4_000))
    for part in (b'name="model"\r\n\r\nstt-x', b'"language"\r\n\r\nhi\r', b"A hotel. room, key"):
        assert part in body


async def test_too_little_audio_is_nothing_understood() -> None:
    got, body = await listen(transcription("Thank you for watching!"), ramp(100))
    assert got == [Transcript("", True)]
    assert body == b""


async def test_the_silence_before_an_utterance_is_not_sent() -> None:
    rng = np.random.default_rng(7)
    noise = rng.normal(0, 20, 8_000 * 10).astype(np.int16)
    noise[64_000:72_000] += ramp(8_000) // 4
    got, body = await listen(transcription("Yes."), noise)
    assert got == [Transcript("Yes.", True)]
    sound, _ = sound_in(body)
    assert np.array_equal(sound, noise[64_000 - 2_400 :])
    got, body = await listen(transcription("Thank you for watching!"), noise[:32_000])
    assert (got, body) == ([Transcript("", True)], b"")


async def test_of_a_very_long_utterance_the_end_is_kept() -> None:
    seconds = [np.full(8_000, 100 + number, np.int16) for number in range(MAX_UTTERANCE_S + 5)]
    async with serving(transcription("Yes.")) as server:
        ears = OpenAiTranscriptions(service(server.url), Tally(), "stt-x")
        async with ears.open(ListenFor(rate=8_000)) as transcriber:
            for second in seconds:
                await transcriber.push(second)
            await transcriber.finish_utterance()
            await anext(aiter(transcriber.transcripts()))
        sound, _ = sound_in(server.requests[0].body)
    assert len(sound) == MAX_UTTERANCE_S * 8_000
    assert (sound[0], sound[-1]) == (105, MAX_UTTERANCE_S + 104)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [(refusing(403), "unauthorised"), (speech(b"[1]", kind="application/json"), "garbage")],
)
async def test_faults_of_transcriptions(fault: Handler, reason: str) -> None:
    with pytest.raises(ProviderError) as caught:
        await listen(fault, ramp())
    assert caught.value.reason == reason
