"""Makes the speech and language services that the configuration names.

A key with one provider makes that provider, one with several makes a chain of them. In a chain all
but the last are asked once and in a hurry, unless their ``patience`` says otherwise: there is
somebody else to ask. What they use and how they fail is counted in ``counts``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from pydantic import SecretStr

from sipbot.agent.ports import LanguageModel, RealtimeModel, SpeechToText
from sipbot.agent.providers import cartesia, deepgram, sarvam
from sipbot.agent.providers.counts import Counts
from sipbot.agent.providers.elevenlabs import ElevenLabsVoice
from sipbot.agent.providers.espeak import EspeakSynthesizer, EspeakVoice
from sipbot.agent.providers.fallback import (
    FallbackLanguageModel,
    FallbackRealtimeModel,
    FallbackSynthesizer,
)
from sipbot.agent.providers.fallback_listening import FallbackSpeechToText
from sipbot.agent.providers.gemini_live import GeminiLive
from sipbot.agent.providers.google_cloud import GoogleAccount, GoogleEars, GoogleVoice
from sipbot.agent.providers.http import HttpService
from sipbot.agent.providers.openai_audio import OpenAiSpeech, OpenAiTranscriptions
from sipbot.agent.providers.openai_chat import OpenAiChat
from sipbot.agent.providers.openai_realtime import OpenAiRealtime
from sipbot.agent.providers.patience import Patience
from sipbot.agent.providers.piper import PiperVoice
from sipbot.agent.providers.whisper import WhisperEars, WhisperSettings
from sipbot.call.speech import Synthesizer
from sipbot.ops.config_providers import (
    CartesiaTtsConfig,
    DeepgramSttConfig,
    DeepgramTtsConfig,
    ElevenLabsTtsConfig,
    EspeakTtsConfig,
    GeminiRealtimeConfig,
    GoogleSttConfig,
    GoogleTtsConfig,
    LlmProvider,
    OpenAiLlmConfig,
    OpenAiRealtimeConfig,
    OpenAiSttConfig,
    OpenAiTtsConfig,
    PatienceConfig,
    PiperTtsConfig,
    ProviderSection,
    RealtimeProvider,
    SarvamSttConfig,
    SarvamTtsConfig,
    SttProvider,
    TtsProvider,
    WhisperSttConfig,
)
from sipbot.ops.section import Section

HURRY: Final = PatienceConfig(connect_s=1.0, first_s=2.0, attempts=1)

C = TypeVar("C", bound=Section)
P = TypeVar("P")


def make_llm(chain: Sequence[LlmProvider], counts: Counts) -> LanguageModel:
    """A language model, or a chain of them."""
    members = _members(chain, _names(chain), lambda config: _llm(config, counts))
    return members[0][1] if len(members) == 1 else FallbackLanguageModel(members, counts)


def make_stt(chain: Sequence[SttProvider], counts: Counts) -> SpeechToText:
    """A recogniser. A single one is a chain too, so that a lost connection is opened anew."""
    return FallbackSpeechToText(
        _members(chain, _names(chain), lambda config: _stt(config, counts)), counts
    )


def make_tts(chain: Sequence[TtsProvider], counts: Counts) -> Synthesizer:
    """A voice, or a chain of them."""
    members = _members(chain, _names(chain), lambda config: _tts(config, counts))
    return members[0][1] if len(members) == 1 else FallbackSynthesizer(members, counts)


def make_realtime(chain: Sequence[RealtimeProvider], counts: Counts) -> RealtimeModel:
    """A speech-to-speech model, or a chain of them."""
    members = _members(chain, _names(chain), lambda config: _realtime(config, counts))
    return members[0][1] if len(members) == 1 else FallbackRealtimeModel(members, counts)


def _names(
    chain: Sequence[LlmProvider | SttProvider | TtsProvider | RealtimeProvider],
) -> list[str]:
    return [config.provider for config in chain]


def _members(
    chain: Sequence[C], names: Sequence[str], make: Callable[[C], P]
) -> list[tuple[str, P]]:
    hurried = [_hurried(config) for config in chain[:-1]]
    return list(zip(names, map(make, (*hurried, *chain[-1:])), strict=True))


def _hurried(config: C) -> C:
    """The same provider with ``HURRY`` for what its section leaves out."""
    if not isinstance(config, ProviderSection):
        return config
    said = config.patience.model_dump(exclude_unset=True)
    patience = HURRY.model_copy(update=said)
    return config.model_copy(update={"patience": patience})


def _llm(config: OpenAiLlmConfig, counts: Counts) -> LanguageModel:
    return OpenAiChat(_openai(config), counts, config.model, config.options)


def _stt(config: SttProvider, counts: Counts) -> SpeechToText:
    match config:
        case OpenAiSttConfig():
            return OpenAiTranscriptions(_openai(config), counts, config.model, config.prompt)
        case DeepgramSttConfig():
            return deepgram.DeepgramEars(
                _socket_url(config.base_url),
                config.api_key.get_secret_value(),
                counts,
                model=config.model,
                language=config.language,
                options=config.options,
                patience=_patience(config.patience),
            )
        case SarvamSttConfig():
            return sarvam.SarvamEars(
                _socket_url(config.base_url),
                config.api_key.get_secret_value(),
                counts,
                model=config.model,
                language=config.language,
                options=config.options,
                patience=_patience(config.patience),
            )
        case GoogleSttConfig():
            return GoogleEars(
                GoogleAccount(config.credentials, config.endpoint),
                counts,
                model=config.model,
                language=config.language,
                patience=_patience(config.patience),
            )
        case WhisperSttConfig():
            settings = WhisperSettings(
                config.model, config.language, config.device, config.compute_type, config.threads
            )
            return WhisperEars(settings, counts)


def _tts(config: TtsProvider, counts: Counts) -> Synthesizer:
    match config:
        case OpenAiTtsConfig():
            return OpenAiSpeech(
                _openai(config),
                counts,
                config.model,
                config.voice,
                speed=config.speed,
                instructions=config.instructions,
            )
        case GoogleTtsConfig():
            return GoogleVoice(
                GoogleAccount(config.credentials, config.endpoint),
                counts,
                voice=config.voice,
                rate=config.rate,
                patience=_patience(config.patience),
            )
        case PiperTtsConfig():
            return PiperVoice(config.model, counts)
        case EspeakTtsConfig():
            return EspeakSynthesizer(EspeakVoice(config.voice, config.words_per_minute))
        case _:
            return _hosted_tts(config, counts)


def _hosted_tts(
    config: DeepgramTtsConfig | ElevenLabsTtsConfig | CartesiaTtsConfig | SarvamTtsConfig,
    counts: Counts,
) -> Synthesizer:
    key = config.api_key.get_secret_value()
    patience, name, url = _patience(config.patience), config.provider, config.base_url
    match config:
        case DeepgramTtsConfig():
            service = HttpService(name, url, deepgram.authorization(key), patience)
            return deepgram.DeepgramVoice(service, counts, config.voice, config.rate)
        case ElevenLabsTtsConfig():
            return ElevenLabsVoice(
                HttpService(name, url, {"xi-api-key": key}, patience),
                counts,
                config.model,
                config.voice,
                rate=config.rate,
                language=config.language,
                settings=config.settings,
            )
        case CartesiaTtsConfig():
            return cartesia.CartesiaVoice(
                HttpService(name, url, cartesia.authorization(key), patience),
                counts,
                config.model,
                config.voice,
                rate=config.rate,
                language=config.language,
            )
        case SarvamTtsConfig():
            return sarvam.SarvamVoice(
                HttpService(name, url, sarvam.authorization(key), patience),
                counts,
                config.model,
                config.voice,
                language=config.language,
                rate=config.rate,
                pace=config.pace,
            )


def _realtime(config: RealtimeProvider, counts: Counts) -> RealtimeModel:
    match config:
        case OpenAiRealtimeConfig():
            return OpenAiRealtime(
                config.base_url,
                config.api_key.get_secret_value(),
                counts,
                model=config.model,
                voice=config.voice,
                transcription=config.transcription,
                options=config.options,
                patience=_patience(config.patience),
            )
        case GeminiRealtimeConfig():
            return GeminiLive(
                config.base_url,
                config.api_key.get_secret_value(),
                counts,
                model=config.model,
                voice=config.voice,
                options=config.options,
                patience=_patience(config.patience),
            )


def _openai(config: OpenAiLlmConfig | OpenAiSttConfig | OpenAiTtsConfig) -> HttpService:
    headers = _bearer(config.api_key) if config.api_key is not None else {}
    return HttpService(config.provider, config.base_url, headers, _patience(config.patience))


def _bearer(key: SecretStr) -> dict[str, str]:
    return {"Authorization": f"Bearer {key.get_secret_value()}"}


def _patience(config: PatienceConfig) -> Patience:
    return Patience(
        connect_s=config.connect_s,
        first_s=config.first_s,
        between_s=config.between_s,
        attempts=config.attempts,
    )


def _socket_url(url: str) -> str:
    """The same address for a WebSocket."""
    return "ws" + url.removeprefix("http")
