"""SIP and SIPS URIs (RFC 3261 section 19.1), tel URIs (RFC 3966) and opaque others."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import unquote as percent_decode

from sipbot.errors import SipSyntaxError
from sipbot.sip.grammar import (
    HOST,
    MAX_PARAMETERS,
    TOO_LARGE,
    Parameters,
    find_parameter,
    format_parameters,
    parse_port,
    set_parameter,
)

# SIP-URI  = "sip:" [ userinfo ] hostport uri-parameters [ headers ]
# userinfo = ( user / telephone-subscriber ) [ ":" password ] "@"
# user     = 1*( unreserved / escaped / "&" / "=" / "+" / "$" / "," / ";" / "?" / "/" )
# Wider by "#": phones put a dialled # into the URI without escaping it.
_USER: Final = r"(?:[A-Za-z0-9\-_.!~*'()&=+$,;?/#]++|%[0-9A-Fa-f]{2})++"
_PASSWORD: Final = r"(?:[A-Za-z0-9\-_.!~*'()&=+$,]++|%[0-9A-Fa-f]{2})*+"
# A raw "@" can stand nowhere but after the userinfo, so the rest may exclude it.
_SIP_RE: Final = re.compile(
    rf"(?:({_USER})(?::({_PASSWORD}))?@)?"  # 1 user, 2 password
    rf"({HOST})(?::([0-9]++))?"  # 3 host, 4 port
    r"((?:;[^;?@ \t<>\"\x00-\x1f\x7f]++)*+)"  # 5 parameters
    r"(?:\?([^?@ \t<>\"\x00-\x1f\x7f]*+))?"  # 6 headers
)
# uri-parameter = pname [ "=" pvalue ]
_PARAMETER_RE: Final = re.compile(r"([^=]++)(?:=(.++))?")
_SCHEME_RE: Final = re.compile(r"([A-Za-z][A-Za-z0-9+\-.]*+):")
# telephone-subscriber (RFC 3966 section 3), separators included. Wider by "," "p" "w" (pauses).
_TEL_RE: Final = re.compile(r"(\+?[0-9A-Fa-f*#\-.()pw,]++)((?:;[^;?@ \t<>\"\x00-\x1f\x7f]++)*+)")
_OPAQUE_RE: Final = re.compile(r"[^ \t<>\"\x00-\x1f\x7f]++")
_ESCAPE_RE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.!~*'()"
)
# RFC 3261 section 19.1.4: these count even when only one of the URIs has them.
_ALWAYS_COMPARED: Final = ("user", "ttl", "method", "maddr", "transport")


@dataclass(frozen=True, slots=True)
class Uri:
    """A URI as received.

    For ``sip`` and ``sips`` all fields have their RFC 3261 meaning; ``user``, ``password`` and
    ``headers`` keep their escapes, and an IPv6 ``host`` has no brackets. For ``tel`` the number is
    the ``user`` and ``host`` is empty. For every other scheme all that follows the colon is the
    ``host``, uninterpreted. ``scheme`` is lower case.
    """

    scheme: str
    user: str | None
    password: str | None
    host: str
    port: int | None
    parameters: Parameters = ()
    headers: str = ""

    @classmethod
    def parse(cls, text: str) -> Uri:
        """Read a URI. Raises ``SipSyntaxError``."""
        match = _SCHEME_RE.match(text)
        if match is None:
            raise SipSyntaxError("Bad URI")
        scheme = match[1].lower()
        rest = text[match.end() :]
        if scheme in ("sip", "sips"):
            return _parse_sip(scheme, rest)
        if scheme == "tel" and (number := _TEL_RE.fullmatch(rest)):
            return cls("tel", number[1], None, "", None, _parse_parameters(number[2]))
        if not _OPAQUE_RE.fullmatch(rest):
            raise SipSyntaxError("Bad URI")
        return cls(scheme, None, None, rest, None)

    def __str__(self) -> str:
        if self.scheme not in ("sip", "sips"):
            return f"{self.scheme}:{self.user or ''}{self.host}{format_parameters(self.parameters)}"
        user = "" if self.user is None else f"{self.user}@"
        if self.password is not None:
            user = f"{self.user or ''}:{self.password}@"
        tail = format_parameters(self.parameters) if self.parameters else ""
        if self.headers:
            tail = f"{tail}?{self.headers}"
        return f"{self.scheme}:{user}{format_host(self.host, self.port)}{tail}"

    @property
    def user_decoded(self) -> str:
        """The user part without escapes, ``""`` when there is none."""
        return percent_decode(self.user) if self.user else ""

    @property
    def transport(self) -> str | None:
        """The transport the URI asks for, in lower case; ``tls`` for every ``sips``, else None."""
        if self.scheme == "sips":
            return "tls"
        named = self.parameter("transport")
        return named.lower() if named else None

    def parameter(self, name: str) -> str | None:
        """Value of a parameter: ``""`` for a flag, None when absent. Case-insensitive."""
        return find_parameter(self.parameters, name) if self.parameters else None

    def has_parameter(self, name: str) -> bool:
        """Whether the URI has that parameter, with or without a value."""
        return self.parameter(name) is not None

    def with_parameter(self, name: str, value: str | None) -> Uri:
        """The same URI with that parameter set; ``None`` makes it a flag."""
        return replace(self, parameters=set_parameter(self.parameters, name, value))

    def matches(self, other: Uri) -> bool:
        """Equality by the rules of RFC 3261 section 19.1.4 (not transitive, says the RFC)."""
        if self.scheme not in ("sip", "sips"):
            return str(self).lower() == str(other).lower()
        return (
            self.scheme == other.scheme
            # "Comparison of the userinfo of SIP and SIPS URIs is case-sensitive."
            and _normal(self.user) == _normal(other.user)
            and _normal(self.password) == _normal(other.password)
            and self.host.lower() == other.host.lower()
            # "A URI omitting any component with a default value will not match a URI explicitly
            # containing that component with its default value."
            and self.port == other.port
            and _parameters_match(self, other)
            and _header_set(self.headers) == _header_set(other.headers)
        )


def format_host(host: str, port: int | None = None) -> str:
    """``host[:port]`` with the brackets that an IPv6 address needs."""
    shown = f"[{host}]" if ":" in host else host
    return shown if port is None else f"{shown}:{port}"


def parse_host(text: str) -> str:
    """A host that matched ``grammar.HOST``, without brackets. Raises ``SipSyntaxError``."""
    if text[0] != "[":
        return text
    # RFC 5118 section 4.10: the ABNF of RFC 3261 produces three colons before an embedded IPv4
    # address, so implementations that follow it to the letter send them.
    address = text[1:-1].replace(":::", "::")
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        raise SipSyntaxError("Bad IPv6 Address") from None
    return address


def _parse_sip(scheme: str, rest: str) -> Uri:
    match = _SIP_RE.fullmatch(rest)
    if match is None:
        raise SipSyntaxError("Bad URI")
    user, password, host, port, parameters, headers = match.groups()
    return Uri(
        scheme,
        user,
        password,
        parse_host(host),
        parse_port(port) if port else None,
        _parse_parameters(parameters) if parameters else (),
        headers or "",
    )


def _parse_parameters(text: str) -> Parameters:
    found: list[tuple[str, str | None]] = []
    for part in text.split(";")[1:]:
        match = _PARAMETER_RE.fullmatch(part)
        if match is None:
            raise SipSyntaxError("Bad URI Parameter")
        found.append((match[1], match[2]))
        if len(found) > MAX_PARAMETERS:
            raise SipSyntaxError("Too Many URI Parameters", status=TOO_LARGE)
    return tuple(found)


def _normal(text: str | None) -> str | None:
    """Escapes of characters that need none undone, the others in upper case."""
    return text and _ESCAPE_RE.sub(_normal_escape, text)


def _normal_escape(match: re.Match[str]) -> str:
    character = chr(int(match[1], 16))
    return character if character in _UNRESERVED else match[0].upper()


def _parameters_match(one: Uri, other: Uri) -> bool:
    ours = {name.lower(): _normal((value or "").lower()) for name, value in one.parameters}
    theirs = {name.lower(): _normal((value or "").lower()) for name, value in other.parameters}
    if any(ours.get(name) != theirs.get(name) for name in _ALWAYS_COMPARED):
        return False
    # "All other uri-parameters appearing in only one URI are ignored when comparing the URIs."
    return all(theirs.get(name, value) == value for name, value in ours.items())


def _header_set(headers: str) -> frozenset[tuple[str, str | None]]:
    pairs = (part.partition("=") for part in headers.split("&")) if headers else ()
    return frozenset((name.lower(), _normal(value)) for name, _, value in pairs)
