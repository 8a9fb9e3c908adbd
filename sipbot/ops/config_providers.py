"""Speech and language services in the configuration: keys ``stt``, ``llm``, ``tts``, ``realtime``.

Each key takes one provider or a list of them, which is a chain: the next one answers when one
fails. ``sipbot.runtime.providers`` makes what these sections describe.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from sipbot.ops.section import NotEmpty, Section, matching
from sipbot.ops.values import FilePath

OPENAI: Final = "https://api.openai.com/v1"
OPENAI_REALTIME: Final = "wss://api.openai.com/v1"
DEEPGRAM: Final = "https://api.deepgram.com/v1"
ELEVENLABS: Final = "https://api.elevenlabs.io/v1"
CARTESIA: Final = "https://api.cartesia.ai"
SARVAM: Final = "https://api.sarvam.ai"
GEMINI: Final = "wss://generativelanguage.googleapis.com/ws"


def _plain_key(key: SecretStr) -> SecretStr:
    """Keys stand in HTTP headers."""
    text = key.get_secret_value()
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be a key of printable ASCII characters without spaces, not empty")
    return key


def _in_list(value: object) -> object:
    return [value] if isinstance(value, dict | Section) else value


ApiKey = Annotated[SecretStr, AfterValidator(_plain_key)]
ServiceUrl = Annotated[
    str, matching(r"https?://[^\s?#]+", "must look like https://HOST/PATH or http://HOST:PORT/PATH")
]
SocketUrl = Annotated[
    str, matching(r"wss?://[^\s?#]+", "must look like wss://HOST/PATH or ws://HOST:PORT/PATH")
]
Text: TypeAlias = Annotated[str, Field(min_length=1, max_length=256)]
Language: TypeAlias = Annotated[
    str,
    matching(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*", "must be a language such as en, en-IN or hi"),
]
HostName: TypeAlias = Annotated[
    str, matching(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?", "must be a host name")
]
Options: TypeAlias = dict[str, Any]


class PatienceConfig(Section):
    """How long a provider may take, and how often it is asked.

    In a list, all but the last have `connect_s: 1`, `first_s: 2` and `attempts: 1` for what is left
    out: there is somebody else to ask.
    """

    connect_s: float = Field(default=2.0, gt=0, le=60)
    """Longest time to connect, in seconds."""
    first_s: float = Field(default=4.0, gt=0, le=120)
    """Longest time from a request to the first piece of its answer, in seconds."""
    between_s: float = Field(default=3.0, gt=0, le=120)
    """Longest time from one piece to the next, in seconds."""
    attempts: int = Field(default=2, ge=1, le=5)
    """How often a request is sent at most. It is repeated only while nothing was answered, and when
    that may help."""


class ProviderSection(Section):
    """What all providers that are reached over a network have in common."""

    patience: PatienceConfig = PatienceConfig()
    """How long it may take."""

    empty_means_defaults: ClassVar[bool] = False


class _OpenAiSection(ProviderSection):
    api_key: ApiKey | None = None
    """The key, best written `${OPENAI_API_KEY}`. Servers of your own may need none."""
    base_url: ServiceUrl = OPENAI
    """Where the interface is, with its `/v1`: OpenAI, or vLLM (`http://127.0.0.1:8000/v1`), Ollama
    (`http://127.0.0.1:11434/v1`), llama.cpp (`http://127.0.0.1:8080/v1`) and others like it."""

    @model_validator(mode="after")
    def _key_for_openai(self) -> _OpenAiSection:
        if self.base_url == OPENAI and self.api_key is None:
            raise ValueError("api_key is required for api.openai.com")
        return self


class OpenAiLlmConfig(_OpenAiSection):
    """Chat completions of OpenAI, and of any server that offers the same interface."""

    provider: Literal["openai"]
    """Always `openai`."""
    model: Text
    """The model, as the server names it."""
    options: Options = Field(default_factory=dict)
    """More of the request, as it is: `temperature`, `max_tokens`, `reasoning_effort` …"""


class OpenAiSttConfig(_OpenAiSection):
    """Transcriptions of OpenAI and the like: one request for each utterance, no interim texts."""

    provider: Literal["openai"]
    """Always `openai`."""
    model: Text = "gpt-4o-mini-transcribe"
    """The model."""
    prompt: str = Field(default="", max_length=2_000)
    """What the conversation is about, for the model."""


class DeepgramSttConfig(ProviderSection):
    """Deepgram's streaming recognition."""

    provider: Literal["deepgram"]
    """Always `deepgram`."""
    api_key: ApiKey
    """The key, best written `${DEEPGRAM_API_KEY}`."""
    model: Text = "nova-3"
    """The model."""
    language: Language | Literal["multi"] | None = None
    """Language, or `multi`. Absent: that of the agent."""
    options: dict[str, str] = Field(default_factory=dict)
    """More query parameters, as Deepgram has them."""
    base_url: ServiceUrl = DEEPGRAM
    """Where the interface is."""


class SarvamSttConfig(ProviderSection):
    """Sarvam's streaming recognition for the languages of India."""

    provider: Literal["sarvam"]
    """Always `sarvam`."""
    api_key: ApiKey
    """The key, best written `${SARVAM_API_KEY}`."""
    model: Text = "saarika:v2.5"
    """The model."""
    language: Language | None = None
    """Language. Absent: that of the agent, else it is found out."""
    options: dict[str, str] = Field(default_factory=dict)
    """More query parameters, as Sarvam has them: `mode`, `high_vad_sensitivity` …"""
    base_url: ServiceUrl = SARVAM
    """Where the interface is."""


class GoogleSttConfig(ProviderSection):
    """Google Cloud's streaming recognition, by its library (`pip install "sipbot[google]"`)."""

    provider: Literal["google"]
    """Always `google`."""
    credentials: FilePath | None = None
    """File of a service account. Absent: the credentials of the machine."""
    endpoint: HostName | None = None
    """Host of a region, for example `asia-south1-speech.googleapis.com`. Absent: the global one."""
    model: Text = "telephony"
    """The model."""
    language: Language | None = None
    """Language. Absent: that of the agent."""


class WhisperSttConfig(Section):
    """Whisper on this machine, by faster-whisper, with a model that lies on its disk."""

    provider: Literal["whisper"]
    """Always `whisper`."""
    model: FilePath
    """Directory of the model, in CTranslate2's form. Nothing is downloaded."""
    language: Language | None = None
    """Language. Absent: that of the agent, else it is found out."""
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    """Where it runs."""
    compute_type: Text = "int8"
    """Precision, as CTranslate2 names it."""
    threads: int = Field(default=2, ge=1, le=64)
    """Threads of one transcription."""

    empty_means_defaults: ClassVar[bool] = False


class OpenAiTtsConfig(_OpenAiSection):
    """Speech of OpenAI and the like, streamed."""

    provider: Literal["openai"]
    """Always `openai`."""
    model: Text = "gpt-4o-mini-tts"
    """The model."""
    voice: Text = "alloy"
    """The voice."""
    speed: float | None = Field(default=None, ge=0.25, le=4)
    """Speed; 1 is the voice's own."""
    instructions: str = Field(default="", max_length=2_000)
    """How to speak, where the model heeds it."""


class DeepgramTtsConfig(ProviderSection):
    """Deepgram's speech, streamed."""

    provider: Literal["deepgram"]
    """Always `deepgram`."""
    api_key: ApiKey
    """The key, best written `${DEEPGRAM_API_KEY}`."""
    voice: Text = "aura-2-thalia-en"
    """The voice, which is a model at Deepgram."""
    rate: Literal[8000, 16000, 24000] = 16_000
    """Sample rate, in Hz."""
    base_url: ServiceUrl = DEEPGRAM
    """Where the interface is."""


class ElevenLabsTtsConfig(ProviderSection):
    """ElevenLabs' speech, streamed."""

    provider: Literal["elevenlabs"]
    """Always `elevenlabs`."""
    api_key: ApiKey
    """The key, best written `${ELEVENLABS_API_KEY}`."""
    voice: Text
    """Id of the voice."""
    model: Text = "eleven_flash_v2_5"
    """The model."""
    language: Annotated[str, Field(pattern=r"^[a-z]{2}$")] | None = None
    """Language, for models that take one: `en`, `hi` …"""
    rate: Literal[8000, 16000, 22050, 24000] = 16_000
    """Sample rate, in Hz."""
    settings: Options = Field(default_factory=dict)
    """ElevenLabs' `voice_settings`: `stability`, `similarity_boost`, `speed` …"""
    base_url: ServiceUrl = ELEVENLABS
    """Where the interface is."""


class CartesiaTtsConfig(ProviderSection):
    """Cartesia's speech, streamed."""

    provider: Literal["cartesia"]
    """Always `cartesia`."""
    api_key: ApiKey
    """The key, best written `${CARTESIA_API_KEY}`."""
    voice: Text
    """Id of the voice."""
    model: Text = "sonic-3"
    """The model."""
    language: Annotated[str, Field(pattern=r"^[a-z]{2}$")] | None = None
    """Language: `en`, `hi` …"""
    rate: Literal[8000, 16000, 22050, 24000] = 16_000
    """Sample rate, in Hz."""
    base_url: ServiceUrl = CARTESIA
    """Where the interface is."""


class SarvamTtsConfig(ProviderSection):
    """Sarvam's speech for the languages of India, streamed."""

    provider: Literal["sarvam"]
    """Always `sarvam`."""
    api_key: ApiKey
    """The key, best written `${SARVAM_API_KEY}`."""
    voice: Text = "anushka"
    """The speaker."""
    model: Text = "bulbul:v2"
    """The model."""
    language: Language = "hi-IN"
    """Language of the texts."""
    rate: Literal[8000, 16000, 22050, 24000] = 16_000
    """Sample rate, in Hz."""
    pace: float | None = Field(default=None, ge=0.3, le=3)
    """Speed; 1 is the speaker's own."""
    base_url: ServiceUrl = SARVAM
    """Where the interface is."""


class GoogleTtsConfig(ProviderSection):
    """Google Cloud's speech, by its library (`pip install "sipbot[google]"`)."""

    provider: Literal["google"]
    """Always `google`."""
    credentials: FilePath | None = None
    """File of a service account. Absent: the credentials of the machine."""
    endpoint: HostName | None = None
    """Host of a region. Absent: the global one."""
    voice: Annotated[
        str, matching(r"[a-z]{2,3}-[A-Z]{2}-.{1,100}", "must look like hi-IN-Wavenet-A")
    ] = "en-IN-Wavenet-A"
    """The voice, whose name begins with its language."""
    rate: Literal[8000, 16000, 24000] = 16_000
    """Sample rate, in Hz."""


class PiperTtsConfig(Section):
    """Piper on this machine, with a voice that lies on its disk."""

    provider: Literal["piper"]
    """Always `piper`."""
    model: FilePath
    """The voice, an `.onnx` file with its `.onnx.json` beside it. Nothing is downloaded."""

    empty_means_defaults: ClassVar[bool] = False


class EspeakTtsConfig(Section):
    """espeak-ng, which needs no network: a good end of a chain."""

    provider: Literal["espeak"]
    """Always `espeak`."""
    voice: Text = "en-gb"
    """Voice, as espeak-ng names it."""
    words_per_minute: int = Field(default=155, ge=80, le=450)
    """Speed."""

    empty_means_defaults: ClassVar[bool] = False


class OpenAiRealtimeConfig(ProviderSection):
    """OpenAI's Realtime interface: a model that hears and speaks itself."""

    provider: Literal["openai"]
    """Always `openai`."""
    api_key: ApiKey
    """The key, best written `${OPENAI_API_KEY}`."""
    model: Text = "gpt-realtime"
    """The model."""
    voice: Text = "marin"
    """The voice, unless the agent wants another one."""
    transcription: Text | None = "gpt-4o-mini-transcribe"
    """Model that writes down what the caller says, for the record. `null`: nobody does."""
    options: Options = Field(default_factory=dict)
    """More of the session, as OpenAI has it: `max_output_tokens`, `tracing` …"""
    base_url: SocketUrl = OPENAI_REALTIME
    """Where the interface is."""


class GeminiRealtimeConfig(ProviderSection):
    """Google's Gemini Live: a model that hears and speaks itself."""

    provider: Literal["gemini"]
    """Always `gemini`."""
    api_key: ApiKey
    """The key, best written `${GEMINI_API_KEY}`."""
    model: Text = "gemini-2.5-flash-native-audio-preview-12-2025"
    """The model."""
    voice: Text | None = "Kore"
    """The voice, unless the agent wants another one."""
    options: Options = Field(default_factory=dict)
    """More of `generationConfig`, as Google has it: `temperature` …"""
    base_url: SocketUrl = GEMINI
    """Where the interface is."""


LlmProvider: TypeAlias = OpenAiLlmConfig
SttProvider = Annotated[
    OpenAiSttConfig | DeepgramSttConfig | SarvamSttConfig | GoogleSttConfig | WhisperSttConfig,
    Field(discriminator="provider"),
]
TtsProvider = Annotated[
    OpenAiTtsConfig
    | DeepgramTtsConfig
    | ElevenLabsTtsConfig
    | CartesiaTtsConfig
    | SarvamTtsConfig
    | GoogleTtsConfig
    | PiperTtsConfig
    | EspeakTtsConfig,
    Field(discriminator="provider"),
]
RealtimeProvider = Annotated[
    OpenAiRealtimeConfig | GeminiRealtimeConfig, Field(discriminator="provider")
]

# Types of the keys: one provider, or a list of them.
LlmChain = Annotated[tuple[LlmProvider, ...], BeforeValidator(_in_list), *NotEmpty]
SttChain = Annotated[tuple[SttProvider, ...], BeforeValidator(_in_list), *NotEmpty]
TtsChain = Annotated[tuple[TtsProvider, ...], BeforeValidator(_in_list), *NotEmpty]
RealtimeChain = Annotated[tuple[RealtimeProvider, ...], BeforeValidator(_in_list), *NotEmpty]
