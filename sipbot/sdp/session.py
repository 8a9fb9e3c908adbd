"""Session descriptions as values: RFC 8866.

``parse`` is lenient where real peers are sloppy (bare LF, blank lines, missing ``s=`` or ``t=``,
unknown lines) and strict where the meaning would be guessed. ``serialize`` writes CRLF and the line
order of RFC 8866 section 5, so that ``parse(d.serialize()) == d`` for every ``d`` out of ``parse``.
Text that is not UTF-8 survives a round trip byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sipbot.errors import SdpError

MAX_SDP_BYTES: Final = 16_384  # bytes of one description; more is answered 400
MAX_LINE_BYTES: Final = 2_048  # bytes of one line; more is answered 400
MAX_LINES: Final = 400  # lines of one description; more is answered 400
MAX_MEDIA: Final = 16  # m= lines; more is answered 400
MAX_FORMATS: Final = 64  # formats of one m= line; more is answered 400
MAX_PORT: Final = 65_535

# RFC 8866 section 5: v o s i u e p c b t r z k a (then m= sections, each: m i c b k a).
# r= belongs to the t= before it, so the two keep their order. Unknown types go last.
_RANK: Final = {letter: rank for rank, letter in enumerate("vosiuepcbtzka")} | {"r": 9}
_UNKNOWN_RANK: Final = len(_RANK)
_TIMING: Final = frozenset("trz")
_ENCODING: Final = "utf-8"
_LINE = re.compile(r"([A-Za-z])=(.*)", re.DOTALL)
# RFC 8866 section 9: token
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`{|}~0-9A-Za-z]+")
_PORT = re.compile(r"([0-9]{1,5})(?:/([0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class Line:
    """One line that has no field of its own: its type letter and its text."""

    kind: str
    value: str


@dataclass(frozen=True, slots=True)
class Attribute:
    """``a=name`` (``value`` None) or ``a=name:value``."""

    name: str
    value: str | None = None

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}:{self.value}"


@dataclass(frozen=True, slots=True)
class Connection:
    """``c=``: ``suffix`` is the ``/ttl`` or ``/count`` part of a multicast address, with slash."""

    address_type: str  # "IP4", "IP6" or what the peer wrote
    address: str
    net_type: str = "IN"
    suffix: str = ""

    def __str__(self) -> str:
        return f"{self.net_type} {self.address_type} {self.address}{self.suffix}"


@dataclass(frozen=True, slots=True)
class Origin:
    """``o=``: identity and version. Peers write numbers of any size, so both stay text."""

    username: str
    session_id: str
    session_version: str
    address_type: str
    address: str
    net_type: str = "IN"

    def __str__(self) -> str:
        return (
            f"{self.username} {self.session_id} {self.session_version} "
            f"{self.net_type} {self.address_type} {self.address}"
        )


@dataclass(frozen=True, slots=True)
class MediaDescription:
    """One ``m=`` section. ``extra`` holds its ``i= b= k=`` and unknown lines."""

    media: str
    port: int
    profile: str
    formats: tuple[str, ...]
    port_count: int = 1
    connection: Connection | None = None
    attributes: tuple[Attribute, ...] = ()
    extra: tuple[Line, ...] = ()

    def values(self, name: str) -> Iterator[str]:
        """The values of every ``a=name:...`` line, in order."""
        return _values(self.attributes, name)

    def value(self, name: str) -> str | None:
        """The value of the first ``a=name:...`` line."""
        return next(self.values(name), None)

    def has(self, name: str) -> bool:
        """Whether ``a=name`` is there, with or without a value."""
        return any(attribute.name == name for attribute in self.attributes)

    def lines(self) -> Iterator[tuple[str, str]]:
        count = f"/{self.port_count}" if self.port_count != 1 else ""
        formats = " ".join(self.formats)
        yield "m", f"{self.media} {self.port}{count} {self.profile} {formats}"
        yield from _body_lines(self.connection, self.attributes, self.extra)


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """A whole description. ``timing`` holds ``t= r= z=``, ``extra`` other and unknown lines."""

    origin: Origin
    name: str = "-"
    connection: Connection | None = None
    timing: tuple[Line, ...] = (Line("t", "0 0"),)
    attributes: tuple[Attribute, ...] = ()
    media: tuple[MediaDescription, ...] = ()
    extra: tuple[Line, ...] = ()

    def value(self, name: str) -> str | None:
        """The value of the first session-level ``a=name:...`` line."""
        return next(_values(self.attributes, name), None)

    def has(self, name: str) -> bool:
        """Whether ``a=name`` is there at session level, with or without a value."""
        return any(attribute.name == name for attribute in self.attributes)

    def serialize(self) -> bytes:
        """The description as bytes with CRLF line ends (RFC 8866 section 5)."""
        lines = [("v", "0"), ("o", str(self.origin)), ("s", self.name)]
        extra = _ranked((*self.extra, *self.timing))
        lines += _body_lines(self.connection, self.attributes, extra)
        for section in self.media:
            lines += section.lines()
        text = "".join(f"{kind}={value}\r\n" for kind, value in lines)
        return text.encode(_ENCODING, "surrogateescape")


def parse(data: bytes) -> SessionDescription:
    """Read a session description.

    Raises SdpError with status 400 when it cannot be read, and nothing else.
    """
    head, *sections = _sections(_split(data))
    if [line.kind for line in head[:2]] != ["v", "o"] or head[0].value.strip() != "0":
        raise _unreadable("sdp-no-version-or-origin")
    connection, attributes, extra = _body(head[2:])
    # RFC 8866 section 5.3: s= MUST NOT be empty; "s= " and a missing s= are read as "-".
    names = [line.value.strip() for line in extra if line.kind == "s"]
    timing = tuple(line for line in extra if line.kind in _TIMING)
    return SessionDescription(
        origin=_origin(head[1].value),
        name=(names[0] if names else "") or "-",
        connection=connection,
        timing=timing or (Line("t", "0 0"),),
        attributes=attributes,
        media=tuple(_media(section) for section in sections),
        extra=tuple(line for line in extra if line.kind not in _TIMING | {"s"}),
    )


def _unreadable(rule: str) -> SdpError:
    return SdpError(rule, status=400)


def _split(data: bytes) -> list[Line]:
    """Bytes to lines; CRLF and bare LF both end one, blank lines are skipped."""
    if len(data) > MAX_SDP_BYTES:
        raise _unreadable("sdp-too-large")
    if data.count(b"\n") > MAX_LINES:
        raise _unreadable("sdp-too-many-lines")
    lines: list[Line] = []
    for ended in data.split(b"\n"):
        raw = ended.removesuffix(b"\r")
        if len(raw) > MAX_LINE_BYTES:
            raise _unreadable("sdp-line-too-long")
        # RFC 8866 section 9: byte-string excludes NUL, CR and LF.
        if b"\r" in raw or b"\0" in raw:
            raise _unreadable("sdp-control-character")
        text = raw.decode(_ENCODING, "surrogateescape")
        if not text.strip(" \t"):
            continue
        match = _LINE.fullmatch(text)
        if match is None:
            raise _unreadable("sdp-line-form")
        lines.append(Line(match[1], match[2]))
    return lines


def _sections(lines: list[Line]) -> list[list[Line]]:
    """The session part, then one list for each m= line."""
    sections: list[list[Line]] = [[]]
    for line in lines:
        if line.kind == "m":
            sections.append([])
        sections[-1].append(line)
    if len(sections) - 1 > MAX_MEDIA:
        raise _unreadable("sdp-too-many-media")
    return sections


def _body(
    lines: list[Line],
) -> tuple[Connection | None, tuple[Attribute, ...], tuple[Line, ...]]:
    connection: Connection | None = None
    attributes: list[Attribute] = []
    extra: list[Line] = []
    for line in lines:
        if line.kind == "a":
            attributes.append(_attribute(line.value))
        elif line.kind == "c" and connection is None:
            connection = _connection(line.value)
        elif line.kind in "vo":
            raise _unreadable("sdp-repeated-line")
        else:  # a second c= (layered multicast) is kept but not used
            extra.append(line)
    return connection, tuple(attributes), _ranked(extra)


def _ranked(lines: list[Line] | tuple[Line, ...]) -> tuple[Line, ...]:
    return tuple(sorted(lines, key=lambda line: _RANK.get(line.kind, _UNKNOWN_RANK)))


def _attribute(text: str) -> Attribute:
    name, colon, value = text.partition(":")
    name = name.strip(" \t")
    if not _TOKEN.fullmatch(name):
        raise _unreadable("sdp-attribute-name")
    return Attribute(name, value.strip(" \t") if colon else None)


def _connection(text: str) -> Connection:
    words = text.split()
    if len(words) != 3:
        raise _unreadable("sdp-connection")
    net_type, address_type, address = words
    host, slash, suffix = address.partition("/")
    if not host:
        raise _unreadable("sdp-connection")
    return Connection(address_type.upper(), host, net_type.upper(), slash + suffix)


def _origin(text: str) -> Origin:
    words = text.split()
    if len(words) != 6:
        raise _unreadable("sdp-origin")
    username, session_id, version, net_type, address_type, address = words
    return Origin(username, session_id, version, address_type.upper(), address, net_type.upper())


def _media(section: list[Line]) -> MediaDescription:
    # RFC 8866 section 5.14: m=<media> <port>[/<number of ports>] <proto> <fmt> ...
    words = section[0].value.split()
    if len(words) < 4:
        raise _unreadable("sdp-media")
    if len(words) - 3 > MAX_FORMATS:
        raise _unreadable("sdp-too-many-formats")
    port = _PORT.fullmatch(words[1])
    if port is None or int(port[1]) > MAX_PORT:
        raise _unreadable("sdp-media-port")
    connection, attributes, extra = _body(section[1:])
    return MediaDescription(
        media=words[0],
        port=int(port[1]),
        port_count=int(port[2] or 1),
        profile=words[2],
        formats=tuple(words[3:]),
        connection=connection,
        attributes=attributes,
        extra=extra,
    )


def _values(attributes: tuple[Attribute, ...], name: str) -> Iterator[str]:
    return (a.value for a in attributes if a.name == name and a.value is not None)


def _body_lines(
    connection: Connection | None, attributes: tuple[Attribute, ...], extra: tuple[Line, ...]
) -> Iterator[tuple[str, str]]:
    """``extra`` is ranked; the connection goes before the first line that ranks after it."""
    early = [(line.kind, line.value) for line in extra if _rank(line) < _RANK["c"]]
    late = [(line.kind, line.value) for line in extra if _RANK["c"] <= _rank(line) < _RANK["a"]]
    unknown = [(line.kind, line.value) for line in extra if _rank(line) >= _RANK["a"]]
    yield from early
    if connection is not None:
        yield "c", str(connection)
    yield from late
    yield from (("a", str(attribute)) for attribute in attributes)
    yield from unknown


def _rank(line: Line) -> int:
    return _RANK.get(line.kind, _UNKNOWN_RANK)
