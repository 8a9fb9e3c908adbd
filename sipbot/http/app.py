"""The web application: ``/health``, ``/ready``, ``/metrics``, and what routers add."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import JSONResponse

from sipbot import __version__
from sipbot.clock import Clock
from sipbot.http.metrics import CONTENT_TYPE, page
from sipbot.http.source import Source

FRESH_S: Final = 1.0  # seconds that one page of metrics serves all who ask
_NOT_KEPT: Final = {"Cache-Control": "no-store"}


class _Page:
    """The metrics, made at most once in ``FRESH_S`` however often they are asked for."""

    def __init__(self, source: Source, clock: Clock) -> None:
        self._source, self._clock = source, clock
        self._made_at, self._body = float("-inf"), b""

    def body(self) -> bytes:
        now = self._clock.monotonic()
        if now - self._made_at >= FRESH_S:
            self._made_at, self._body = now, page(self._source)
        return self._body


def make_app(source: Source, clock: Clock, routers: Sequence[APIRouter] = ()) -> FastAPI:
    """The application over one source, with the paths of ``routers``."""
    app = FastAPI(title="sipbot", version=__version__, docs_url=None, redoc_url=None)
    metrics = _Page(source, clock)

    # Coroutines: plain functions would run in threads, which compete with the media clock.

    @app.get("/health")
    async def health() -> Response:
        """200 while the process lives."""
        return JSONResponse({"status": "alive", "version": __version__}, headers=_NOT_KEPT)

    @app.get("/ready", responses={503: {"description": "No new calls are taken."}})
    async def ready() -> Response:
        """200 while new calls are taken; else 503 with the rules that forbid them."""
        reasons = source.reasons()
        content = {"ready": not reasons, "reasons": list(reasons)}
        return JSONResponse(content, 503 if reasons else 200, headers=_NOT_KEPT)

    @app.get("/metrics", response_class=Response)
    async def show_metrics() -> Response:
        """What is counted, for Prometheus."""
        return Response(metrics.body(), media_type=CONTENT_TYPE, headers=_NOT_KEPT)

    for router in routers:
        app.include_router(router)
    return app
