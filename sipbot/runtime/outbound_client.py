"""Orders a call from a running server, over its HTTP interface."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx

from sipbot.errors import SipbotError
from sipbot.ops.config import Config
from sipbot.ops.values import HttpListen

POLL_S: Final = 0.5  # seconds between two looks at a job
REQUEST_S: Final = 10.0  # seconds for one answer
_ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class OrderFailed(SipbotError):
    """The server does not answer, or says no."""


def server_url(config: Config) -> str | None:
    """Where a server with this configuration is reached from this machine."""
    listen = config.http.listen
    if listen is None:
        return None
    host = _ANYWHERE.get(listen.host, listen.host)
    plain = HttpListen(host, listen.port)
    return str(plain).replace("http://", "https://" if listen.secure else "http://", 1)


class OrderClient:
    """A client of ``/api``. ``transport`` and ``sleep`` are for tests."""

    def __init__(
        self,
        url: str,
        token: str | None,
        *,
        insecure: bool = False,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._sleep = sleep
        self._http = httpx.Client(
            base_url=url.rstrip("/"),
            headers=headers,
            timeout=REQUEST_S,
            verify=not insecure,
            transport=transport,
        )

    def close(self) -> None:
        self._http.close()

    def order(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Have somebody called; returns the job. Raises OrderFailed."""
        return self._ask("POST", "/api/calls", order)

    def wait(self, job: str) -> dict[str, Any]:
        """The job, once it is done. Raises OrderFailed."""
        while True:
            found = self._ask("GET", f"/api/jobs/{job}")
            if found.get("state") == "done":
                return found
            self._sleep(POLL_S)

    def stop(self, job: str) -> dict[str, Any]:
        """Have the job end. Raises OrderFailed."""
        return self._ask("DELETE", f"/api/jobs/{job}")

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise OrderFailed(f"no server answers at {self._http.base_url}: {error}") from None
        try:
            found = answer.json()
        except ValueError:
            found = {}
        if not answer.is_success or not isinstance(found, dict):
            raise OrderFailed(f"the server says {answer.status_code}: {_detail(found)}")
        return found


def _detail(answer: object) -> str:
    detail = answer.get("detail", "no reason") if isinstance(answer, dict) else "no reason"
    if isinstance(detail, list):  # of mistakes, as FastAPI tells them
        return "; ".join(
            f"{'.'.join(str(part) for part in one.get('loc', ())[1:])}: {one.get('msg', '')}"
            for one in detail
            if isinstance(one, dict)
        )
    return str(detail)
