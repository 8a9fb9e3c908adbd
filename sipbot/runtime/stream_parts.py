"""Makes what streams need from the configuration."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import replace

from sipbot.errors import TransportError
from sipbot.legs.voicebot import VoicebotSettings
from sipbot.legs.voicebot_sending import Pace
from sipbot.ops.config import Config, TrunkConfig
from sipbot.ops.config_http import HttpTlsConfig, StreamConfig
from sipbot.ops.stream_admission import StreamAdmission, StreamKey
from sipbot.runtime.assembly import admission, routes
from sipbot.runtime.streams import StreamRules


def stream_rules(config: Config) -> StreamRules:
    """Who may open streams, and what becomes of them."""
    settings = {name: _settings(trunk.stream) for name, trunk in config.trunks.items()}
    settings[""] = _settings(StreamConfig())
    return StreamRules(
        admission=StreamAdmission(admission(config), _keys(config.trunks)),
        settings=settings,
        listening={name: replace(one, listen_only=True) for name, one in settings.items()},
        routes=routes(config),
        agents=frozenset(config.agents),
        retry_after_s=config.limits.retry_after_s,
    )


def server_tls(tls: HttpTlsConfig | None) -> ssl.SSLContext | None:
    """TLS of the HTTP listener, 1.2 and newer. Raises TransportError."""
    if tls is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    load_certificate(context, tls)
    return context


def load_certificate(context: ssl.SSLContext, tls: HttpTlsConfig) -> None:
    """Read the files, for the connections that come from now on. Raises TransportError."""
    try:
        # A trial first: a key that does not fit must not spoil the context that is in use.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.certificate, tls.private_key)
        context.load_cert_chain(tls.certificate, tls.private_key)
    except OSError as error:  # ssl.SSLError is one
        cause = getattr(error, "reason", None) or error.strerror or type(error).__name__
        raise TransportError(f"http.tls: certificate or key cannot be used: {cause}") from error


def _keys(trunks: Mapping[str, TrunkConfig]) -> Mapping[str, StreamKey]:
    return {name: _key(trunk.stream) for name, trunk in trunks.items()}


def _key(stream: StreamConfig) -> StreamKey:
    if stream.user is None or stream.password is None:
        return StreamKey("address")
    require = "credentials" if stream.require == "auto" else stream.require
    return StreamKey(require, stream.user, stream.password.get_secret_value())


def _settings(stream: StreamConfig) -> VoicebotSettings:
    return VoicebotSettings(
        Pace(stream.message_bytes, stream.lead_ms / 1000), stream.timeout_s, listen_only=False
    )
