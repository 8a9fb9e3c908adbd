"""Whisper and Piper: what is missing is said clearly; with stand-ins for the libraries, the rest.

The libraries and models are not part of the test's environment, so that modules with the same few
names stand in for them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from sipbot.agent.ports import ListenFor, Transcript
from sipbot.agent.providers import piper, whisper
from sipbot.agent.providers.counts import Tally
from sipbot.agent.providers.piper import PiperVoice
from sipbot.agent.providers.whisper import WhisperEars, WhisperSettings
from sipbot.errors import ProviderError, SpeechServiceError
from tests.agent.providers.kit import all_of, ramp, samples_of


@pytest.fixture(name="libraries")
def _libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory whose modules stand in for the libraries."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(whisper, "LIBRARY", "stand_in_whisper")
    monkeypatch.setattr(piper, "LIBRARY", "stand_in_piper")
    for name in ("stand_in_whisper", "stand_in_piper"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


async def heard(ears: WhisperEars, rate: int = 8_000) -> Transcript:
    async with ears.open(ListenFor(rate=rate, language="hi-IN", phrases=("idli",))) as transcriber:
        await transcriber.push(np.full(rate, 1_000, np.int16))
        await transcriber.finish_utterance()
        return await anext(aiter(transcriber.transcripts()))


async def test_whisper_without_a_model(libraries: Path) -> None:
    tally = Tally()
    ears = WhisperEars(WhisperSettings(libraries / "none"), tally)
    await ears.warm()
    with pytest.raises(ProviderError, match="whisper: no-model"):
        await heard(ears)
    assert tally.values["provider_failures", "whisper", "no-model"] == 1
    await ears.close()


async def test_whisper_without_its_library(libraries: Path) -> None:
    ears = WhisperEars(WhisperSettings(libraries), Tally())
    with pytest.raises(ProviderError, match="whisper: no-library"):
        await heard(ears)
    await ears.close()


async def test_whisper(libraries: Path) -> None:
    source = """
        from types import SimpleNamespace as Named

        class WhisperModel:
            def __init__(self, path, device, compute_type, cpu_threads, local_files_only):
                assert local_files_only

            def transcribe(self, sound, language, initial_prompt, **more):
                seconds = len(sound) / 16000
                words = [f" {seconds:.1f} s", f" {sound.mean():.3f}", f" {language} "]
                return (Named(text=word) for word in [*words, initial_prompt]), None
    """
    (libraries / "stand_in_whisper.py").write_text(dedent(source))
    ears = WhisperEars(WhisperSettings(libraries), Tally())
    assert await heard(ears) == Transcript("1.0 s 0.031 hi idli", True)
    assert (await heard(ears, rate=16_000)).text == "1.0 s 0.031 hi idli"
    await ears.close()


async def test_whisper_that_fails_says_nothing_of_what_was_said(libraries: Path) -> None:
    source = """
        class WhisperModel:
            def __init__(self, path, **more): ...

            def transcribe(self, sound, **more):
                raise RuntimeError("SECRET WORDS")
    """
    (libraries / "stand_in_whisper.py").write_text(dedent(source))
    ears = WhisperEars(WhisperSettings(libraries), Tally())
    with pytest.raises(ProviderError, match="whisper: failed"):
        await heard(ears)
    await ears.close()


async def test_piper_without_a_voice_or_its_library(libraries: Path) -> None:
    voice = PiperVoice(libraries / "voice.onnx", Tally())
    await voice.warm()
    with pytest.raises(SpeechServiceError, match="piper: no-model"):
        await all_of(voice.synthesize("Hello."))
    (libraries / "voice.onnx").touch()
    with pytest.raises(SpeechServiceError, match="piper: no-library"):
        await all_of(voice.synthesize("Hello."))
    await voice.close()


async def test_piper(libraries: Path) -> None:
    source = """
        from types import SimpleNamespace as Named
        import numpy as np

        class PiperVoice:
            @classmethod
            def load(cls, path):
                return cls()

            def synthesize(self, text):
                sound = (np.arange(5000) * 7 % 30000 - 15000).astype("<i2")
                for half in (sound[:2000], sound[2000:]):
                    yield Named(audio_int16_bytes=half.tobytes(), sample_rate=22050)
    """
    (libraries / "voice.onnx").touch()
    (libraries / "stand_in_piper.py").write_text(dedent(source))
    voice = PiperVoice(libraries / "voice.onnx", Tally())
    chunks = await all_of(voice.synthesize("Hello. World."))
    assert [chunk.rate for chunk in chunks] == [22_050, 22_050]
    assert np.array_equal(samples_of(chunks), ramp())
    await voice.close()
