"""The grammar of RFC 3261 section 25 as compiled patterns, and the size limits of a message.

Every repetition that could be tried in more than one way is possessive (``*+``), so that no
pattern takes more than linear time on any input. ``\\s`` is never used: SIP's white space is SP
and HTAB (after unfolding), while Python's would take Unicode spaces too.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from sipbot.errors import SipSyntaxError

Parameters: TypeAlias = tuple[tuple[str, str | None], ...]

# Limits. What exceeds one is answered with 513 (Message Too Large), RFC 3261 section 21.5.7.
MAX_MESSAGE: Final = 65_536  # bytes, the largest UDP datagram
MAX_HEAD: Final = 32_768  # bytes: start line and header fields
MAX_LINE: Final = 8_192  # characters of one header field after unfolding
MAX_BODY: Final = 49_152  # bytes
MAX_HEADER_FIELDS: Final = 256  # lines after unfolding
MAX_LIST_VALUES: Final = 128  # comma-separated values under one header name
MAX_PARAMETERS: Final = 64  # of one URI or header value

TOO_LARGE: Final = 513

# LWS  = [*WSP CRLF] 1*WSP     ; unfolded before any of these patterns sees it
WS: Final = r"[ \t]*+"

# token = 1*(alphanum / "-" / "." / "!" / "%" / "*" / "_" / "+" / "`" / "'" / "~" )
TOKEN: Final = r"[A-Za-z0-9\-.!%*_+`'~]++"
TOKEN_RE: Final = re.compile(TOKEN)

# quoted-string = SWS DQUOTE *(qdtext / quoted-pair ) DQUOTE
# quoted-pair   = "\" (%x00-09 / %x0B-0C / %x0E-7F)
QUOTED: Final = r'"(?:[^"\\]++|\\.)*+"'

# gen-value = token / host / quoted-string
# Wider than the grammar: every visible ASCII character that is no separator here. Base64 and URIs
# stand unquoted in parameters of many proxies (route and flow tokens of Kamailio and OpenSIPS).
GEN_VALUE: Final = rf"{QUOTED}|[!#-+\-./0-:=?-~]++"

# generic-param = token [ EQUAL gen-value ]
_PARAMETER_RE: Final = re.compile(
    rf"{WS};{WS}({TOKEN})(?:{WS}={WS}({GEN_VALUE}))?", flags=re.DOTALL
)
_ONLY_WS_RE: Final = re.compile(rf"{WS}\Z")

# One element of a comma-separated list: commas in quotes and in <> do not separate.
_ELEMENT_RE: Final = re.compile(rf'(?:[^",<]++|{QUOTED}|<[^>]*+>)++', flags=re.DOTALL)

# hostname is wider than the grammar by "_": host names of containers and Windows machines have it.
# IPv6reference = "[" IPv6address "]"
HOST: Final = r"(?:[A-Za-z0-9_][A-Za-z0-9_.\-]*+|\[[0-9A-Fa-f:.]++\])"

# Control characters, legal only as the second half of a quoted-pair.
_CONTROL_RE: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_BARE_CONTROL_RE: Final = re.compile(r"(?:[^\\]|^)(?:\\\\)*+[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_QUOTED_PAIR_RE: Final = re.compile(r"\\(.)", flags=re.DOTALL)
_NEEDS_QUOTED_PAIR_RE: Final = re.compile(r'["\\\x00-\x08\x0b\x0c\x0e-\x1f\x7f]')
_FOLD_RE: Final = re.compile(r"\n[ \t]++")

MAX_PORT: Final = 65_535


def is_token(text: str) -> bool:
    """Whether ``text`` is a token (RFC 3261 section 25.1)."""
    return TOKEN_RE.fullmatch(text) is not None


def quote(text: str) -> str:
    """``text`` as a quoted-string."""
    return '"' + _NEEDS_QUOTED_PAIR_RE.sub(r"\\\g<0>", text) + '"'


def unquote(text: str) -> str:
    """The content of a quoted-string; any other text comes back as it is."""
    if len(text) >= 2 and text[0] == text[-1] == '"':
        inner = text[1:-1]
        return _QUOTED_PAIR_RE.sub(r"\1", inner) if "\\" in inner else inner
    return text


def split_list(value: str) -> list[str]:
    """Split a header value at its top-level commas; elements are trimmed and may be empty.

    What follows ``MAX_LIST_VALUES`` elements stays one last element, so that hostile input costs
    little. The same holds for what follows an unterminated quote or bracket.
    """
    if "," not in value:
        return [value.strip(" \t")]
    if '"' not in value and "<" not in value:
        return [element.strip(" \t") for element in value.split(",", MAX_LIST_VALUES)]
    elements: list[str] = []
    position = 0
    while True:
        match = _ELEMENT_RE.match(value, position)
        end = match.end() if match else position
        last = len(elements) == MAX_LIST_VALUES
        if last or (end < len(value) and value[end] != ","):
            end = len(value)
        elements.append(value[position:end].strip(" \t"))
        if end >= len(value):
            return elements
        position = end + 1


def parse_parameters(text: str, position: int = 0) -> Parameters:
    """Read ``*( SEMI generic-param )`` from ``position`` to the end of ``text``.

    A quoted value keeps its quotes, so that it is written back as it came. Raises
    ``SipSyntaxError``.
    """
    found: list[tuple[str, str | None]] = []
    length = len(text)
    while position < length:
        match = _PARAMETER_RE.match(text, position)
        if match is None:
            if _ONLY_WS_RE.match(text, position):
                break
            raise SipSyntaxError("Bad Header Parameter")
        found.append((match[1], match[2]))
        if len(found) > MAX_PARAMETERS:
            raise SipSyntaxError("Too Many Parameters", status=TOO_LARGE)
        position = match.end()
    return tuple(found)


def format_parameters(parameters: Parameters) -> str:
    """``;name=value;flag`` for as many parameters as there are."""
    return "".join(
        f";{name}" if value is None else f";{name}={value}" for name, value in parameters
    )


def find_parameter(parameters: Parameters, name: str) -> str | None:
    """Value of the first parameter of that name: ``""`` for a flag, None when absent."""
    wanted = name.lower()
    for key, value in parameters:
        if key.lower() == wanted:
            return "" if value is None else value
    return None


def set_parameter(parameters: Parameters, name: str, value: str | None) -> Parameters:
    """Replace the parameter of that name where it stands, or add it at the end."""
    wanted = name.lower()
    changed: list[tuple[str, str | None]] = []
    done = False
    for key, old in parameters:
        if key.lower() != wanted:
            changed.append((key, old))
        elif not done:
            changed.append((key, value))
            done = True
    return tuple(changed) if done else (*parameters, (name, value))


def parse_port(text: str | None) -> int | None:
    """A port of 1 to 65535, None for no text. Raises ``SipSyntaxError``."""
    if text is None:
        return None
    digits = text.lstrip("0")
    if not digits or len(digits) > 5 or int(digits) > MAX_PORT:
        raise SipSyntaxError("Bad Port")
    return int(digits)


def decode_text(data: bytes) -> str:
    """Header text, which is UTF-8 (RFC 3261 section 7.3.1).

    ISO-8859-1 is taken where the bytes are no UTF-8: older PBXes send display names so. All that
    is compared by machines is ASCII, so nothing is mistaken, and no surrogate reaches a log.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def unfold(head: str) -> list[str]:
    """Lines of a message's head: line ends unified, continuation lines joined (section 7.3.1).

    Bare LF ends a line too: hand-written test scripts and some monitoring probes send it.
    Raises ``SipSyntaxError`` for a CR without LF, which would be a line end to some and not to
    others, and for control characters outside a quoted-pair.
    """
    if "\r" in head:
        head = head.replace("\r\n", "\n")
        if "\r" in head:
            raise SipSyntaxError("Bare CR")
    if "\n " in head or "\n\t" in head:
        head = _FOLD_RE.sub(" ", head)
    if _CONTROL_RE.search(head) and _BARE_CONTROL_RE.search(head):
        raise SipSyntaxError("Control Character")
    return head.split("\n")
