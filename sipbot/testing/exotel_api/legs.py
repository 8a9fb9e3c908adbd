"""Legs of the stand-in (v2): created, looked up, and told what to do."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any, Final

from sipbot.testing.exotel_api.trunks import failure, response
from sipbot.testing.exotel_api.web import Reply, Seen, as_json

ACTIONS: Final = {
    "start_stream": ("direction", "url", "content_type"),
    "start_say": ("text",),
    "start_play": ("url",),
    "stop_say": (),
    "stop_play": (),
    "": ("exoml",),
}


class FakeLegs:
    """``actions`` lists (leg, action, body) in the order in which they came."""

    def __init__(self) -> None:
        self.legs: dict[str, dict[str, Any]] = {}
        self.actions: list[tuple[str, str, dict[str, Any]]] = []
        self._ids = itertools.count(1)

    def answer(self, seen: Seen, rest: Sequence[str]) -> Reply:
        body = json.loads(seen.body) if seen.body else {}
        match (seen.method, *rest):
            case ("POST",):
                needed = ("contact_uri", "exophone", "leg_event_endpoint")
                if any(not body.get(name) for name in needed):
                    text = "Mandatory Parameter missing"
                    return as_json(400, failure(seen.method, 400, 1001, text))
                sid = f"leg{next(self._ids)}"
                self.legs[sid] = {"leg_sid": sid, "state": "connecting", **body}
                return self._good(seen, {"leg_sid": sid, "created_at": "2026-01-23T09:24:59Z"})
            case ("GET", sid) if sid in self.legs:
                return self._good(seen, self.legs[sid])
            case ("POST", sid, "actions", *action) if sid in self.legs:
                return self._act(seen, sid, "/".join(action), body)
        return as_json(404, failure(seen.method, 404, 1000, "Not Found"))

    def _act(self, seen: Seen, sid: str, action: str, body: dict[str, Any]) -> Reply:
        if action not in ACTIONS:
            return as_json(404, failure(seen.method, 404, 1000, "Not Found"))
        if any(not body.get(name) for name in ACTIONS[action]):
            return as_json(400, failure(seen.method, 400, 1001, "Mandatory Parameter missing"))
        self.actions.append((sid, action, body))
        return self._good(seen, {"action_sid": f"act{len(self.actions)}"})

    @staticmethod
    def _good(seen: Seen, data: object) -> Reply:
        head = {"request_id": "d0e1f2a3b4c5", "method": seen.method, "http_code": 200}
        return as_json(200, {**head, "response": response(data)})
