"""Calls, streams and ExoPhones of the stand-in (v1): XML, or JSON where the path ends so."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from sipbot.testing.exotel_api.web import Reply, Seen, as_json, as_xml

Fields: TypeAlias = dict[str, Any]
NOW: Final = "2026-01-23 10:48:33"  # times of v1 have no zone
_FLOW_URL: Final = re.compile(r"https?://my\.exotel\.com/([^/]+)/exoml/start_voice/\w+")


class FakeCalls:
    """``calls`` by sid, the oldest first. ``exophones`` limits who may call, unless it is empty.

    ``streams`` is (active, allowed); ``streams_in_xml`` picks the other documented form;
    ``has_beta`` False leaves the ExoPhones to v1 alone.
    """

    def __init__(self, account_sid: str) -> None:
        self._account_sid = account_sid
        self.calls: dict[str, Fields] = {}
        self.exophones: list[str] = []
        self.streams = (0, 25)
        self.streams_in_xml = False
        self.has_beta = True
        self._ids = itertools.count(1)

    def answer(self, seen: Seen, version: str, rest: Sequence[str]) -> Reply:
        parts = [*rest]
        in_json = bool(parts) and parts[-1].endswith(".json")
        if in_json:
            parts[-1] = parts[-1].removesuffix(".json")
        match (seen.method, version, *parts):
            case ("POST", "v1", "Calls", "connect"):
                return self._connect(seen, in_json)
            case ("GET", "v1", "Calls"):
                return self._list(seen, in_json)
            case ("GET", "v1", "Calls", sid) if sid in self.calls:
                return self._show(self.calls[sid], seen.query.get("details") == "true", in_json)
            case ("GET", "v1", "ActiveStreams"):
                return self._streams()
            case ("GET", "v2_beta", "IncomingPhoneNumbers") if self.has_beta:
                return as_json(200, self._exophones())
            case ("GET", "v1", "IncomingPhoneNumbers"):
                return as_json(200, self._exophones())
        return refusal(404, "Resource not found", in_json)

    def finish(self, sid: str, status: str = "completed", duration_s: int = 17) -> None:
        """End a call."""
        self.calls[sid].update(Status=status, Duration=str(duration_s), EndTime=NOW, Price="1.5")

    def _connect(self, seen: Seen, in_json: bool) -> Reply:
        kind = seen.headers.get("content-type", "").partition(";")[0]
        if kind != "application/x-www-form-urlencoded":
            return refusal(400, "Bad or missing parameters", in_json)
        form = seen.form
        problem = self._problem(form)
        if problem:
            return refusal(400, problem, in_json)
        sid = f"{next(self._ids):032x}"
        self.calls[sid] = {
            "Sid": sid,
            "ParentCallSid": None,
            "DateCreated": NOW,
            "DateUpdated": NOW,
            "AccountSid": self._account_sid,
            "To": _national(form.get("To", form["CallerId"])),
            "From": _national(form["From"]),
            "PhoneNumberSid": _national(form["CallerId"]),
            "Status": "in-progress",
            "StartTime": NOW,
            "EndTime": None,
            "Duration": None,
            "Price": None,
            "Direction": "outbound-api",
            "AnsweredBy": None,
            "Uri": f"/v1/Accounts/{self._account_sid}/Calls/{sid}",
            "RecordingUrl": None,
        }
        return self._show(self.calls[sid], False, in_json)

    def _problem(self, form: Mapping[str, str]) -> str:
        for name in ("From", "CallerId"):
            if not form.get(name):
                return f"Mandatory Parameter {name} missing"
        if self.exophones and form["CallerId"] not in self.exophones:
            return f"CallerId {form['CallerId']} is not an ExoPhone of this account"
        if not 0 < int(form.get("TimeLimit", "1")) <= 14_400:
            return "TimeLimit must be at most 14400"
        if "Url" in form:
            match = _FLOW_URL.fullmatch(form["Url"])
            own = match is not None and match[1] == self._account_sid
            return "" if own and "StreamUrl" not in form else "Invalid Url"
        if "StreamUrl" in form:
            good = form["StreamUrl"].startswith(("ws://", "wss://"))
            bidirectional = form.get("StreamType") == "bidirectional"
            return "" if good and bidirectional else "Invalid StreamUrl or StreamType"
        return "" if form.get("To") else "Mandatory Parameter To missing"

    def _show(self, call: Fields, details: bool, in_json: bool) -> Reply:
        shown = dict(call)
        if details:
            legs = [{"Id": 1, "OnCallDuration": 21}, {"Id": 2, "OnCallDuration": 8}]
            shown["Details"] = {
                "ConversationDuration": 8,
                "Leg1Status": "completed",
                "Leg2Status": "completed",
                "Legs": [{"Leg": leg} for leg in legs] if in_json else {"Leg": legs},
            }
        content = {"Call": shown}
        return as_json(200, content) if in_json else as_xml(200, content)

    def _list(self, seen: Seen, in_json: bool) -> Reply:
        size = int(seen.query.get("PageSize", "50"))
        if size > 100:
            return refusal(400, "PageSize must be at most 100", in_json)
        rows = [row for row in reversed(self.calls.values()) if self._fits(row, seen.query)]
        start = int(seen.query.get("After", "0") or "0")
        following = start + size
        uri = f"{seen.path}?PageSize={size}&After={following}"
        metadata = {
            "Total": len(rows),
            "PageSize": size,
            "FirstPageUri": f"{seen.path}?PageSize={size}",
            "PrevPageUri": None,
            "NextPageUri": uri if following < len(rows) else None,
        }
        shown = rows[start:following]
        if in_json:
            return as_json(200, {"Metadata": metadata, "Calls": shown})
        return as_xml(200, {"Metadata": metadata, "Calls": {"Call": shown}})

    @staticmethod
    def _fits(row: Fields, query: Mapping[str, str]) -> bool:
        return all(
            row[name] in query[name].split(",") for name in ("Sid", "Status") if name in query
        )

    def _streams(self) -> Reply:
        active, allowed = self.streams
        if self.streams_in_xml:
            inner = {"ActiveStreamCount": active, "ThrottleLimit": allowed}
            return as_xml(200, {"Stream": inner})
        content = {
            "status": "success",
            "active_streams": active,
            "max_allowed_streams": allowed,
            "account_sid": self._account_sid,
        }
        return as_json(200, content)

    def _exophones(self) -> Fields:
        rows = [
            {"sid": f"exo{index}", "phone_number": number, "friendly_name": number}
            for index, number in enumerate(self.exophones)
        ]
        return {"page": 0, "page_size": 50, "incoming_phone_numbers": rows}


def refusal(status: int, message: str, in_json: bool) -> Reply:
    content = {"RestException": {"Status": status, "Message": message, "Code": 34000 + status}}
    return as_json(status, content) if in_json else as_xml(status, content)


def _national(number: str) -> str:
    return "0" + number[-10:] if len(number) >= 10 else number
