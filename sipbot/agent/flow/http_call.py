"""Asks web services for the values of variables."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import httpx

from sipbot.agent.flow.model import Http
from sipbot.agent.flow.text import fill

MAX_ANSWER_BYTES: Final = 262_144
MAX_VALUE: Final = 1_000  # characters of a variable; longer ones are cut


class HttpFailed(Exception):
    """No usable answer. ``reason`` holds nothing of the request or the answer."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


async def ask(http: Http, values: Mapping[str, str]) -> dict[str, str]:
    """The variables that ``http`` takes from the answer. Raises ``HttpFailed``."""
    quoted = {name: quote(value, safe="") for name, value in values.items()}

    def filled(texts: Mapping[str, str]) -> dict[str, str]:
        return {key: fill(text, values) for key, text in texts.items()}

    try:
        async with (
            asyncio.timeout(http.timeout_s),
            httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=None) as client,
            client.stream(
                http.method,
                fill(http.url, quoted),
                params=filled(http.query) or None,
                json=None if http.body is None else filled(http.body),
                headers=filled(http.headers),
            ) as reply,
        ):
            if not reply.is_success:
                raise HttpFailed(f"status-{reply.status_code}")
            body = await _body(reply)
    except TimeoutError as error:
        raise HttpFailed("timeout") from error
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise HttpFailed(type(error).__name__) from error
    return _taken(http.take, body) if http.take else {}


async def _body(reply: httpx.Response) -> bytes:
    body = b""
    async for piece in reply.aiter_bytes():
        body += piece
        if len(body) > MAX_ANSWER_BYTES:
            raise HttpFailed("too-long")
    return body


def _taken(wanted: Mapping[str, str], body: bytes) -> dict[str, str]:
    try:
        answer = json.loads(body)
    except ValueError as error:
        raise HttpFailed("no-json") from error
    return {name: _text(_at(answer, path)) for name, path in wanted.items()}


def _at(value: Any, path: str) -> Any:
    """What stands at ``a.b.0``; the empty path is all of it. Raises ``HttpFailed``."""
    for part in path.split(".") if path else ():
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise HttpFailed("missing-value") from error
    return value


def _text(value: Any) -> str:
    if isinstance(value, dict | list) or value is None:
        raise HttpFailed("missing-value")
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text[:MAX_VALUE]
