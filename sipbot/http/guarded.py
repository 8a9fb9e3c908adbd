"""Routes that ask who it is before they read a body, and that read no more than they want.

FastAPI reads and parses a body first and looks at dependencies then: a stranger could have it
read anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeAlias

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.types import Message, Receive

from sipbot.http.access import TokenGuard

BODY_S: Final = 20.0  # seconds for a body to arrive
_BEARER: Final = HTTPBearer(auto_error=False)

Handler: TypeAlias = Callable[[Request], Coroutine[Any, Any, Response]]


def guarded_route(guard: TokenGuard, max_body: Callable[[str], int]) -> type[APIRoute]:
    """A class for ``APIRouter(route_class=…)``. ``max_body`` gives bytes for a route's path."""

    class GuardedRoute(APIRoute):
        def get_route_handler(self) -> Handler:
            handle, limit = super().get_route_handler(), max_body(self.path)

            async def guarded(request: Request) -> Response:
                await guard(request, await _BEARER(request))
                return await handle(Request(request.scope, _bounded(request.receive, limit)))

            return guarded

    return GuardedRoute


def _bounded(receive: Receive, limit: int) -> Receive:
    """``receive`` that answers 413 to a body that is too long, 408 to one that is too slow."""
    deadline = asyncio.get_running_loop().time() + BODY_S
    received, whole = 0, False

    async def bounded() -> Message:
        nonlocal received, whole
        if whole:
            return await receive()
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, "the body came too slowly") from None
        received += len(message.get("body", b""))
        whole = not message.get("more_body", False)
        if received > limit:
            raise HTTPException(413, f"a body has at most {limit} bytes here")
        return message

    return bounded
