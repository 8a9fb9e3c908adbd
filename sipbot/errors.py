"""The one exception tree of sipbot.

::

    SipbotError
    ├── LocalProtocolError        we asked a protocol core for something it forbids (our bug)
    ├── RemoteProtocolError       the peer broke a rule; carries the SIP status to answer with
    │   ├── SipSyntaxError        bytes that are no SIP message
    │   ├── SdpError              a session description that cannot be read or answered
    │   ├── RtpError              a datagram that is no RTP, RTCP or telephone-event packet
    │   └── StreamError           a message of a WebSocket stream that cannot be read
    ├── ConfigError               the configuration is wrong: file, line, key, value, allowed
    ├── TransportError            a peer cannot be reached, or a listener cannot be opened
    │   └── SocketClosed          a WebSocket was closed; carries the close code
    ├── MediaError                the media plane cannot serve
    │   └── PortsExhausted        no RTP port pair is free
    ├── StoreError                the store cannot be opened, read or written
    ├── SpeechError               a synthesiser failed
    │   └── SpeechServiceError    the same, by a service: also a ProviderError
    └── ProviderError             a speech or language service did not do its work

Functions that read bytes from the network raise ``RemoteProtocolError`` (or a leaf of it) and
nothing else. Any other exception out of them is a bug.
"""

from __future__ import annotations

from dataclasses import dataclass


class SipbotError(Exception):
    """Base of everything that sipbot raises on purpose."""


class LocalProtocolError(SipbotError):
    """Our own code asked a protocol core for a step that its state forbids."""


class RemoteProtocolError(SipbotError):
    """The peer broke a protocol rule.

    ``status`` is the SIP status code to answer with, ``reason`` a short text that names the rule
    and holds no user data, so that it may be logged and sent in a Warning or reason phrase.
    """

    default_status = 400

    def __init__(self, reason: str, *, status: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = self.default_status if status is None else status


class SipSyntaxError(RemoteProtocolError):
    """Bytes that are no SIP message (RFC 3261 section 25)."""


class SdpError(RemoteProtocolError):
    """A session description that cannot be read (400) or answered (488)."""

    default_status = 488


class RtpError(RemoteProtocolError):
    """A datagram on a media port that is no valid RTP, RTCP or telephone-event packet."""


class StreamError(RemoteProtocolError):
    """A message of a WebSocket stream that cannot be read, or that comes out of order."""


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One mistake in a configuration file.

    ``line`` counts from 1 and is 0 when the file as a whole is meant; ``value`` is already
    redacted when the key holds a secret.
    """

    file: str
    line: int
    key: str
    value: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        shown = f" = {self.value}" if self.value else ""
        return f"{where}: {self.key}{shown}: {self.message}"


class ConfigError(SipbotError):
    """The configuration is wrong; ``problems`` lists every mistake found."""

    def __init__(self, problems: tuple[ConfigProblem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class TransportError(SipbotError):
    """A peer cannot be reached or a listener cannot be opened."""


class SocketClosed(TransportError):
    """A WebSocket is closed. ``code`` is that of RFC 6455 section 7.4; 1006 when it was lost."""

    def __init__(self, code: int) -> None:
        super().__init__(f"closed-{code}")
        self.code = code


class MediaError(SipbotError):
    """The media plane cannot do what was asked."""


class PortsExhausted(MediaError):
    """No RTP port pair is free in the configured range."""


class StoreError(SipbotError):
    """The store cannot be opened, read or written now. The text holds no stored data."""


class SpeechError(SipbotError):
    """A synthesiser failed or is not available."""


class ProviderError(SipbotError):
    """A speech or language service did not do its work.

    ``reason`` is a constant text such as ``timeout``, ``unauthorised``, ``rate-limited``,
    ``cut-off``, ``garbage``, ``unreachable``; ``retry`` whether the same request may go through
    later, ``retry_after_s`` when, in seconds, if the service said so.
    """

    def __init__(
        self,
        provider: str,
        reason: str,
        *,
        retry: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(f"{provider}: {reason}")
        self.provider, self.reason = provider, reason
        self.retry, self.retry_after_s = retry, retry_after_s


class SpeechServiceError(ProviderError, SpeechError):
    """A service that makes speech did not do its work."""
