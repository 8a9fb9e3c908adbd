"""Exotel's callbacks as routes. Each comes by two paths: ``/exotel/…`` and ``/exotel/SECRET/…``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import JSONResponse

from sipbot.exotel.callbacks import Callback, parse_callback
from sipbot.http.access import same
from sipbot.http.exotel_desk import ExotelDesk, Refused, StreamKind

MAX_BODY: Final = 65_536  # bytes of a callback's body
BODY_S: Final = 5.0  # seconds for it to arrive
WRONG_SECRET: Final = "wrong-secret"
BODY_TOO_BIG: Final = "body-too-big"
BODY_TOO_SLOW: Final = "body-too-slow"
_NOT_KEPT: Final = {"Cache-Control": "no-store"}
_PREFIXES: Final = ("/exotel", "/exotel/{secret}")


def router(desk: ExotelDesk) -> APIRouter:
    """The routes over one desk."""
    api = APIRouter(tags=["exotel"])
    pages = _Pages(desk)
    routes: tuple[tuple[str, tuple[str, ...], Callable[[Request], Awaitable[Response]]], ...] = (
        ("/voicebot-url", ("GET", "POST"), pages.voicebot_url),
        ("/voicebot-url/{agent}", ("GET", "POST"), pages.voicebot_url),
        ("/stream-url", ("GET", "POST"), pages.stream_url),
        ("/stream-url/{agent}", ("GET", "POST"), pages.stream_url),
        ("/passthru", ("GET", "POST"), pages.passthru),
        ("/passthru/{flow}", ("GET", "POST"), pages.passthru),
        ("/connect", ("GET", "POST"), pages.connect),
        ("/status", ("POST", "GET"), pages.status),
    )
    for prefix in _PREFIXES:  # the plain ones first: a secret could be any text
        for path, methods, page in routes:
            for method in methods:
                name = f"{page.__name__}{path.count('{')}_{method.lower()}"
                api.add_api_route(
                    prefix + path,
                    page,
                    methods=[method],
                    response_class=Response,
                    operation_id=f"exotel_{name}",
                    include_in_schema=prefix == _PREFIXES[0],
                )
    return api


class _Pages:
    def __init__(self, desk: ExotelDesk) -> None:
        self._desk = desk

    async def voicebot_url(self, request: Request) -> Response:
        """`{"url": "wss://…"}` for a Voicebot applet; without agent the routes decide."""
        return await self._url(request, "voicebot")

    async def stream_url(self, request: Request) -> Response:
        """The same for a Stream applet, which only listens."""
        return await self._url(request, "stream")

    async def passthru(self, request: Request) -> Response:
        """The branch of a Passthru applet, as a status: see `exotel.flows`."""
        callback = await self._callback(request)
        flow = request.path_params.get("flow", "")
        asked = callback.get("stage", "omni_status")
        try:
            status = await self._desk.passthru(flow, asked, callback)
        except Refused as refused:
            raise self._refuse(refused.rule, refused.status) from None
        return Response(status_code=status, headers=_NOT_KEPT)

    async def connect(self, request: Request) -> Response:
        """Whom a Connect applet is to dial."""
        callback = await self._callback(request)
        version = request.headers.get("exotel-version", "")
        return JSONResponse(await self._desk.connect(callback, version), headers=_NOT_KEPT)

    async def status(self, request: Request) -> Response:
        """A status callback: always 200 once it was read, so that it is not repeated."""
        callback = await self._callback(request)
        if callback.call_sid:
            self._desk.status(callback)
        else:
            self._desk.refused("no-callsid")
        return Response(status_code=200, headers=_NOT_KEPT)

    async def _url(self, request: Request, kind: StreamKind) -> Response:
        callback = await self._callback(request)
        agent = request.path_params.get("agent", "")
        rate = callback.get("sample-rate", "sample_rate")
        base = str(request.base_url)
        try:
            url = self._desk.stream_url(kind, agent, rate, callback, base)
        except Refused as refused:
            raise self._refuse(refused.rule, refused.status) from None
        return JSONResponse({"url": url}, headers=_NOT_KEPT)

    async def _callback(self, request: Request) -> Callback:
        """Check the secret, then read. Raises HTTPException."""
        secret = self._desk.rules.secret
        given = request.path_params.get("secret") or request.query_params.get("secret", "")
        if secret is not None and not same(given, secret):
            raise self._refuse(WRONG_SECRET, 403)
        body = b""
        if request.method == "POST":
            try:
                async with asyncio.timeout(BODY_S):
                    async for chunk in request.stream():
                        body += chunk
                        if len(body) > MAX_BODY:
                            raise self._refuse(BODY_TOO_BIG, 413)
            except TimeoutError:
                raise self._refuse(BODY_TOO_SLOW, 408) from None
        kind = request.headers.get("content-type", "")
        return parse_callback(request.url.query, kind, body)

    def _refuse(self, rule: str, status: int) -> HTTPException:
        self._desk.refused(rule)
        return HTTPException(status, rule)
