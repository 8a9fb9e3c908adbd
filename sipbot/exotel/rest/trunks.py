"""Trunks (v2): numbers, allowed addresses, destinations, credentials, settings.

Every method raises an ``ExotelError``. Bodies are JSON; ids of numbers, addresses, destinations and
credentials are Exotel's own. Removing what an earlier attempt of the same call removed is success.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import quote

from sipbot.exotel.rest import envelope
from sipbot.exotel.rest.envelope import Data
from sipbot.exotel.rest.errors import NotFound, UnreadableAnswer
from sipbot.exotel.rest.requester import Pairs, Request, Requester
from sipbot.exotel.rest.values import (
    AllowedIp,
    Credential,
    Destination,
    Mode,
    NumberMap,
    PhoneNumber,
    Setting,
    Trunk,
)

PAGE_SIZE: Final = 50
MAX_PAGES: Final = 100  # of one list
ANY_OPERATOR: Final = "ANY-ANY"  # network service operator; "any any" is refused
ALIAS: Final = "trunk_external_alias"

V = TypeVar("V")


class Trunks:
    """Trunks of one account."""

    def __init__(self, requester: Requester) -> None:
        self._requester = requester
        account = requester.account
        self._base = f"{account.api}/v2/accounts/{quote(account.account_sid, safe='')}"

    async def create(
        self, name: str, *, domain: str | None = None, nso_code: str = ANY_OPERATOR
    ) -> Trunk:
        """``name`` has up to 16 letters, digits and ``_``. Raises ``Duplicate``: it exists."""
        body = {
            "trunk_name": name,
            "nso_code": nso_code,
            "domain_name": domain or self._requester.account.domain,
        }
        data = await self._one("create the trunk", "POST", "/trunks", body)
        trunk = Trunk.read(data)
        if not trunk.sid:
            raise UnreadableAnswer("create the trunk", "the answer names no trunk_sid")
        return trunk

    async def all(self) -> tuple[Trunk, ...]:
        return await self._all("list the trunks", "/trunks", Trunk.read)

    async def get(self, sid: str) -> Trunk:
        """Asked as a filtered list, which is documented better than the single path. Raises
        ``NotFound``."""
        found = await self._all("look up the trunk", "/trunks", Trunk.read, (("trunk_sid", sid),))
        for trunk in found:
            if trunk.sid == sid:
                return trunk
        raise NotFound(
            "look up the trunk", "no trunk has this sid", http_status=200, status=404, code=None
        )

    async def update(
        self,
        sid: str,
        *,
        name: str | None = None,
        nso_code: str | None = None,
        auth_type: str | None = None,
    ) -> Trunk:
        given = {"trunk_name": name, "nso_code": nso_code, "auth_type": auth_type}
        body = {key: value for key, value in given.items() if value is not None}
        return Trunk.read(await self._one("change the trunk", "PUT", self._at(sid), body))

    async def delete(self, sid: str) -> None:
        """Removes its numbers, addresses, destinations and credentials too."""
        await self._remove("delete the trunk", "/trunks", (("trunk_sid", sid),))

    async def numbers(self, sid: str) -> tuple[PhoneNumber, ...]:
        return await self._all("list the numbers", self._at(sid, "phone-numbers"), PhoneNumber.read)

    async def add_number(self, sid: str, number: str, mode: Mode) -> PhoneNumber:
        """``number`` in E.164 with ``+``."""
        body = {"phone_number": number, "mode": mode.value}
        path = self._at(sid, "phone-numbers")
        return PhoneNumber.read(await self._one("map the number", "POST", path, body))

    async def change_number(self, sid: str, id_: str, number: str, mode: Mode) -> None:
        body = {"phone_number": number, "mode": mode.value}
        path = self._at(sid, "phone-numbers", id_)
        await self._one("change the mode of the number", "PUT", path, body)

    async def remove_number(self, sid: str, id_: str) -> None:
        await self._remove("unmap the number", self._at(sid, "phone-numbers"), (("id", id_),))

    async def maps(self, number: str) -> tuple[NumberMap, ...]:
        """The trunks that a number is mapped to."""
        query = (("exophone", number),)
        try:
            return await self._all("look up the number", "/trunk-maps", NumberMap.read, query)
        except NotFound:
            return ()

    async def allowed_ips(self, sid: str) -> tuple[AllowedIp, ...]:
        path = self._at(sid, "whitelisted-ips")
        return await self._all("list the allowed addresses", path, AllowedIp.read)

    async def allow_ip(self, sid: str, network: str) -> AllowedIp:
        """``network`` is an IPv4 address or network with a prefix of 16 to 32 bits."""
        parsed = ipaddress.IPv4Network(network)
        body = {"ip": str(parsed.network_address), "mask": parsed.prefixlen}
        path = self._at(sid, "whitelisted-ips")
        return AllowedIp.read(await self._one("allow the address", "POST", path, body))

    async def remove_ip(self, sid: str, id_: str) -> None:
        path = self._at(sid, "whitelisted-ips")
        await self._remove("remove the allowed address", path, (("id", id_),))

    async def destinations(self, sid: str) -> tuple[Destination, ...]:
        path = self._at(sid, "destination-uris")
        return await self._all("list the destinations", path, Destination.read)

    async def add_destination(self, sid: str, uri: str) -> Destination:
        """``uri`` is ``host:port;transport=tcp`` or ``tls``. An address must be allowed first."""
        request = self._request(
            "add the destination",
            "POST",
            self._at(sid, "destination-uris"),
            {"destinations": [{"destination": uri}]},
        )
        added = await self._requester.call(request, envelope.batch)
        if not added or not envelope.whole_number(added[0].get("id")):
            raise UnreadableAnswer("add the destination", "the answer names no id")
        return Destination.read(added[0])

    async def change_destination(self, sid: str, id_: str, *, priority: int, weight: int) -> None:
        body = {"priority": priority, "weight": weight}
        path = self._at(sid, "destination-uris", id_)
        await self._one("change the destination", "PUT", path, body)

    async def remove_destination(self, sid: str, id_: str) -> None:
        path = self._at(sid, "destination-uris")
        await self._remove("remove the destination", path, (("id", id_),))

    async def credentials(self, sid: str) -> tuple[Credential, ...]:
        path = self._at(sid, "credentials")
        return await self._all("list the credentials", path, Credential.read)

    async def add_credential(
        self, sid: str, user_name: str, password: str, friendly_name: str | None = None
    ) -> Credential:
        """Password and friendly name have letters, digits and ``_`` only."""
        body = {"user_name": user_name, "password": password}
        if friendly_name:
            body["friendly_name"] = friendly_name
        path = self._at(sid, "credentials")
        data = await self._one("add the credentials", "POST", path, body, (password,))
        return Credential.read(data)

    async def change_credential(
        self, sid: str, id_: str, *, password: str | None = None, friendly_name: str | None = None
    ) -> None:
        given = {"password": password, "friendly_name": friendly_name}
        body = {key: value for key, value in given.items() if value is not None}
        path = self._at(sid, "credentials", id_)
        secrets = (password,) if password else ()
        await self._one("change the credentials", "PUT", path, body, secrets)

    async def remove_credential(self, sid: str, id_: str) -> None:
        """The id stands in the query, not in the path, unlike a change."""
        await self._remove("remove the credentials", self._at(sid, "credentials"), (("id", id_),))

    async def settings(self, sid: str) -> tuple[Setting, ...]:
        return await self._all("list the settings", self._at(sid, "settings"), Setting.read)

    async def set_setting(self, sid: str, name: str, value: str) -> None:
        body = {"settings": [{"name": name, "value": value}]}
        request = self._request("set the setting", "POST", self._at(sid, "settings"), body)
        await self._requester.call(request, envelope.batch)

    async def remove_setting(self, sid: str, name: str) -> None:
        await self._remove("remove the setting", self._at(sid, "settings"), (("name", name),))

    def _at(self, sid: str, *parts: str) -> str:
        return "/trunks/" + "/".join(quote(part, safe="") for part in (sid, *parts))

    def _request(
        self,
        operation: str,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        secrets: tuple[str, ...] = (),
        query: Pairs = (),
    ) -> Request:
        secrets = (*secrets, *self._requester.account.secrets)
        return Request(operation, method, self._base + path, query, json=body, secrets=secrets)

    async def _one(
        self,
        operation: str,
        method: str,
        path: str,
        body: Mapping[str, Any],
        secrets: tuple[str, ...] = (),
    ) -> Data:
        request = self._request(operation, method, path, body, secrets)
        return await self._requester.call(request, envelope.one)

    async def _remove(self, operation: str, path: str, query: Pairs) -> None:
        request = self._request(operation, "DELETE", path, query=query)
        try:
            await self._requester.call(request, envelope.one)
        except NotFound as error:
            if error.attempt == 1:
                raise

    async def _all(
        self, operation: str, path: str, read: Callable[[Data], V], query: Pairs = ()
    ) -> tuple[V, ...]:
        found: list[V] = []
        offset = 0
        for _ in range(MAX_PAGES):
            paging = (("page_size", str(PAGE_SIZE)), ("offset", str(offset)))
            request = self._request(operation, "GET", path, query=(*query, *paging))
            page = await self._requester.call(request, envelope.page)
            found += [read(item) for item in page.items]
            if page.next_offset is None or page.next_offset <= offset or not page.items:
                return tuple(found)
            offset = page.next_offset
        raise UnreadableAnswer(operation, f"the list has more than {MAX_PAGES} pages")
