"""The stand-in as an ASGI application: keys, faults, and which part answers."""

from __future__ import annotations

import base64
import hmac
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

from sipbot.testing.exotel_api.calls import FakeCalls
from sipbot.testing.exotel_api.legs import FakeLegs
from sipbot.testing.exotel_api.trunks import FakeTrunks, failure
from sipbot.testing.exotel_api.web import Reply, Seen, as_json, plain

Message: TypeAlias = MutableMapping[str, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """What the next fitting request is answered with. ``after`` carries it out first.

    ``method`` and ``path`` (a part of it) say which requests fit; empty ones fit all.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = ""
    path: str = ""
    after: bool = False

    def fits(self, seen: Seen) -> bool:
        return self.method in ("", seen.method) and self.path in seen.path


class FakeExotel:
    """One account. ``seen`` lists all requests, ``faults`` is used up from the front.

    ``region_knows_account`` False answers each request as the wrong region does.
    """

    def __init__(
        self, account_sid: str = "acme1", api_key: str = "key1", api_token: str = "token1"
    ) -> None:
        self.account_sid = account_sid
        self.api_key = api_key
        self.api_token = api_token
        self.region_knows_account = True
        self.seen: list[Seen] = []
        self.faults: deque[Fault] = deque()
        self.trunks = FakeTrunks(account_sid)
        self.calls = FakeCalls(account_sid)
        self.legs = FakeLegs()

    async def __call__(
        self,
        scope: Mapping[str, Any],
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        reply = self.answer(await _read(scope, receive))
        headers = {"content-type": reply.content_type, **reply.headers}
        encoded = [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()
        ]
        await send({"type": "http.response.start", "status": reply.status, "headers": encoded})
        await send({"type": "http.response.body", "body": reply.body})

    def answer(self, seen: Seen) -> Reply:
        """The reply to one request, faults included."""
        self.seen.append(seen)
        fault = self.faults[0] if self.faults and self.faults[0].fits(seen) else None
        if fault is not None:
            self.faults.popleft()
            if fault.after:
                self._route(seen)
            return Reply(fault.status, fault.body, "text/plain", fault.headers)
        return self._route(seen)

    def _route(self, seen: Seen) -> Reply:
        if not self.region_knows_account or not self._authentic(seen):
            return plain(401, "Authorization failed")
        match seen.parts:
            case ("v2", "accounts", sid, "legs", *rest) if sid == self.account_sid:
                return self.legs.answer(seen, rest)
            case ("v2", "accounts", sid, *rest) if sid == self.account_sid:
                return self.trunks.answer(seen, rest)
            case ("v2", "accounts", _, *_):
                return as_json(403, failure(seen.method, 403, 1003, "Authorization failed"))
            case ("v1" | "v2_beta" as version, "Accounts", sid, *rest) if sid == self.account_sid:
                return self.calls.answer(seen, version, rest)
        return plain(404, "404 page not found")

    def _authentic(self, seen: Seen) -> bool:
        expected = base64.b64encode(f"{self.api_key}:{self.api_token}".encode()).decode()
        given = seen.headers.get("authorization", "")
        return hmac.compare_digest(given.encode(), f"Basic {expected}".encode())


async def _lifespan(
    receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _read(scope: Mapping[str, Any], receive: Callable[[], Awaitable[Message]]) -> Seen:
    body = bytearray()
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1").partition("?")[0]
    query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    headers = {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
    }
    return Seen(scope["method"], path, query, headers, bytes(body))
