"""Answers of the v2 interfaces: one item, a list in pages, or a batch judged item by item.

The status inside counts. A failure may travel in an HTTP 200 whose own ``http_code`` says 200 too,
while ``response.code`` is 409 and ``response.status`` is "failure".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qs, urlsplit

from sipbot.exotel.rest.errors import (
    PartlyRefused,
    Refused,
    UnreadableAnswer,
    clean,
    refusal_class,
)
from sipbot.exotel.rest.requester import Answer, Request, retry_after_s

Data: TypeAlias = Mapping[str, Any]
NOTHING: Final[Data] = {}
SUCCESS: Final = frozenset({"success", "ok"})


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list; ``next_offset`` is None on the last page."""

    items: tuple[Data, ...]
    next_offset: int | None


def one(request: Request, answer: Answer) -> Data:
    """The data of a single item; empty where the answer has none (an old DELETE, HTTP 204)."""
    whole = _whole(request, answer)
    if not whole:
        return NOTHING
    response = whole.get("response")
    items = response if isinstance(response, list) else [response]
    found = [_judged(request, answer, whole, item) for item in items if item is not None]
    for item in found:
        if isinstance(item, Refused):
            raise item
    return next((item for item in found if not isinstance(item, Refused)), NOTHING)


def page(request: Request, answer: Answer) -> Page:
    """A page of a list. An item that failed makes the whole request fail.

    A single item instead of a list counts as a list of one, as credentials were once answered; an
    empty list comes without metadata.
    """
    whole = _whole(request, answer)
    response = whole.get("response")
    items: list[Data] = []
    for item in response if isinstance(response, list) else [response]:
        found = NOTHING if item is None else _judged(request, answer, whole, item)
        if isinstance(found, Refused):
            raise found
        if found:
            items.append(found)
    metadata = whole.get("metadata")
    following = metadata.get("next_page_uri") if isinstance(metadata, dict) else None
    return Page(tuple(items), _offset(following))


def batch(request: Request, answer: Answer) -> tuple[Data, ...]:
    """The data of all items. Raises ``PartlyRefused`` with every item that failed.

    A batch is answered with HTTP 200, or 207 with a status for each item.
    """
    whole = _whole(request, answer)
    response = whole.get("response")
    items = response if isinstance(response, list) else [response]
    judged = [_judged(request, answer, whole, item or NOTHING) for item in items]
    failed = tuple(item for item in judged if isinstance(item, Refused))
    if len(failed) == 1 == len(judged):
        raise failed[0]
    if failed:
        raise PartlyRefused(request.operation, failed, len(judged) - len(failed))
    return tuple(item for item in judged if not isinstance(item, Refused))


def _whole(request: Request, answer: Answer) -> dict[str, Any]:
    """The JSON object; refusals without one (a plain 401, a gateway's page) are raised here."""
    try:
        whole = json.loads(answer.body) if answer.body.strip() else {}
    except (ValueError, RecursionError):
        whole = None
    if isinstance(whole, dict) and (whole.get("response") is not None or not _failed(answer)):
        return whole
    if _failed(answer):
        raise refused_by_status(request, answer, whole)
    raise UnreadableAnswer(request.operation, f"HTTP {answer.status} without a JSON object")


def _failed(answer: Answer) -> bool:
    return not 200 <= answer.status < 300


def refused_by_status(request: Request, answer: Answer, whole: object = None) -> Refused:
    """A refusal told by the HTTP status, with what the body may say in words."""
    text = ""
    if isinstance(whole, dict):
        text = str(whole.get("message") or whole.get("error") or whole.get("description") or "")
    elif not answer.body.lstrip().startswith(b"<"):
        text = answer.body[:500].decode("utf-8", "replace")
    secrets = request.secrets
    return refusal_class(answer.status, None)(
        request.operation,
        clean(text, secrets) or "Exotel gave no reason",
        http_status=answer.status,
        status=answer.status,
        retry_after_s=retry_after_s(answer),
    )


def _judged(request: Request, answer: Answer, whole: Data, item: object) -> Data | Refused:
    """The data of one inner response, or the refusal that it is."""
    if not isinstance(item, dict):
        raise UnreadableAnswer(request.operation, "a response that is no object")
    status = whole_number(item.get("code"))
    said = item.get("status")
    said = said.lower() if isinstance(said, str) else ""
    unsaid_success = not said and 200 <= (status or answer.status) < 300
    if not _failed(answer) and (said in SUCCESS or unsaid_success):
        data = item.get("data")
        return data if isinstance(data, dict) else NOTHING
    if status is None or 200 <= status < 300:
        status = answer.status
    error = item.get("error_data")
    error = error if isinstance(error, dict) else {}
    parts = [str(error[key]) for key in ("message", "description") if error.get(key)]
    code = whole_number(error.get("code"))
    secrets = request.secrets
    return refusal_class(status, code)(
        request.operation,
        clean(": ".join(parts), secrets) or "Exotel gave no reason",
        http_status=answer.status,
        status=status,
        code=code,
        request_id=clean(str(whole.get("request_id") or ""))[:64],
        retry_after_s=retry_after_s(answer),
    )


def whole_number(value: object) -> int | None:
    """Numbers come as numbers and as texts."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    text = str(value)
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 15 else None


def _offset(uri: object) -> int | None:
    """Where the next page starts. The address itself is not followed."""
    if not isinstance(uri, str) or not uri:
        return None
    try:
        return whole_number(parse_qs(urlsplit(uri).query).get("offset", [""])[0])
    except ValueError:
        return None
