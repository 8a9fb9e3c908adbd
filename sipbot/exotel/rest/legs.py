"""Legs (v2, the programmable interface): one telephone each, told what to do by actions.

What becomes of an action arrives as an event at the leg's endpoint, not in the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from sipbot.exotel.rest import envelope
from sipbot.exotel.rest.errors import UnreadableAnswer
from sipbot.exotel.rest.requester import Request, Requester
from sipbot.exotel.rest.values import Leg

MU_LAW: Final = "audio/x-mulaw;rate=8000"


class Legs:
    """Legs of one account."""

    def __init__(self, requester: Requester) -> None:
        self._requester = requester
        account = requester.account
        self._base = f"{account.cpaas}/v2/accounts/{quote(account.account_sid, safe='')}/legs"

    async def create(
        self,
        contact_uri: str,
        exophone: str,
        event_endpoint: str,
        *,
        timeout_s: int = 30,
        options: Mapping[str, Any] | None = None,
    ) -> Leg:
        """Ring ``contact_uri`` (a number or ``sip:``). ``options`` are Exotel's further fields
        (``network_type``, ``custom_param``, ``time_limit``, ``ring_timeout``, ``amd_enable``)."""
        body = {
            **(options or {}),
            "contact_uri": contact_uri,
            "exophone": exophone,
            "leg_event_endpoint": event_endpoint,
            "timeout": timeout_s,
        }
        data = await self._requester.call(
            self._request("create the leg", "POST", "", body), envelope.one
        )
        leg = Leg.read(data)
        if not leg.sid:
            raise UnreadableAnswer("create the leg", "the answer names no leg_sid")
        return leg

    async def get(self, sid: str) -> Leg:
        path = f"/{quote(sid, safe='')}"
        data = await self._requester.call(
            self._request("look up the leg", "GET", path), envelope.one
        )
        return Leg.read(data)

    async def start_stream(self, sid: str, url: str, content_type: str = MU_LAW) -> None:
        body = {"direction": "bidirectional", "url": url, "content_type": content_type}
        await self._act(sid, "start_stream", body)

    async def start_say(self, sid: str, words: str, *, loop: int = 1) -> None:
        await self._act(sid, "start_say", {"text": words, "loop": loop})

    async def stop_say(self, sid: str) -> None:
        await self._act(sid, "stop_say", {})

    async def start_play(self, sid: str, url: str, *, loop: int = 1) -> None:
        await self._act(sid, "start_play", {"url": url, "loop": loop})

    async def stop_play(self, sid: str) -> None:
        await self._act(sid, "stop_play", {})

    async def exoml(self, sid: str, document: str) -> None:
        """Run an ExoML document (``<Flow>...``) on the leg."""
        await self._act(sid, "", {"exoml": document})

    async def _act(self, sid: str, action: str, body: Mapping[str, Any]) -> None:
        path = f"/{quote(sid, safe='')}/actions" + (f"/{action}" if action else "")
        what = f"run {action or 'the ExoML'} on the leg"
        await self._requester.call(self._request(what, "POST", path, body), envelope.one)

    def _request(
        self, operation: str, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> Request:
        secrets = self._requester.account.secrets
        return Request(operation, method, self._base + path, json=body, secrets=secrets)
