"""The little of HTTP that the stand-in needs: requests read whole, replies in JSON and XML."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl
from xml.etree import ElementTree as ET


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it arrived; ``path`` is not decoded, ``query`` is."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(part for part in self.path.split("/") if part)

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode("utf-8"), keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def plain(status: int, text: str) -> Reply:
    return Reply(status, text.encode(), "text/plain; charset=utf-8")


def as_json(status: int, content: object) -> Reply:
    return Reply(status, json.dumps(content).encode())


def as_xml(status: int, content: Mapping[str, Any]) -> Reply:
    """``content`` below ``TwilioResponse``; lists become repeated elements."""
    root = ET.Element("TwilioResponse")
    _fill(root, content)
    text = b'<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root)
    return Reply(status, text, "application/xml")


def _fill(parent: ET.Element, content: Mapping[str, Any]) -> None:
    for name, value in content.items():
        for one in value if isinstance(value, list) else [value]:
            child = ET.SubElement(parent, name)
            if isinstance(one, Mapping):
                _fill(child, one)
            elif one is not None:
                child.text = str(one)
