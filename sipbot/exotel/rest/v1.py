"""Answers of the v1 interfaces: XML, or JSON where the path ends in ``.json``.

Told apart by their first character, because the same path answers in either. XML becomes the tree
that the JSON would be: elements are keys, equal neighbours a list, empty elements None.
"""

from __future__ import annotations

import json
from typing import Any, Final
from xml.etree import ElementTree as ET

from sipbot.exotel.rest.envelope import Data, refused_by_status, whole_number
from sipbot.exotel.rest.errors import Refused, UnreadableAnswer, clean, refusal_class
from sipbot.exotel.rest.requester import Answer, Request, retry_after_s

MAX_DEPTH: Final = 20  # nested elements


def tree(request: Request, answer: Answer) -> Data:
    """The answer's content, ``TwilioResponse`` and ``RestException`` taken off.

    Raises ``Refused`` for a RestException, whatever the HTTP status says, and for each HTTP status
    that is no success; ``UnreadableAnswer`` for anything else that is neither JSON nor XML.
    """
    content = _parsed(answer.body)
    if isinstance(content, dict):
        failure = content.get("RestException") or content.get("rest_exception")
        if isinstance(failure, dict):
            raise _refused(request, answer, failure)
        if 200 <= answer.status < 300:
            return content
    if not 200 <= answer.status < 300:
        raise refused_by_status(request, answer, content)
    raise UnreadableAnswer(request.operation, "neither JSON nor XML as documented")


def _parsed(body: bytes) -> object:
    """None when the bytes are neither."""
    stripped = body.lstrip(b"\xef\xbb\xbf \t\r\n")
    try:
        if not stripped.startswith(b"<"):
            return json.loads(stripped)
        if b"<!DOCTYPE" in stripped or b"<!ENTITY" in stripped:
            return None  # entities can be made to explode; Exotel sends none
        root = ET.fromstring(stripped)
        content = _element(root, 0)
    except (ValueError, RecursionError, ET.ParseError, LookupError):
        return None
    if root.tag != "TwilioResponse":
        return {root.tag: content}
    return {} if content is None else content


def _element(element: ET.Element, depth: int) -> Any:
    if len(element) == 0:
        return (element.text or "").strip() or None
    if depth > MAX_DEPTH:
        raise ValueError("nested too deeply")
    values: dict[str, Any] = {}
    for child in element:
        value = _element(child, depth + 1)
        if child.tag not in values:
            values[child.tag] = value
        elif isinstance(values[child.tag], list):
            values[child.tag].append(value)
        else:
            values[child.tag] = [values[child.tag], value]
    return values


def _refused(request: Request, answer: Answer, failure: Data) -> Refused:
    status = whole_number(failure.get("Status")) or answer.status
    if 200 <= status < 300:
        status = 400  # an exception is no success
    code = whole_number(failure.get("Code"))
    return refusal_class(status, code)(
        request.operation,
        clean(str(failure.get("Message") or ""), request.secrets) or "Exotel gave no reason",
        http_status=answer.status,
        status=status,
        code=code,
        retry_after_s=retry_after_s(answer),
    )


def records(value: object) -> tuple[Data, ...]:
    """Objects out of a list, a single one, or one below its singular name (``{"Leg": ...}``)."""
    if value is None:
        return ()
    found: list[Data] = []
    for item in value if isinstance(value, list) else [value]:
        if not isinstance(item, dict):
            continue
        inner = next(iter(item.values())) if len(item) == 1 else None
        if isinstance(inner, list | dict):
            found.extend(records(inner))
        else:
            found.append(item)
    return tuple(found)
