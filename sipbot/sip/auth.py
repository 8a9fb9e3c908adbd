"""Digest authentication of our requests (RFC 7616, RFC 8760, RFC 3261 section 22.4)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sipbot.sip.message import Response
from sipbot.sip.uri import Uri

MAX_CHALLENGES: Final = 3  # challenges answered for one request, a stale nonce included
MAX_REALMS: Final = 4  # realms that one call authenticates to

_ALGORITHMS: Final[dict[str, Callable[[bytes], str]]] = {
    "sha-256": lambda data: hashlib.sha256(data).hexdigest(),
    "md5": lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest(),
}
# auth-param = token EQUAL ( token / quoted-string )
_PARAMETER_RE: Final = re.compile(
    r'([A-Za-z0-9_-]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))'
)
_HEADERS: Final = {
    401: ("WWW-Authenticate", "Authorization"),
    407: ("Proxy-Authenticate", "Proxy-Authorization"),
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """User name and password for a peer. ``realm`` None answers every realm."""

    username: str
    password: str = field(repr=False)
    realm: str | None = None


@dataclass(slots=True)
class _Challenge:
    header: str  # that answers it
    realm: str
    nonce: str
    algorithm: str  # lower case, without -sess
    session: bool  # -sess variant
    named: str | None  # the algorithm as the peer wrote it
    qop: str  # "auth", "auth-int" or "" (RFC 2069)
    opaque: str | None
    stale: bool
    count: int = 0  # requests sent with this nonce


class Authenticator:
    """Answers the challenges of one call. Remembers nonces, so later requests carry answers."""

    def __init__(self, credentials: Credentials, cnonce: Callable[[], str]) -> None:
        self._credentials = credentials
        self._cnonce = cnonce
        self._challenges: dict[tuple[str, str], _Challenge] = {}

    def challenged(self, response: Response, answered: set[tuple[str, str]]) -> bool:
        """Take in a 401 or 407; returns whether it is worth trying again.

        ``answered`` belongs to the request: the challenges that it answered so far, added to here.
        It is not worth it when no challenge can be answered, or when the same realm refuses the
        answer to its own challenge and does not call the nonce stale: the password is wrong.
        """
        names = _HEADERS.get(response.status)
        if names is None:
            return False
        for line in response.headers.all(names[0]):
            challenge = _parse(line, names[1])
            if challenge is None or self._credentials.realm not in (None, challenge.realm):
                continue
            key = (challenge.header, challenge.realm)
            if key in answered and not challenge.stale:
                return False
            if key not in self._challenges and len(self._challenges) >= MAX_REALMS:
                return False
            # RFC 8760 section 2.4: the first one that we support is the one to use.
            answered.add(key)
            self._challenges[key] = challenge
            return True
        return False

    def headers(self, method: str, uri: Uri, body: bytes) -> list[tuple[str, str]]:
        """Authorization and Proxy-Authorization for one request."""
        return [
            (challenge.header, self._answer(challenge, method, str(uri), body))
            for challenge in self._challenges.values()
        ]

    def _answer(self, challenge: _Challenge, method: str, uri: str, body: bytes) -> str:
        challenge.count += 1
        count = f"{challenge.count:08x}"
        cnonce = self._cnonce()
        parts = [
            ("username", _quoted(self._credentials.username)),
            ("realm", _quoted(challenge.realm)),
            ("nonce", _quoted(challenge.nonce)),
            ("uri", _quoted(uri)),
            ("response", f'"{self._digest(challenge, method, uri, body, count, cnonce)}"'),
        ]
        if challenge.named is not None:
            parts.append(("algorithm", challenge.named))
        if challenge.opaque is not None:
            parts.append(("opaque", _quoted(challenge.opaque)))
        if challenge.qop:
            # RFC 7616 section 3.4: qop and nc are not quoted in the answer.
            parts += [("qop", challenge.qop), ("nc", count), ("cnonce", _quoted(cnonce))]
        elif challenge.session:
            parts.append(("cnonce", _quoted(cnonce)))
        return "Digest " + ", ".join(f"{name}={value}" for name, value in parts)

    def _digest(
        self, challenge: _Challenge, method: str, uri: str, body: bytes, count: str, cnonce: str
    ) -> str:
        hashed = _ALGORITHMS[challenge.algorithm]

        def digest(text: str) -> str:
            return hashed(text.encode())

        secret = f"{self._credentials.username}:{challenge.realm}:{self._credentials.password}"
        a1 = digest(secret)
        if challenge.session:
            a1 = digest(f"{a1}:{challenge.nonce}:{cnonce}")
        a2 = f"{method}:{uri}"
        if challenge.qop == "auth-int":
            a2 = f"{a2}:{hashed(body)}"
        if not challenge.qop:
            return digest(f"{a1}:{challenge.nonce}:{digest(a2)}")
        return digest(f"{a1}:{challenge.nonce}:{count}:{cnonce}:{challenge.qop}:{digest(a2)}")


def _parse(line: str, header: str) -> _Challenge | None:
    """One challenge, None when it cannot be answered (another scheme, algorithm or qop)."""
    scheme, _, rest = line.strip().partition(" ")
    if scheme.lower() != "digest":
        return None
    found: dict[str, str] = {}
    for match in _PARAMETER_RE.finditer(rest):
        name, quoted, plain = match.groups()
        value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
        found.setdefault(name.lower(), value)
    named = found.get("algorithm")
    algorithm = (named or "MD5").lower()
    session = algorithm.endswith("-sess")
    algorithm = algorithm.removesuffix("-sess")
    offered = [part.strip().lower() for part in found.get("qop", "").split(",") if part.strip()]
    qop = next((known for known in ("auth", "auth-int") if known in offered), "")
    if "nonce" not in found or "realm" not in found or algorithm not in _ALGORITHMS:
        return None
    if offered and not qop:
        return None
    return _Challenge(
        header=header,
        realm=found["realm"],
        nonce=found["nonce"],
        algorithm=algorithm,
        session=session,
        named=named,
        qop=qop,
        opaque=found.get("opaque"),
        stale=found.get("stale", "").lower() == "true",
    )


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
