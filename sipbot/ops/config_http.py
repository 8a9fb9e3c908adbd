"""The section ``http`` of the configuration, and what a trunk says of its streams."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, SecretStr, model_validator

from sipbot.ops.section import Seconds, Section, matching
from sipbot.ops.values import FilePath, HttpListenUrl, Network

PUBLIC_URL_PATTERN: Final = r"^https?://[^\s/?#]+(/[^\s?#]*)?$"

PublicUrl = Annotated[
    str, matching(PUBLIC_URL_PATTERN, "must look like https://bot.example.com or http://…")
]


class HttpTlsConfig(Section):
    """Certificate of the HTTP listener. Exotel takes certificates of public authorities only."""

    certificate: FilePath
    """PEM file with the certificate and its chain."""
    private_key: FilePath
    """PEM file with the key of `certificate`."""

    empty_means_defaults: ClassVar[bool] = False


class HttpConfig(Section):
    """HTTP interface: `/health`, `/ready`, `/metrics`, and Exotel's streams and callbacks."""

    listen: HttpListenUrl | None = None
    """Where to serve HTTP: `http://127.0.0.1:8080`, or `https://…` with `tls`. Whoever reaches it
    may read the pages for monitoring; streams have rules of their own. Absent: no HTTP."""
    tls: HttpTlsConfig | None = None
    """Certificate for `https://…`. Read again on SIGHUP."""
    trusted_proxies: tuple[Network, ...] = ()
    """Addresses and networks of proxies whose X-Forwarded-For and X-Forwarded-Proto count."""
    public_url: PublicUrl | None = None
    """How Exotel reaches this interface, for example `https://bot.example.com`. URLs that sipbot
    hands out start with it. Absent: the Host of each request."""
    token: SecretStr | None = Field(default=None, min_length=8)
    """Bearer token of `/api`. Absent: `/api` answers loopback only."""

    @model_validator(mode="after")
    def _tls_fits(self) -> HttpConfig:
        if self.listen is not None and self.listen.secure and self.tls is None:
            raise ValueError("listen with https:// needs tls: {certificate, private_key}")
        if self.listen is not None and not self.listen.secure and self.tls is not None:
            raise ValueError("with tls, listen must start with https://")
        return self


class StreamConfig(Section):
    """AgentStream WebSockets of a trunk (Voicebot and Stream applets), see `docs/exotel.md`."""

    require: Literal["auto", "address", "credentials", "both", "either"] = "auto"
    """What a stream needs: an address of `allow`, user and password, both of them, or either.
    `auto`: user and password where they are set, else the address."""
    user: str | None = Field(default=None, min_length=1, max_length=128, pattern=r"^[^:\s]+$")
    """User of `wss://USER:PASSWORD@HOST/…`."""
    password: SecretStr | None = Field(default=None, min_length=1, max_length=128)
    """Password of the same."""
    message_bytes: int = Field(default=3_200, ge=320, le=100_000, multiple_of=320)
    """Audio in each message to Exotel, in bytes. 3200 is Exotel's documented least and is 200 ms
    at 8 kHz; smaller ones (640) are cleared sooner when a caller interrupts."""
    lead_ms: int = Field(default=100, ge=20, le=1_000)
    """Audio that Exotel still has to play when the next message leaves, in ms."""
    timeout_s: Seconds = 30.0
    """Seconds without any message after which a stream is ended."""

    @model_validator(mode="after")
    def _credentials_fit(self) -> StreamConfig:
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password must be given together")
        if self.require in ("credentials", "both", "either") and self.user is None:
            raise ValueError(f"require: {self.require} needs user and password")
        if self.require == "address" and self.user is not None:
            raise ValueError("require: address does not look at user and password; leave them out")
        return self
