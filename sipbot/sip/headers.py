"""Header fields: the ordered multimap, and the values of Via, name-addr headers and CSeq."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from sipbot.errors import LocalProtocolError, SipSyntaxError
from sipbot.sip.grammar import (
    HOST,
    MAX_LIST_VALUES,
    QUOTED,
    TOKEN,
    TOO_LARGE,
    WS,
    Parameters,
    find_parameter,
    format_parameters,
    is_token,
    parse_parameters,
    parse_port,
    quote,
    set_parameter,
    split_list,
    unquote,
)
from sipbot.sip.uri import Uri, format_host, parse_host

_COMPACT: Final = {  # RFC 3261 section 7.3.3 and the IANA registry of header fields
    "a": "Accept-Contact",
    "b": "Referred-By",
    "c": "Content-Type",
    "d": "Request-Disposition",
    "e": "Content-Encoding",
    "f": "From",
    "i": "Call-ID",
    "j": "Reject-Contact",
    "k": "Supported",
    "l": "Content-Length",
    "m": "Contact",
    "n": "Identity-Info",
    "o": "Event",
    "r": "Refer-To",
    "s": "Subject",
    "t": "To",
    "u": "Allow-Events",
    "v": "Via",
    "x": "Session-Expires",
    "y": "Identity",
}
_KNOWN: Final = (
    "Accept",
    "Accept-Encoding",
    "Accept-Language",
    "Alert-Info",
    "Allow",
    "Authentication-Info",
    "Authorization",
    "Call-Info",
    "Content-Disposition",
    "Content-Language",
    "CSeq",
    "Date",
    "Error-Info",
    "Expires",
    "Geolocation",
    "History-Info",
    "In-Reply-To",
    "Info-Package",
    "Max-Forwards",
    "MIME-Version",
    "Min-Expires",
    "Min-SE",
    "Organization",
    "P-Access-Network-Info",
    "P-Asserted-Identity",
    "P-Charging-Vector",
    "P-Early-Media",
    "P-Preferred-Identity",
    "Path",
    "Priority",
    "Privacy",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Proxy-Require",
    "RAck",
    "Reason",
    "Record-Route",
    "Recv-Info",
    "Refer-Sub",
    "Remote-Party-ID",
    "Replaces",
    "Reply-To",
    "Require",
    "Retry-After",
    "Route",
    "RSeq",
    "Server",
    "Service-Route",
    "Session-ID",
    "Subscription-State",
    "Target-Dialog",
    "Timestamp",
    "Unsupported",
    "User-Agent",
    "User-to-User",
    "Warning",
    "WWW-Authenticate",
    "X-Exotel-AccountSid",
    "X-Exotel-CallSid",
    "X-Exotel-LegSid",
    "X-Exotel-TrunkSid",
)
# Lower-case full or compact name -> canonical spelling.
_CANONICAL: Final = {
    **{name.lower(): name for name in _KNOWN},
    **{name.lower(): name for name in _COMPACT.values()},
    **_COMPACT,
}
# Any common spelling -> key of the index. A miss costs one lower().
_KEY: Final = {
    **{name: canonical.lower() for name, canonical in _CANONICAL.items()},
    **{canonical: canonical.lower() for canonical in _CANONICAL.values()},
}


def canonical_name(name: str) -> str:
    """The registered spelling of a header name; compact names are expanded, others kept."""
    return _CANONICAL.get(name.lower(), name)


def _key(name: str) -> str:
    key = _KEY.get(name)
    if key is None:
        key = name.lower()
        key = _KEY.get(key, key)
    return key


class Headers:
    """Immutable ordered multimap of header fields. Names are case-insensitive, compact or not."""

    __slots__ = ("_index", "_items", "typed")

    def __init__(self, items: Iterable[tuple[str, str]] = ()) -> None:
        """Raises ``LocalProtocolError`` for a name that is no token."""
        self._items = tuple((canonical_name(name), value) for name, value in items)
        for name, _ in self._items:
            if name not in _KEY and not is_token(name):
                raise LocalProtocolError("header name is no token")
        self._index: dict[str, tuple[str, ...]] | None = None
        # Parsed values by key, filled once for each by ``message``; never part of the value.
        self.typed: dict[str, object] = {}

    def get(self, name: str) -> str | None:
        """Value of the first field of that name."""
        found = self._lookup().get(_key(name))
        return found[0] if found else None

    def all(self, name: str) -> tuple[str, ...]:
        """Values of all fields of that name, one element a line, unsplit."""
        return self._lookup().get(_key(name), ())

    def values(self, name: str) -> tuple[str, ...]:
        """Elements of a header that is a comma-separated list, over all its lines.

        Empty elements are left out. Only for headers whose grammar is a list: a comma in a Date
        or in credentials is no separator.
        """
        lines = self._lookup().get(_key(name), ())
        return tuple(element for line in lines for element in split_list(line) if element)

    def items(self) -> tuple[tuple[str, str], ...]:
        """All fields in order, names in their canonical spelling."""
        return self._items

    def with_(self, name: str, value: str, *, prepend: bool = False) -> Headers:
        """One field more; ``prepend`` puts it before all others."""
        field = Headers(((name, value),))._items
        return Headers._of(field + self._items if prepend else self._items + field)

    def replace(self, name: str, *values: str) -> Headers:
        """All fields of that name give way to ``values``, where the first of them stood."""
        key = _key(name)
        fresh = Headers((name, value) for value in values)._items
        for position, (old, _) in enumerate(self._items):
            if _key(old) == key:
                rest = tuple(item for item in self._items[position:] if _key(item[0]) != key)
                return Headers._of(self._items[:position] + fresh + rest)
        return Headers._of(self._items + fresh)

    def without(self, name: str) -> Headers:
        """No field of that name."""
        key = _key(name)
        return Headers._of(tuple(item for item in self._items if _key(item[0]) != key))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and _key(name) in self._lookup()

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        return self._items == other._items if isinstance(other, Headers) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._items)

    def __repr__(self) -> str:
        # Values may hold credentials and numbers: only the names are shown.
        return f"Headers({', '.join(name for name, _ in self._items)})"

    @classmethod
    def _of(cls, items: tuple[tuple[str, str], ...]) -> Headers:
        """Of items that are canonical already."""
        headers = cls.__new__(cls)
        headers._items = items
        headers._index = None
        headers.typed = {}
        return headers

    def _lookup(self) -> dict[str, tuple[str, ...]]:
        if self._index is None:
            grown: dict[str, tuple[str, ...]] = {}
            for name, value in self._items:
                key = _KEY.get(name) or name.lower()
                grown[key] = (*grown[key], value) if key in grown else (value,)
            self._index = grown
        return self._index


def parse_header_lines(lines: Iterable[str]) -> tuple[Headers, SipSyntaxError | None]:
    """Unfolded header lines as ``Headers``, and the first fault among them if any.

    A faulty line is left out, so that what the other lines say is enough to answer with 400.
    """
    fault: SipSyntaxError | None = None
    items: list[tuple[str, str]] = []
    for line in lines:
        # header = field-name HCOLON field-value ; HCOLON = *( SP / HTAB ) ":" SWS
        name, colon, value = line.partition(":")
        canonical = _CANONICAL.get(name.lower())
        if canonical is None:
            name = name.rstrip(" \t")
            canonical = canonical_name(name)
            if not colon or not is_token(name):
                fault = fault or SipSyntaxError("Bad Header Line")
                continue
        if not colon:
            fault = fault or SipSyntaxError("Bad Header Line")
            continue
        items.append((canonical, value.strip(" \t")))
    return Headers._of(tuple(items)), fault


# via-parm      = sent-protocol LWS sent-by *( SEMI via-params )
# sent-protocol = "SIP" SLASH protocol-version SLASH transport
# The version is not looked at, so that a request of another version can be answered with 505.
_VIA_RE: Final = re.compile(
    rf"SIP{WS}/{WS}[0-9.]++{WS}/{WS}({TOKEN})[ \t]++({HOST})(?:{WS}:{WS}([0-9]++))?",
    flags=re.IGNORECASE,
)
_BRANCH_RE: Final = re.compile(rf";{WS}branch{WS}={WS}({TOKEN})", re.IGNORECASE)
# addr-spec without brackets: RFC 3261 section 20.10 forbids comma, question mark and semicolon in
# it, so a semicolon starts a header parameter.
_BARE_ADDRESS_RE: Final = re.compile(r"[^<>\"\\ \t,;?]++")
# name-addr = [ display-name ] LAQUOT addr-spec RAQUOT
# display-name = *(token LWS) / quoted-string
# Wider: an unquoted display name may hold any character but quotes, brackets, commas and
# semicolons. PBXes pass names such as "Desk (2nd floor)" and "a@b" on without quotes.
_NAME_ADDRESS_RE: Final = re.compile(rf"(?:({QUOTED}){WS}|([^<>\",;\\]*+))<([^<>]*+)>", re.DOTALL)
_CSEQ_RE: Final = re.compile(rf"([0-9]++)[ \t]++({TOKEN})")
# RFC 3261 section 8.1.1.5: "The sequence number value MUST be expressible as a 32-bit unsigned
# integer and MUST be less than 2**31."
_CSEQ_LIMIT: Final = 2**31
# Parameters that have a meaning in a URI (RFC 3261 section 19.1.1) and none in a Contact.
_URI_ONLY: Final = frozenset({"transport", "maddr", "ttl", "user", "lr", "ob"})


@dataclass(frozen=True, slots=True)
class Via:
    """One Via value (RFC 3261 section 20.42). ``transport`` is upper case, ``host`` the sent-by
    host without brackets, ``port`` None when the sent-by names none."""

    transport: str
    host: str
    port: int | None
    parameters: Parameters = ()

    @classmethod
    def parse(cls, text: str) -> Via:
        """Read one Via value. Raises ``SipSyntaxError``."""
        text = text.strip(" \t")
        match = _VIA_RE.match(text)
        if match is None:
            raise SipSyntaxError("Bad Via")
        transport, host, port = match.groups()
        parameters = parse_parameters(text, match.end())
        via = cls(transport.upper(), parse_host(host), parse_port(port), parameters)
        via.rport  # noqa: B018  raises for a bad one
        return via

    @classmethod
    def repair(cls, text: str) -> Via | None:
        """Transport, sent-by and branch of a Via whose parameters cannot be read, to answer it."""
        match = _VIA_RE.match(text.strip(" \t"))
        try:
            if match is None:
                return None
            host, port = parse_host(match[2]), parse_port(match[3])
        except SipSyntaxError:
            return None
        branch = _BRANCH_RE.search(text)
        return cls(match[1].upper(), host, port, (("branch", branch[1]),) if branch else ())

    def __str__(self) -> str:
        sent_by = format_host(self.host, self.port)
        return f"SIP/2.0/{self.transport} {sent_by}{format_parameters(self.parameters)}"

    @property
    def branch(self) -> str:
        """The branch, ``""`` when the peer gave none (RFC 2543)."""
        return find_parameter(self.parameters, "branch") or ""

    @property
    def received(self) -> str | None:
        """Address the request came from, without brackets.

        RFC 5118 section 4.5: an IPv6 address must be accepted here with and without brackets.
        """
        value = find_parameter(self.parameters, "received")
        return value.strip("[]") if value else None

    @property
    def rport(self) -> int | None:
        """RFC 3581: None when absent, 0 when asked for without value, else the source port."""
        value = find_parameter(self.parameters, "rport")
        if not value:
            return None if value is None else 0
        if not value.isascii() or not value.isdigit():
            raise SipSyntaxError("Bad rport")
        return parse_port(value)

    def parameter(self, name: str) -> str | None:
        """Value of a parameter: ``""`` for a flag, None when absent."""
        return find_parameter(self.parameters, name)

    def with_parameter(self, name: str, value: str | None) -> Via:
        """The same Via with that parameter set; ``None`` makes it a flag."""
        return replace(self, parameters=set_parameter(self.parameters, name, value))


@dataclass(frozen=True, slots=True)
class NameAddr:
    """A value of From, To, Contact, Route and their like (RFC 3261 section 20.10).

    ``display`` has neither quotes nor escapes.
    """

    display: str
    uri: Uri
    parameters: Parameters = ()

    @classmethod
    def parse(cls, text: str) -> NameAddr:
        """Read ``( name-addr / addr-spec ) *( SEMI generic-param )``. Raises ``SipSyntaxError``."""
        text = text.strip(" \t")
        match = _NAME_ADDRESS_RE.match(text)
        if match is None:
            bare = _BARE_ADDRESS_RE.match(text)
            if bare is None:
                raise SipSyntaxError("Bad Address")
            return cls("", Uri.parse(bare[0]), parse_parameters(text, bare.end()))
        quoted, plain, uri = match.groups()
        display = unquote(quoted) if quoted else plain.strip(" \t")
        return cls(display, Uri.parse(uri), parse_parameters(text, match.end()))

    @classmethod
    def parse_contact(cls, text: str) -> NameAddr:
        """Read a Contact.

        Exotel's documents print Contact without angle brackets and with ``;transport=tls``. By the
        letter that is a Contact parameter without meaning; it is taken as the URI's.
        """
        address = cls.parse(text)
        if "<" in text or not address.parameters:
            return address
        moved = tuple(item for item in address.parameters if item[0].lower() in _URI_ONLY)
        kept = tuple(item for item in address.parameters if item[0].lower() not in _URI_ONLY)
        return replace(address, uri=replace(address.uri, parameters=moved), parameters=kept)

    @classmethod
    def parse_route(cls, text: str) -> NameAddr:
        """Read a Route or Record-Route.

        Exotel's documents print Record-Route without the angle brackets that its grammar demands,
        so all parameters are the URI's.
        """
        address = cls.parse(text)
        if "<" in text or not address.parameters:
            return address
        return cls("", replace(address.uri, parameters=address.parameters))

    def __str__(self) -> str:
        display = f"{quote(self.display)} " if self.display else ""
        return f"{display}<{self.uri}>{format_parameters(self.parameters)}"

    @property
    def tag(self) -> str | None:
        """The tag, None when absent."""
        return find_parameter(self.parameters, "tag") or None

    def parameter(self, name: str) -> str | None:
        """Value of a header parameter: ``""`` for a flag, None when absent."""
        return find_parameter(self.parameters, name)

    def with_tag(self, tag: str) -> NameAddr:
        """The same address with that tag."""
        return replace(self, parameters=set_parameter(self.parameters, "tag", tag))


@dataclass(frozen=True, slots=True)
class CSeq:
    """Sequence number and method (RFC 3261 section 20.16)."""

    number: int
    method: str

    @classmethod
    def parse(cls, text: str) -> CSeq:
        """Read a CSeq. Raises ``SipSyntaxError``."""
        match = _CSEQ_RE.fullmatch(text.strip(" \t"))
        if match is None:
            raise SipSyntaxError("Bad CSeq")
        digits = match[1].lstrip("0") or "0"
        if len(digits) > 10 or int(digits) >= _CSEQ_LIMIT:
            raise SipSyntaxError("CSeq Too Large")
        return cls(int(digits), match[2])

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


def list_elements(lines: tuple[str, ...], what: str) -> list[str]:
    """Elements of a list header, none of them empty. Raises ``SipSyntaxError``."""
    elements = [element for line in lines for element in split_list(line)]
    if "" in elements:
        raise SipSyntaxError(f"Bad {what}")
    if len(elements) > MAX_LIST_VALUES:
        raise SipSyntaxError(f"Too Many {what} Values", status=TOO_LARGE)
    return elements
