"""Trunks of the stand-in (v2): validation, refusals and shapes as documented or measured."""

from __future__ import annotations

import ipaddress
import itertools
import json
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from sipbot.testing.exotel_api.web import Reply, Seen, as_json

PAGE_SIZE: Final = 50
CREATED: Final = "2026-01-23T09:24:59Z"

Fields: TypeAlias = dict[str, Any]
_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_]+")
_DESTINATION: Final = re.compile(r"(?:sip:)?([A-Za-z0-9.-]+):(\d{1,5});transport=(tcp|tls)")


class _Refusal(Exception):
    def __init__(self, status: int, code: int, message: str, description: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.description = description or message


def response(data: object) -> Fields:
    return {"code": 200, "error_data": None, "status": "success", "data": data}


def failure(method: str, status: int, code: int, message: str, description: str = "") -> Fields:
    """A whole answer that says no."""
    return {
        "request_id": "10a67da360d446378d5c2b66407b7f18",
        "method": method,
        "http_code": status,
        "response": _failed(_Refusal(status, code, message, description)),
    }


def _failed(refusal: _Refusal) -> Fields:
    error = {
        "code": refusal.code,
        "message": refusal.message,
        "description": refusal.description,
    }
    return {"code": refusal.status, "error_data": error, "status": "failure", "data": None}


def _invalid(description: str) -> _Refusal:
    return _Refusal(400, 1002, "Invalid parameter", description)


def _missing() -> _Refusal:
    return _Refusal(404, 1000, "Not Found", "Resource not found")


class FakeTrunks:
    """``rows`` maps a trunk's sid to its lists by path name. ``quiet_duplicates`` is the trap: a
    duplicate is refused within an HTTP 200."""

    def __init__(self, account_sid: str) -> None:
        self._account_sid = account_sid
        self.quiet_duplicates = True
        self.trunks: dict[str, Fields] = {}
        self.rows: dict[str, dict[str, list[Fields]]] = {}
        self.passwords: dict[str, str] = {}  # by credential id; never told
        self._ids = itertools.count(1153)

    def answer(self, seen: Seen, rest: Sequence[str]) -> Reply:
        try:
            body = self._body(seen)
            match (seen.method, *rest):
                case ("POST", "trunks"):
                    return self._single(seen, self._create(body))
                case ("GET", "trunks"):
                    wanted = seen.query.get("trunk_sid")
                    found = [one for sid, one in self.trunks.items() if wanted in (None, sid)]
                    return self._list(seen, found)
                case ("DELETE", "trunks"):
                    return self._single(seen, self._delete(seen.query.get("trunk_sid", "")))
                case ("GET", "trunk-maps"):
                    return self._list(seen, self._maps(seen))
                case (_, "trunks", sid) if sid in self.trunks:
                    return self._trunk(seen, self.trunks[sid], body)
                case (_, "trunks", sid, kind, *id_) if sid in self.trunks:
                    return self._part(seen, sid, kind, id_, body)
            raise _missing()
        except _Refusal as refusal:
            quiet = refusal.status == 409 and self.quiet_duplicates
            whole = failure(
                seen.method, refusal.status, refusal.code, refusal.message, refusal.description
            )
            whole["http_code"] = 200 if quiet else refusal.status
            return as_json(whole["http_code"], whole)

    def _body(self, seen: Seen) -> Fields:
        if seen.method not in ("POST", "PUT"):
            return {}
        if seen.headers.get("content-type", "").partition(";")[0] != "application/json":
            raise _Refusal(415, 1011, "Unsupported content type")
        try:
            body = json.loads(seen.body)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise _Refusal(400, 1007, "Invalid request body")
        return body

    def _single(self, seen: Seen, data: object) -> Reply:
        return as_json(200, {**_head(seen, 200), "response": response(data)})

    def _list(self, seen: Seen, rows: Sequence[Fields]) -> Reply:
        if not rows:
            return as_json(200, {**_head(seen, 200), "response": []})  # without metadata
        size = int(seen.query.get("page_size", PAGE_SIZE))
        offset = int(seen.query.get("offset", 0))
        following = offset + size
        uri = f"{seen.path}?offset={{}}&page_size={size}"
        metadata = {
            "page_size": size,
            "first_page_uri": uri.format(0),
            "prev_page_uri": uri.format(max(0, offset - size)) if offset else None,
            "next_page_uri": uri.format(following) if following < len(rows) else None,
        }
        shown = [response(row) for row in rows[offset:following]]
        return as_json(200, {**_head(seen, 200), "metadata": metadata, "response": shown})

    def _batch(self, seen: Seen, items: object, add: Callable[[Fields], Fields]) -> Reply:
        if not isinstance(items, list) or not items:
            raise _Refusal(400, 1001, "Mandatory Parameter missing")
        answers = []
        for item in items:
            try:
                answers.append(response(add(item)))
            except _Refusal as refusal:
                answers.append(_failed(refusal))
        failed = sum(one["status"] == "failure" for one in answers)
        metadata = {"total": len(items), "success": len(items) - failed}
        if failed:
            metadata["failed"] = failed
        status = 207 if failed else 200
        return as_json(status, {**_head(seen, status), "metadata": metadata, "response": answers})

    def _create(self, body: Fields) -> Fields:
        name = body.get("trunk_name")
        if not name:
            raise _Refusal(400, 1001, "Mandatory Parameter missing", "TrunkName is mandatory")
        if _PLAIN.fullmatch(name) is None or len(name) > 16:
            raise _invalid("trunk_name must be alphanumeric with underscores only, max 16")
        if body.get("nso_code") != "ANY-ANY":
            raise _invalid("Invalid nso_code")
        if body.get("domain_name") != f"{self._account_sid}.pstn.exotel.com":
            raise _invalid("Invalid domain_name")
        if any(one["trunk_name"] == name for one in self.trunks.values()):
            raise _Refusal(409, 1008, "Duplicate resource", f"Unable to create Trunk {name}")
        sid = f"trmum1{next(self._ids):022x}"
        base = f"/v2/accounts/{self._account_sid}/trunks/{sid}"
        self.trunks[sid] = {
            "trunk_name": name,
            **_dates(),
            "trunk_sid": sid,
            "status": "active",
            "domain_name": body["domain_name"],
            "auth_type": "IP-WHITELIST",
            "registration_enabled": "disabled",
            "edge_preference": "auto",
            "nso_code": "ANY-ANY",
            "secure_trunking": "disabled",
            **{name.replace("-", "_"): f"{base}/{name}" for name in _PARTS if name != "settings"},
        }
        self.rows[sid] = {name: [] for name in _PARTS}
        return self.trunks[sid]

    def _delete(self, sid: str) -> Fields:
        if sid not in self.trunks:
            raise _missing()
        del self.rows[sid]
        return self.trunks.pop(sid)

    def _trunk(self, seen: Seen, trunk: Fields, body: Fields) -> Reply:
        if seen.method == "PUT":
            trunk.update({key: value for key, value in body.items() if key in trunk})
        elif seen.method != "GET":
            raise _missing()
        return self._single(seen, trunk)

    def _maps(self, seen: Seen) -> list[Fields]:
        number, trunk = seen.query.get("exophone"), seen.query.get("trunk_sid")
        return [
            {
                "exophone": row["phone_number"],
                "trunk_sid": sid,
                "phone_number_id": row["id"],
                "mode": row["mode"],
            }
            for sid, lists in self.rows.items()
            for row in lists["phone-numbers"]
            if number in (None, row["phone_number"]) and trunk in (None, sid)
        ]

    def _part(self, seen: Seen, sid: str, kind: str, id_: Sequence[str], body: Fields) -> Reply:
        rows = self.rows[sid].get(kind)
        if rows is None:
            raise _missing()
        match (seen.method, *id_):
            case ("GET",):
                return self._list(seen, rows)
            case ("POST",) if kind == "destination-uris":
                add = lambda item: self._add_destination(sid, item)  # noqa: E731
                return self._batch(seen, body.get("destinations"), add)
            case ("POST",) if kind == "settings":
                return self._batch(seen, body.get("settings"), lambda item: self._set(sid, item))
            case ("POST",):
                row = _CHECKS[kind](self, sid, body)
                if kind == "credentials":
                    self.passwords[row["id"]] = body["password"]
                rows.append(row)
                return self._single(seen, row)
            case ("PUT", one):
                row = self._found(rows, "id", one)
                self._change(kind, row, body)
                return self._single(seen, row)
            case ("DELETE",):
                key = "name" if kind == "settings" else "id"
                row = self._found(rows, key, seen.query.get(key, ""))
                rows.remove(row)
                return self._single(seen, row)
        raise _missing()

    @staticmethod
    def _found(rows: list[Fields], key: str, value: str) -> Fields:
        for row in rows:
            if row[key] == value:
                return row
        raise _missing()

    def _change(self, kind: str, row: Fields, body: Fields) -> None:
        if kind == "phone-numbers":
            row["mode"] = _mode(body)
        elif kind == "credentials":
            for name in ("password", "friendly_name"):
                if name in body and _PLAIN.fullmatch(str(body[name])) is None:
                    raise _invalid(f"Invalid {name}")
            self.passwords[row["id"]] = body.get("password", self.passwords[row["id"]])
            row["friendly_name"] = body.get("friendly_name", row["friendly_name"])
        elif kind in ("destination-uris", "whitelisted-ips"):
            row.update({key: value for key, value in body.items() if key in row})

    def _new(self, sid: str, fields: Fields) -> Fields:
        return {"id": str(next(self._ids)), **fields, "trunk_sid": sid, **_dates()}

    def _number(self, sid: str, body: Fields) -> Fields:
        number = str(body.get("phone_number", ""))
        if _E164.fullmatch(number) is None:
            raise _invalid("phone_number must be in E.164 format (e.g., +919876543210)")
        if any(
            row["phone_number"] == number
            for lists in self.rows.values()
            for row in lists["phone-numbers"]
        ):
            text = f"Unable to create DidTrunkMapping with TrunkSid {sid}"
            raise _Refusal(409, 1008, "Duplicate resource", text)
        return self._new(sid, {"phone_number": number, "mode": _mode(body)})

    def _ip(self, sid: str, body: Fields) -> Fields:
        mask = body.get("mask", 32)
        if not isinstance(mask, int):
            text = "json: cannot unmarshal string into Go struct field .mask of type int"
            raise _Refusal(400, 1007, "Invalid request body", text)
        if not 16 <= mask <= 32:
            raise _invalid("mask should be in-between 16 and 32")
        ip = str(body.get("ip", ""))
        try:
            ipaddress.IPv4Address(ip)
        except ValueError:
            raise _invalid("ip must be a valid IPv4 address") from None
        rows = self.rows[sid]["whitelisted-ips"]
        if any((row["ip"], row["mask"]) == (ip, mask) for row in rows):
            raise _Refusal(409, 1008, "Duplicate resource", f"Unable to Whitelist-ip with ip {ip}")
        return self._new(sid, {"mask": mask, "ip": ip, "friendly_name": None})

    def _credential(self, sid: str, body: Fields) -> Fields:
        for name in ("user_name", "password"):
            if not body.get(name):
                raise _Refusal(400, 1001, "Mandatory Parameter missing", f"{name} is mandatory")
        friendly = body.get("friendly_name")
        if _PLAIN.fullmatch(str(body["password"])) is None:
            raise _invalid(f"Invalid password {body['password']}")
        if friendly is not None and (_PLAIN.fullmatch(friendly) is None or len(friendly) > 32):
            raise _invalid("Invalid friendly_name")
        if any(row["user_name"] == body["user_name"] for row in self.rows[sid]["credentials"]):
            raise _Refusal(409, 1008, "Duplicate resource", "Unable to create Credentials")
        return self._new(sid, {"user_name": body["user_name"], "friendly_name": friendly})

    def _add_destination(self, sid: str, item: Fields) -> Fields:
        match = _DESTINATION.fullmatch(str(item.get("destination", "")))
        if match is None:
            raise _invalid("Destination is not a valid Ip or Fqdn")
        host = match[1]
        if re.fullmatch(r"[0-9.]+", host):
            self._check_address(sid, host)
        elif "." not in host:
            raise _invalid("Destination is not a valid Ip or Fqdn")
        destination = f"sip:{host}:{match[2]};transport={match[3]}"
        fields = {"destination": destination, "type": "public", "priority": 0, "weight": 1}
        row = self._new(sid, fields)
        self.rows[sid]["destination-uris"].append(row)  # appends: equal ones stand twice
        return row

    def _check_address(self, sid: str, host: str) -> None:
        try:
            address = ipaddress.IPv4Address(host)
        except ValueError:
            raise _invalid("Destination is not a valid Ip or Fqdn") from None
        if not address.is_global:
            raise _invalid("Destination is not a valid Ip or Fqdn")
        allowed = [
            ipaddress.ip_network(f"{row['ip']}/{row['mask']}", strict=False)
            for row in self.rows[sid]["whitelisted-ips"]
        ]
        if not any(address in network for network in allowed):
            raise _invalid("Destination not whitelisted")

    def _set(self, sid: str, item: Fields) -> Fields:
        name, value = item.get("name"), str(item.get("value", ""))
        if name != "trunk_external_alias" or _E164.fullmatch(value) is None:
            raise _invalid("Invalid setting")
        rows = self.rows[sid]["settings"]
        rows[:] = [row for row in rows if row["name"] != name]
        rows.append({"name": name, "value": value, "trunk_sid": sid, **_dates()})
        return rows[-1]


def _mode(body: Fields) -> str | None:
    mode = body.get("mode")
    if mode not in (None, "pstn", "flow"):
        raise _invalid("Invalid mode")
    return "flow" if mode == "flow" else None


def _head(seen: Seen, status: int) -> Fields:
    request_id = "63999f0a98a24a0aa58ab5b74aec9f0a"
    return {"request_id": request_id, "method": seen.method, "http_code": status}


def _dates() -> Fields:
    return {"date_created": CREATED, "date_updated": CREATED}


_PARTS: Final = ("destination-uris", "whitelisted-ips", "credentials", "phone-numbers", "settings")
_CHECKS: Final[dict[str, Callable[[FakeTrunks, str, Fields], Fields]]] = {
    "phone-numbers": FakeTrunks._number,
    "whitelisted-ips": FakeTrunks._ip,
    "credentials": FakeTrunks._credential,
}
