"""SIP messages: values, serialiser and parser (RFC 3261 sections 7 and 20).

``parse_message`` checks every header that the typed properties read, so on a message that came
out of it no property raises.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar, cast

from sipbot.errors import LocalProtocolError, SipSyntaxError
from sipbot.sip.body import bodies, parse_media_type, sdp_body
from sipbot.sip.grammar import (
    MAX_BODY,
    MAX_HEAD,
    MAX_HEADER_FIELDS,
    MAX_LINE,
    MAX_LIST_VALUES,
    MAX_MESSAGE,
    TOKEN,
    TOKEN_RE,
    TOO_LARGE,
    decode_text,
    unfold,
)
from sipbot.sip.headers import (
    CSeq,
    Headers,
    NameAddr,
    Via,
    list_elements,
    parse_header_lines,
)
from sipbot.sip.status import phrase
from sipbot.sip.uri import Uri

__all__ = [
    "BadRequest",
    "Message",
    "Request",
    "Response",
    "bodies",
    "content_length",
    "parse_message",
    "sdp_body",
]

# Request-Line = Method SP Request-URI SP SIP-Version CRLF
_REQUEST_LINE_RE: Final = re.compile(rf"({TOKEN}) ([^ \t]++) SIP/([0-9]++\.[0-9]++)", re.IGNORECASE)
# Status-Line = SIP-Version SP Status-Code SP Reason-Phrase CRLF
# The SP before an empty phrase may be missing: gateways exist that trim the ends of lines.
_STATUS_LINE_RE: Final = re.compile(r"SIP/([0-9]++\.[0-9]++) ([1-6][0-9]{2})(?: (.*+))?", re.I)
_HEAD_END_RE: Final = re.compile(rb"\n\r?\n")
_NUMBER_RE: Final = re.compile(r"[0-9]++")
# callid = word [ "@" word ]. Wider: any visible ASCII, as nothing reads its inside.
_CALL_ID_RE: Final = re.compile(r"[!-~]++")
_TAG_RE: Final = re.compile(rf";[ \t]*+tag[ \t]*+=[ \t]*+({TOKEN})", re.IGNORECASE)

_MAX_HOPS: Final = 255  # RFC 3261 section 20.22
_SINGLE: Final = ("From", "To", "Call-ID", "CSeq", "Max-Forwards", "Content-Type")
_NO_URI: Final = Uri("", None, None, "", None)
_UNREADABLE: Final = "<sip:unreadable.invalid>"

_T = TypeVar("_T")


class _Typed:
    """Typed access to the headers. Each property raises ``SipSyntaxError`` for a bad header.

    Values are kept with the headers, which never change, so each is parsed once.
    """

    __slots__ = ()
    headers: Headers

    @property
    def vias(self) -> tuple[Via, ...]:
        """All Via values, the newest first."""
        return _typed(self.headers, "Via", _read_vias)

    @property
    def top_via(self) -> Via:
        """The newest Via."""
        return self.vias[0]

    @property
    def from_(self) -> NameAddr:
        """The From address."""
        return _typed(self.headers, "From", _read_from)

    @property
    def to(self) -> NameAddr:
        """The To address."""
        return _typed(self.headers, "To", _read_to)

    @property
    def call_id(self) -> str:
        """The Call-ID, compared byte by byte."""
        return _typed(self.headers, "Call-ID", _read_call_id)

    @property
    def cseq(self) -> CSeq:
        """Sequence number and method."""
        return _typed(self.headers, "CSeq", _read_cseq)

    @property
    def contacts(self) -> tuple[NameAddr, ...]:
        """Contact values; empty for none and for ``*``."""
        return _typed(self.headers, "Contact", _read_contacts)

    @property
    def routes(self) -> tuple[NameAddr, ...]:
        """Route values, the next hop first."""
        return _typed(self.headers, "Route", _read_routes)

    @property
    def record_routes(self) -> tuple[NameAddr, ...]:
        """Record-Route values as they stand in the message."""
        return _typed(self.headers, "Record-Route", _read_record_routes)

    @property
    def max_forwards(self) -> int | None:
        """Max-Forwards; None when absent, as from RFC 2543 peers."""
        value = self.headers.get("Max-Forwards")
        return None if value is None else _number(value, _MAX_HOPS, "Max-Forwards")

    @property
    def content_type(self) -> str:
        """``type/subtype`` of the body in lower case, ``""`` when the header is absent."""
        return _typed(self.headers, "Content-Type", _read_content_type)

    @property
    def require(self) -> tuple[str, ...]:
        """Option tags of Require, lower case."""
        return _options(self.headers, "Require")

    @property
    def supported(self) -> tuple[str, ...]:
        """Option tags of Supported, lower case."""
        return _options(self.headers, "Supported")

    @property
    def proxy_require(self) -> tuple[str, ...]:
        """Option tags of Proxy-Require, lower case."""
        return _options(self.headers, "Proxy-Require")


@dataclass(frozen=True, slots=True)
class Request(_Typed):
    """A SIP request. ``method`` is case-sensitive (RFC 3261 section 7.1)."""

    method: str
    uri: Uri
    headers: Headers
    body: bytes = b""

    def serialize(self) -> bytes:
        """The wire form; Content-Length is computed.

        Raises ``LocalProtocolError`` for a value with CR or LF in it.
        """
        return _serialize(f"{self.method} {self.uri} SIP/2.0", self.headers, self.body)


@dataclass(frozen=True, slots=True)
class Response(_Typed):
    """A SIP response. ``status`` is 100 to 699."""

    status: int
    reason: str
    headers: Headers
    body: bytes = b""

    @classmethod
    def of(cls, status: int, headers: Headers, body: bytes = b"") -> Response:
        """A response with the default reason phrase of its status."""
        return cls(status, phrase(status), headers, body)

    def serialize(self) -> bytes:
        """The wire form; Content-Length is computed.

        Raises ``LocalProtocolError`` for a value with CR or LF in it.
        """
        return _serialize(f"SIP/2.0 {self.status} {self.reason}", self.headers, self.body)


Message: TypeAlias = Request | Response


class BadRequest(SipSyntaxError):
    """A request that is wrong but that can be answered with ``status``.

    ``request`` is for building that answer: its ``top_via``, ``vias``, ``from_``, ``to``,
    ``call_id`` and ``cseq`` can be read without an exception. What the peer wrote unreadably in
    these headers, or left out, is repaired there. ``uri`` has an empty scheme when it could not be
    read. The body is empty and all other headers are unchecked.
    """

    def __init__(self, reason: str, *, status: int, request: Request) -> None:
        super().__init__(reason, status=status)
        self.request = request


def parse_message(data: bytes) -> Message:
    """Read one message: a datagram, or what ``StreamFramer`` cut out of a stream.

    Raises ``SipSyntaxError``; for a request that can be answered its subclass ``BadRequest``.
    The statuses are 400, 505 for another SIP version and 513 for what exceeds a limit.
    """
    # RFC 3261 section 7.5: "Implementations processing SIP messages over stream-oriented transports
    # MUST ignore any CRLF appearing before the start-line". Harmless on datagrams too.
    data = data.lstrip(b"\r\n")
    head, body, fault = _split(data)
    lines = unfold(decode_text(head))
    if len(lines) > MAX_HEADER_FIELDS + 1:
        del lines[MAX_HEADER_FIELDS + 1 :]
        fault = fault or SipSyntaxError("Too Many Header Fields", status=TOO_LARGE)
    if max(map(len, lines)) > MAX_LINE:
        fault = fault or SipSyntaxError("Header Field Too Long", status=TOO_LARGE)
    start = lines[0]
    headers, line_fault = parse_header_lines(lines[1:])
    fault = fault or line_fault
    if start[:4].upper() != "SIP/":
        return _parse_request(start, headers, body, fault)
    if fault is not None:
        raise fault
    return _parse_response(start, headers, body)


def content_length(values: Sequence[str]) -> int | None:
    """Bytes of body announced by the values of Content-Length; None when there is none.

    Raises ``SipSyntaxError``: 400 for no number and for two different ones (RFC 4475 section
    3.3.9), 513 for more than ``MAX_BODY``.
    """
    if not values:
        return None
    for value in values:
        if not _NUMBER_RE.fullmatch(value):
            raise SipSyntaxError("Bad Content-Length")
    stripped = {value.lstrip("0") for value in values}
    if len(stripped) > 1:
        raise SipSyntaxError("Repeated Content-Length")
    digits = stripped.pop() or "0"
    if len(digits) > len(str(MAX_BODY)) or int(digits) > MAX_BODY:
        raise SipSyntaxError("Body Too Large", status=TOO_LARGE)
    return int(digits)


def _split(data: bytes) -> tuple[bytes, bytes, SipSyntaxError | None]:
    """Head, the rest, and what is wrong with their sizes."""
    end = _HEAD_END_RE.search(data, 0, MAX_HEAD + 3)
    if end is None:
        if len(data) > MAX_HEAD:
            fault = SipSyntaxError("Header Section Too Large", status=TOO_LARGE)
            return data[:MAX_HEAD].rstrip(b"\r"), b"", fault
        # A trailing CR may be half a line end of a message that was cut.
        return data.rstrip(b"\r"), b"", SipSyntaxError("No End Of Header Section")
    head = data[: end.start()]
    if head.endswith(b"\r"):
        head = head[:-1]
    if len(data) > MAX_MESSAGE:
        return head, b"", SipSyntaxError("Message Too Large", status=TOO_LARGE)
    return head, data[end.end() :], None


def _parse_request(
    start: str, headers: Headers, body: bytes, fault: SipSyntaxError | None
) -> Request:
    word = TOKEN_RE.match(start)
    if word is None:
        raise fault or SipSyntaxError("Bad Request Line")
    method, uri = word[0], _NO_URI
    try:
        if fault is not None:
            raise fault
        method, uri = _parse_request_line(start)
        request = Request(method, uri, headers, _cut_body(headers, body))
        _check(request)
        if request.cseq.method != method:
            raise SipSyntaxError("CSeq Method Mismatch")
        return request
    except SipSyntaxError as error:
        answerable = _answerable(method, uri, headers)
        if answerable is None:
            raise
        raise BadRequest(error.reason, status=error.status, request=answerable) from None


def _parse_request_line(start: str) -> tuple[str, Uri]:
    line = _REQUEST_LINE_RE.fullmatch(start)
    if line is None:
        raise SipSyntaxError("Bad Request Line")
    method, target, version = line.groups()
    if version != "2.0":
        raise SipSyntaxError("Version Not Supported", status=505)
    uri = Uri.parse(target)
    if uri.headers:
        # RFC 3261 section 19.1.1, table 1: headers are not allowed in a Request-URI.
        raise SipSyntaxError("Headers In Request-URI")
    return method, uri


def _parse_response(start: str, headers: Headers, body: bytes) -> Response:
    line = _STATUS_LINE_RE.fullmatch(start)
    if line is None:
        raise SipSyntaxError("Bad Status Line")
    version, status, reason = line.groups()
    if version != "2.0":
        raise SipSyntaxError("Version Not Supported", status=505)
    response = Response(int(status), reason or "", headers, _cut_body(headers, body))
    _check(response)
    return response


def _check(message: Message) -> None:
    """Read every typed header once. Raises ``SipSyntaxError``."""
    headers = message.headers
    for name in _SINGLE:
        if len(headers.all(name)) > 1:
            raise SipSyntaxError(f"Repeated {name}")
    _ = message.vias, message.from_, message.to, message.call_id, message.cseq
    _ = message.contacts, message.routes, message.record_routes
    _ = message.max_forwards, message.content_type


def _cut_body(headers: Headers, body: bytes) -> bytes:
    """The body by its Content-Length, or all there is (RFC 3261 section 18.3)."""
    length = content_length(headers.all("Content-Length"))
    if length is None:
        length = len(body)
        if length > MAX_BODY:
            raise SipSyntaxError("Body Too Large", status=TOO_LARGE)
    # "If the transport packet ends before the end of the message body, this is considered an
    # error [...] If there are additional bytes in the transport packet beyond the end of the body,
    # they MUST be discarded."
    if length > len(body):
        raise SipSyntaxError("Body Shorter Than Content-Length")
    return body[:length]


def _serialize(start: str, headers: Headers, body: bytes) -> bytes:
    lines = [start]
    lines += [f"{name}: {value}" for name, value in headers.items() if name != "Content-Length"]
    lines.append(f"Content-Length: {len(body)}\r\n\r\n")
    text = "\r\n".join(lines)
    line_ends = len(lines) + 1
    if text.count("\n") != line_ends or text.count("\r") != line_ends:
        raise LocalProtocolError("line end in a start line or header value")
    try:
        return text.encode("utf-8") + body
    except UnicodeEncodeError:
        raise LocalProtocolError("header value is no Unicode text") from None


def _answerable(method: str, uri: Uri, headers: Headers) -> Request | None:
    """The request with headers that an answer can be built from; None without a readable Via."""
    try:
        _read_vias(headers)
    except SipSyntaxError:
        vias = _readable_vias(headers)
        if not vias:
            return None
        headers = headers.replace("Via", *vias)
    for name in ("From", "To"):
        headers = headers.replace(name, _repaired_address(headers.get(name) or ""))
    call_id = headers.get("Call-ID") or ""
    headers = headers.replace(
        "Call-ID", call_id if _CALL_ID_RE.fullmatch(call_id) else "unreadable"
    )
    cseq = headers.get("CSeq") or ""
    try:
        CSeq.parse(cseq)
    except SipSyntaxError:
        cseq = str(CSeq(0, method))
    return Request(method, uri, headers.replace("CSeq", cseq))


def _readable_vias(headers: Headers) -> list[str]:
    """The Via values from the top down to the first that cannot be read; the top one repaired."""
    readable: list[str] = []
    for value in headers.values("Via")[:MAX_LIST_VALUES]:
        try:
            Via.parse(value)
            readable.append(value)
        except SipSyntaxError:
            repaired = None if readable else Via.repair(value)
            if repaired is None:
                break
            readable.append(str(repaired))
    return readable


def _repaired_address(value: str) -> str:
    try:
        NameAddr.parse(value)
    except SipSyntaxError:
        tag = _TAG_RE.search(value)
        return f"{_UNREADABLE};tag={tag[1]}" if tag else _UNREADABLE
    return value


def _typed(headers: Headers, name: str, read: Callable[[Headers], _T]) -> _T:
    value = headers.typed.get(name)
    if value is None:
        value = headers.typed[name] = read(headers)
    return cast("_T", value)


def _required(headers: Headers, name: str) -> str:
    value = headers.get(name)
    if value is None:
        raise SipSyntaxError(f"Missing {name}")
    return value


def _read_vias(headers: Headers) -> tuple[Via, ...]:
    _required(headers, "Via")
    return tuple(map(Via.parse, list_elements(headers.all("Via"), "Via")))


def _read_from(headers: Headers) -> NameAddr:
    return NameAddr.parse(_required(headers, "From"))


def _read_to(headers: Headers) -> NameAddr:
    return NameAddr.parse(_required(headers, "To"))


def _read_call_id(headers: Headers) -> str:
    value = _required(headers, "Call-ID")
    if not _CALL_ID_RE.fullmatch(value):
        raise SipSyntaxError("Bad Call-ID")
    return value


def _read_cseq(headers: Headers) -> CSeq:
    return CSeq.parse(_required(headers, "CSeq"))


def _read_contacts(headers: Headers) -> tuple[NameAddr, ...]:
    lines = headers.all("Contact")
    if lines == ("*",):
        return ()
    return tuple(map(NameAddr.parse_contact, list_elements(lines, "Contact")))


def _read_routes(headers: Headers) -> tuple[NameAddr, ...]:
    return tuple(map(NameAddr.parse_route, list_elements(headers.all("Route"), "Route")))


def _read_record_routes(headers: Headers) -> tuple[NameAddr, ...]:
    lines = headers.all("Record-Route")
    return tuple(map(NameAddr.parse_route, list_elements(lines, "Record-Route")))


def _read_content_type(headers: Headers) -> str:
    value = headers.get("Content-Type")
    return "" if value is None else parse_media_type(value)[0]


def _options(headers: Headers, name: str) -> tuple[str, ...]:
    return tuple(option.lower() for option in headers.values(name))


def _number(text: str, limit: int, what: str) -> int:
    digits = text.lstrip("0") or "0"
    if not _NUMBER_RE.fullmatch(text) or len(digits) > len(str(limit)) or int(digits) > limit:
        raise SipSyntaxError(f"Bad {what}")
    return int(digits)
