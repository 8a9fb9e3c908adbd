"""ElevenLabs and Cartesia: what they are asked, and that what they send is heard."""

from __future__ import annotations

import numpy as np
import pytest

from sipbot.agent.providers.cartesia import CartesiaVoice
from sipbot.agent.providers.counts import Tally
from sipbot.agent.providers.elevenlabs import ElevenLabsVoice
from sipbot.agent.providers.pcm import to_bytes
from sipbot.agent.providers.speaking import HttpSynthesizer
from sipbot.errors import SpeechServiceError
from tests.agent.providers.kit import HASTY, QUICK, all_of, ramp, samples_of, service
from tests.agent.providers.servers.http import Handler, hanging, refusing, script, serving
from tests.agent.providers.servers.openai import speech


def elevenlabs(url: str, hasty: bool = False) -> HttpSynthesizer:
    patience = HASTY if hasty else QUICK
    settings = {"stability": 0.5}
    return ElevenLabsVoice(
        service(url, patience),
        Tally(),
        "eleven_flash_v2_5",
        "a/voice",
        rate=16_000,
        language="hi",
        settings=settings,
    )


def cartesia(url: str, hasty: bool = False) -> HttpSynthesizer:
    patience = HASTY if hasty else QUICK
    return CartesiaVoice(
        service(url, patience), Tally(), "sonic-3", "id-1", rate=8_000, language="en"
    )


async def test_elevenlabs() -> None:
    async with serving(speech(to_bytes(ramp()), kind="audio/pcm")) as server:
        chunks = await all_of(elevenlabs(server.url).synthesize("Hello."))
        request = server.requests[0]
    assert np.array_equal(samples_of(chunks), ramp())
    assert request.path == "/v1/text-to-speech/a%2Fvoice/stream"
    assert request.query == {"output_format": ["pcm_16000"]}
    assert request.json == {
        "model_id": "eleven_flash_v2_5",
        "language_code": "hi",
        "voice_settings": {"stability": 0.5},
        "text": "Hello.",
    }


async def test_cartesia() -> None:
    async with serving(speech(to_bytes(ramp()), kind="audio/pcm")) as server:
        chunks = await all_of(cartesia(server.url).synthesize("Hello.", "id-2"))
        request = server.requests[0]
    assert np.array_equal(samples_of(chunks), ramp())
    assert request.path == "/v1/tts/bytes"
    assert request.json == {
        "model_id": "sonic-3",
        "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 8_000},
        "language": "en",
        "transcript": "Hello.",
        "voice": {"mode": "id", "id": "id-2"},
    }


@pytest.mark.parametrize("make", [elevenlabs, cartesia])
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (refusing(401), "unauthorised"),
        (refusing(429, Retry_After="60"), "rate-limited"),
        (refusing(422), "refused"),
        (speech(to_bytes(ramp()), cut=True), "cut-off"),
        (speech(b'{"detail": "SECRET"}', kind="application/json"), "garbage"),
        (hanging, "timeout"),
    ],
)
async def test_faults(make: type, fault: Handler, reason: str) -> None:
    async with serving(fault) as server:
        voice: HttpSynthesizer = make(server.url, reason == "timeout")
        with pytest.raises(SpeechServiceError) as caught:
            await all_of(voice.synthesize("Hello."))
    assert caught.value.reason == reason
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("make", [elevenlabs, cartesia])
async def test_a_passing_fault_is_not_heard(make: type) -> None:
    async with serving(script(refusing(502), speech(to_bytes(ramp())))) as server:
        voice: HttpSynthesizer = make(server.url)
        assert np.array_equal(samples_of(await all_of(voice.synthesize("Hello."))), ramp())


async def test_texts_that_are_too_long_are_not_sent() -> None:
    async with serving(hanging) as server:
        with pytest.raises(SpeechServiceError, match="text-too-long"):
            await all_of(cartesia(server.url).synthesize("a" * 5_001))
        assert server.requests == []
