"""Google's gRPC services, on loopback without TLS."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.cloud import speech_v1, texttospeech_v1
from google.cloud.speech_v1.services.speech.transports import SpeechGrpcAsyncIOTransport
from google.cloud.texttospeech_v1.services.text_to_speech.transports import (
    TextToSpeechGrpcAsyncIOTransport,
)

Recognise = Callable[[AsyncIterator[Any], Any], AsyncIterator[Any]]
Synthesise = Callable[[Any, Any], Any]


@asynccontextmanager
async def grpc_serving(recognise: Any = None, synthesise: Any = None) -> AsyncGenerator[str, None]:
    """Yields host and port. ``recognise`` is a ``Recognise``, ``synthesise`` a ``Synthesise``."""
    server = grpc.aio.server()
    recognising = grpc.stream_stream_rpc_method_handler(
        recognise,
        speech_v1.StreamingRecognizeRequest.deserialize,
        speech_v1.StreamingRecognizeResponse.serialize,
    )
    synthesising = grpc.unary_unary_rpc_method_handler(
        synthesise,
        texttospeech_v1.SynthesizeSpeechRequest.deserialize,
        texttospeech_v1.SynthesizeSpeechResponse.serialize,
    )
    services = (
        ("google.cloud.speech.v1.Speech", {"StreamingRecognize": recognising}),
        ("google.cloud.texttospeech.v1.TextToSpeech", {"SynthesizeSpeech": synthesising}),
    )
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(name, methods) for name, methods in services]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


def speech_client(target: str) -> Any:
    transport = SpeechGrpcAsyncIOTransport(channel=grpc.aio.insecure_channel(target))
    return speech_v1.SpeechAsyncClient(transport=transport)


def voice_client(target: str) -> Any:
    transport = TextToSpeechGrpcAsyncIOTransport(channel=grpc.aio.insecure_channel(target))
    return texttospeech_v1.TextToSpeechAsyncClient(transport=transport)


def heard(text: str, *, final: bool = False, confidence: float = 0.0) -> Any:
    best = speech_v1.SpeechRecognitionAlternative(transcript=text, confidence=confidence)
    result = speech_v1.StreamingRecognitionResult(alternatives=[best], is_final=final)
    return speech_v1.StreamingRecognizeResponse(results=[result])
