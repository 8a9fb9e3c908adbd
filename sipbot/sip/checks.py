"""Checks of requests before anything is done for them (RFC 3261 section 8.2)."""

from __future__ import annotations

from dataclasses import dataclass

from sipbot.errors import SipSyntaxError
from sipbot.sip.capabilities import (
    ACCEPT,
    KNOWN_METHODS,
    SUPPORTED,
    URI_SCHEMES,
    UserAgentConfig,
)
from sipbot.sip.message import Request, bodies
from sipbot.sip.session_timer import min_se, session_expires


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that the core gives by itself; ``rule`` names why, for logs and counters."""

    rule: str
    status: int
    reason: str = ""
    headers: tuple[tuple[str, str], ...] = ()


def check_request(request: Request, config: UserAgentConfig) -> Refusal | None:
    """Method, URI scheme, extensions and body, in the order of section 8.2. Not for ACK, CANCEL."""
    return (
        _check_method(request, config)
        or _check_scheme(request)
        or _check_extensions(request)
        or _check_body(request)
        or _check_accept(request)
        or _check_timer_headers(request)
    )


def check_invite(request: Request) -> Refusal | None:
    """What a dialog needs of an INVITE (sections 8.1.1.8 and 12.1.1)."""
    contacts = request.contacts
    if not contacts:
        return Refusal("contact-missing", 400, "Missing Contact")
    if contacts[0].uri.scheme not in URI_SCHEMES:
        return Refusal("contact-scheme", 400, "Contact Is No SIP URI")
    if any(route.uri.scheme not in URI_SCHEMES for route in request.record_routes):
        return Refusal("record-route", 400, "Bad Record-Route")
    return None


def _check_method(request: Request, config: UserAgentConfig) -> Refusal | None:
    if request.method in config.allow:
        return None
    if request.method in KNOWN_METHODS:
        allow = (("Allow", ", ".join(config.allow)),)
        return Refusal("method-not-allowed", 405, headers=allow)
    # Section 21.5.2: "This is the appropriate response when a UAS does not recognize the request
    # method and is not capable of supporting it for any user."
    return Refusal("method-unknown", 501, headers=(("Allow", ", ".join(config.allow)),))


def _check_scheme(request: Request) -> Refusal | None:
    if request.uri.scheme in URI_SCHEMES:
        return None
    return Refusal("uri-scheme", 416)


def _check_extensions(request: Request) -> Refusal | None:
    unknown = [option for option in request.require if option not in SUPPORTED]
    if not unknown:
        return None
    # Section 8.2.2.3: "The UAS MUST add an Unsupported header field, and list in it those options
    # it does not understand". 100rel is refused so too (RFC 3262 section 3).
    return Refusal("option-unsupported", 420, headers=(("Unsupported", ", ".join(unknown)),))


def _check_body(request: Request) -> Refusal | None:
    if not request.body:
        return None
    encoding = (request.headers.get("Content-Encoding") or "identity").strip().lower()
    if encoding != "identity":
        accept = (("Accept", ACCEPT), ("Accept-Encoding", "identity"))
        return Refusal("body-encoding", 415, headers=accept)
    try:
        types = [content_type for content_type, _ in bodies(request)]
    except SipSyntaxError as error:
        return Refusal("body-syntax", 400, error.reason)
    if request.method not in ("INVITE", "UPDATE") or ACCEPT in types or _optional(request):
        return None
    return Refusal("body-type", 415, headers=(("Accept", ACCEPT),))


def _check_accept(request: Request) -> Refusal | None:
    """Section 20.1: an INVITE that names Accept must take our description (RFC 4475, sdp01)."""
    if request.method != "INVITE" or "Accept" not in request.headers:
        return None
    for value in request.headers.values("Accept"):
        media, _, _ = value.partition(";")
        if media.replace(" ", "").lower() in (ACCEPT, "application/*", "*/*"):
            return None
    return Refusal("accept", 406, headers=(("Accept", ACCEPT),))


def _optional(request: Request) -> bool:
    """Section 20.11: ``handling=optional`` lets the UAS ignore a body that it does not know."""
    disposition = request.headers.get("Content-Disposition") or ""
    return "handling=optional" in disposition.replace(" ", "").lower()


def _check_timer_headers(request: Request) -> Refusal | None:
    if request.method not in ("INVITE", "UPDATE"):
        return None
    try:
        session_expires(request)
        min_se(request)
    except SipSyntaxError as error:
        return Refusal("session-timer-syntax", 400, error.reason)
    return None
