"""Building responses (RFC 3261 section 8.2.6)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from sipbot.sip.grammar import quote
from sipbot.sip.headers import Headers
from sipbot.sip.message import Request, Response
from sipbot.sip.status import phrase

_TAG_BYTES: Final = 6  # of a stateless To tag


def respond_to(
    request: Request,
    status: int,
    *,
    tag: str = "",
    reason: str = "",
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
) -> Response:
    """A response to ``request``: Via, From, Call-ID, CSeq copied; To with ``tag`` if it has none.

    100 gets no tag and copies the Timestamp.
    """
    source = request.headers
    items = [("Via", value) for value in source.all("Via")]
    to = source.get("To") or ""
    if status > 100 and tag and request.to.tag is None:
        to = str(request.to.with_tag(tag))
    items.append(("From", source.get("From") or ""))
    items.append(("To", to))
    items.append(("Call-ID", request.call_id))
    items.append(("CSeq", source.get("CSeq") or ""))
    timestamp = source.get("Timestamp")
    if status == 100 and timestamp is not None:
        # "any Timestamp header field present in the request MUST be copied into this 100"
        items.append(("Timestamp", timestamp))
    items.extend(headers)
    return Response(status, reason or phrase(status), Headers(items), body)


def copied_record_route(request: Request) -> list[tuple[str, str]]:
    """Section 12.1.1: the UAS copies all Record-Route values, in order, with unknown parameters."""
    return [("Record-Route", value) for value in request.headers.all("Record-Route")]


def stateless_tag(request: Request) -> str:
    """A To tag that is the same for each repeat of a request (section 8.2.7)."""
    seed = f"{request.call_id}|{request.top_via.branch}|{request.headers.get('From')}"
    return hashlib.blake2s(seed.encode("utf-8", "replace"), digest_size=_TAG_BYTES).hexdigest()


def warning(status: int, host: str, text: str) -> tuple[str, str]:
    """A Warning header (section 20.43): 305 where media do not fit, else 399."""
    code = 305 if status in (488, 606) else 399
    return "Warning", f"{code} {host} {quote(text)}"
