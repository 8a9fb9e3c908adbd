"""Small questions: how many streams run, which numbers the account has."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from sipbot.exotel.rest import v1
from sipbot.exotel.rest.envelope import whole_number
from sipbot.exotel.rest.errors import NotFound, UnreadableAnswer
from sipbot.exotel.rest.requester import Answer, Request, Requester
from sipbot.exotel.rest.values import ActiveStreams, ExoPhone

MAX_PAGES: Final = 100


class Lookups:
    """Questions about one account."""

    def __init__(self, requester: Requester) -> None:
        self._requester = requester
        self._api = requester.account.api
        self._sid = quote(requester.account.account_sid, safe="")

    async def streams(self) -> ActiveStreams:
        """The AgentStream sessions of this moment. The path is case-sensitive."""
        url = f"{self._api}/v1/Accounts/{self._sid}/ActiveStreams"
        return await self._requester.call(self._get("count the streams", url), _streams)

    async def exophones(self) -> tuple[ExoPhone, ...]:
        """The numbers of the account, from v2_beta or, where that is unknown, from v1."""
        what = "list the ExoPhones"
        beta = f"{self._api}/v2_beta/Accounts/{self._sid}/IncomingPhoneNumbers"
        old = f"{self._api}/v1/Accounts/{self._sid}/IncomingPhoneNumbers.json"
        try:
            return await self._exophones(what, beta)
        except NotFound:
            return await self._exophones(what, old)

    async def _exophones(self, what: str, url: str) -> tuple[ExoPhone, ...]:
        found: list[ExoPhone] = []
        for page in range(MAX_PAGES):
            query = (("page", str(page)),) if page else ()
            part, size = await self._requester.call(self._get(what, url, query), _exophones)
            known = {one.sid for one in found}
            fresh = [one for one in part if one.sid not in known]
            found += fresh
            if not fresh or not size or len(part) < size:
                return tuple(found)
        raise UnreadableAnswer(what, f"the list has more than {MAX_PAGES} pages")

    def _get(self, operation: str, url: str, query: tuple[tuple[str, str], ...] = ()) -> Request:
        return Request(operation, "GET", url, query, secrets=self._requester.account.secrets)


def _streams(request: Request, answer: Answer) -> ActiveStreams:
    """Two forms are documented: flat JSON, and XML with a ``Stream`` element."""
    content = v1.tree(request, answer)
    inner = content.get("Stream")
    data = inner if isinstance(inner, dict) else content
    active = whole_number(data.get("active_streams", data.get("ActiveStreamCount")))
    allowed = whole_number(data.get("max_allowed_streams", data.get("ThrottleLimit")))
    if active is None:
        raise UnreadableAnswer(request.operation, "the answer holds no number of streams")
    return ActiveStreams(active, allowed)


def _exophones(request: Request, answer: Answer) -> tuple[tuple[ExoPhone, ...], int | None]:
    """The numbers of a page, and how many a full page has."""
    content = v1.tree(request, answer)
    listed = content.get("incoming_phone_numbers", content.get("IncomingPhoneNumbers"))
    if listed is None and "IncomingPhoneNumber" in content:
        listed = content["IncomingPhoneNumber"]
    found = tuple(ExoPhone.read(one) for one in v1.records(listed))
    return found, whole_number(content.get("page_size", content.get("PageSize")))
