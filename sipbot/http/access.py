"""Who may use ``/api``: the bearer of the token, or, where there is none, this machine alone."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable
from typing import Annotated, Final

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

_BEARER: Final = HTTPBearer(auto_error=False, description="`http.token` of the configuration")
# What a proxy adds: then the connection's own address says nothing about who asks.
_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-real-ip")


class TokenGuard:
    """A dependency of routers: ``APIRouter(dependencies=[Depends(guard)])``.

    ``token()`` gives the configured token at the time of each request, or None.
    """

    def __init__(self, token: Callable[[], str | None]) -> None:
        self._token = token

    async def __call__(
        self,
        request: Request,
        given: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
    ) -> None:
        token = self._token()
        if token is None:
            if not _local(request):
                raise HTTPException(403, "without http.token, loopback only")
        elif given is None or not same(given.credentials, token):
            raise HTTPException(401, "bearer token needed", {"WWW-Authenticate": "Bearer"})


def same(given: str, secret: str) -> bool:
    """Whether both are equal, in a time that tells nothing about where they differ."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode())


def _local(request: Request) -> bool:
    if request.client is None or any(name in request.headers for name in _FORWARDED):
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False
