"""What a sipbot answers that can do nothing else for the moment."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Response

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def router(retry_after_s: int) -> APIRouter:
    """503 for everything that no route before this one takes."""
    api = APIRouter(include_in_schema=False)
    headers = {"Retry-After": str(retry_after_s), "Cache-Control": "no-store"}

    @api.api_route("/{path:path}", methods=list(METHODS))
    async def closed(path: str) -> Response:
        return Response(status_code=503, headers=headers)

    return api
