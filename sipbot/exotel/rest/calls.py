"""Calls (v1): start them, look them up.

A call is started by POST, which is repeated only when it certainly did not arrive.
``OutcomeUnknown`` means that a telephone may be ringing: look into the list before trying again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias
from urllib.parse import parse_qs, quote, urlsplit

from sipbot.exotel.rest import v1
from sipbot.exotel.rest.errors import UnreadableAnswer
from sipbot.exotel.rest.requester import Answer, Pairs, Request, Requester
from sipbot.exotel.rest.values import CallPage, CallRecord

MAX_TIME_LIMIT_S: Final = 14_400
MAX_CUSTOM_FIELD: Final = 128  # characters
MAX_STREAM_URL: Final = 599  # characters
MAX_STREAM_NAME: Final = 32  # characters
MAX_PAGE: Final = 100  # calls
FLOW_HOST: Final = "my.exotel.com"  # of the URLs of flows; others are refused

Format: TypeAlias = Literal["json", "xml"]


@dataclass(frozen=True, slots=True)
class CallOptions:
    """What all ways to start a call have in common. Raises ``ValueError``.

    ``ring_s`` is how long the telephone rings, ``time_limit_s`` how long the call may last;
    ``status_events`` are ``terminal`` and ``answered``; ``recording_channels`` ``single`` or
    ``dual``.
    """

    ring_s: int | None = None
    time_limit_s: int | None = None
    record: bool = False
    recording_channels: str = ""
    custom_field: str = ""
    status_callback: str = ""
    status_events: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.time_limit_s is not None and not 0 < self.time_limit_s <= MAX_TIME_LIMIT_S:
            raise ValueError(f"the time limit must be between 1 and {MAX_TIME_LIMIT_S} seconds")
        if self.ring_s is not None and self.ring_s <= 0:
            raise ValueError("the ringing time must be positive")
        if len(self.custom_field) > MAX_CUSTOM_FIELD:
            raise ValueError(f"the custom field has at most {MAX_CUSTOM_FIELD} characters")

    def form(self) -> Pairs:
        given = {
            "TimeOut": str(self.ring_s) if self.ring_s else "",
            "TimeLimit": str(self.time_limit_s) if self.time_limit_s else "",
            "Record": "true" if self.record else "",
            "RecordingChannels": self.recording_channels,
            "CustomField": self.custom_field,
            "StatusCallback": self.status_callback,
        }
        events = enumerate(self.status_events)
        return (
            *((name, value) for name, value in given.items() if value),
            *((f"StatusCallbackEvents[{index}]", event) for index, event in events),
        )


PLAIN: Final = CallOptions()


class Calls:
    """Calls of one account. ``format`` is what Exotel is asked to answer in; either is read."""

    def __init__(self, requester: Requester, answers: Format = "json") -> None:
        self._requester = requester
        account = requester.account
        self._base = f"{account.api}/v1/Accounts/{quote(account.account_sid, safe='')}/Calls"
        self._suffix = ".json" if answers == "json" else ""

    async def connect(
        self,
        first: str,
        second: str,
        caller_id: str,
        options: CallOptions = PLAIN,
    ) -> CallRecord:
        """Ring ``first``, then ``second``; both see ``caller_id``, an ExoPhone."""
        form = (("From", first), ("To", second), ("CallerId", caller_id))
        return await self._start("connect the two numbers", (*form, *options.form()))

    async def flow(
        self,
        number: str,
        caller_id: str,
        app_id: str,
        options: CallOptions = PLAIN,
    ) -> CallRecord:
        """Ring ``number`` and take it through the flow (app) ``app_id`` of the account."""
        sid = quote(self._requester.account.account_sid, safe="")
        url = f"http://{FLOW_HOST}/{sid}/exoml/start_voice/{quote(app_id, safe='')}"
        form = (("From", number), ("CallerId", caller_id), ("Url", url))
        return await self._start("connect the number to the flow", (*form, *options.form()))

    async def voice_ai(
        self,
        number: str,
        caller_id: str,
        stream_url: str,
        *,
        stream_name: str = "",
        options: CallOptions = PLAIN,
    ) -> CallRecord:
        """Ring ``number`` and stream both ways to ``stream_url``. Raises ``ValueError``."""
        if urlsplit(stream_url).scheme not in ("ws", "wss") or len(stream_url) > MAX_STREAM_URL:
            raise ValueError(
                f"the stream URL is ws:// or wss://, up to {MAX_STREAM_URL} characters"
            )
        if len(stream_name) > MAX_STREAM_NAME:
            raise ValueError(f"the stream's name has at most {MAX_STREAM_NAME} characters")
        form = (
            ("From", number),
            ("CallerId", caller_id),
            ("StreamUrl", stream_url),
            ("StreamType", "bidirectional"),
            *((("StreamName", stream_name),) if stream_name else ()),
        )
        return await self._start("connect the number to the voicebot", (*form, *options.form()))

    async def get(self, sid: str) -> CallRecord:
        """One call with its legs."""
        url = f"{self._base}/{quote(sid, safe='')}{self._suffix}"
        request = self._request("look up the call", "GET", url, query=(("details", "true"),))
        return await self._requester.call(request, _call)

    async def list(
        self,
        *,
        since: str = "",
        until: str = "",
        after: str | None = None,
        page_size: int = 50,
        filters: Mapping[str, str] | None = None,
    ) -> CallPage:
        """A page of the calls that ended, the newest first.

        ``since`` and ``until`` are ``YYYY-MM-DD HH:MM:SS``, at most a month apart and six months
        back; ``filters`` are Exotel's own (``Status``, ``From``, ``To``, ``Sid``, ``Duration``).
        """
        limits = [("gte", since), ("lte", until)]
        dates = ";".join(f"{operator}:{value}" for operator, value in limits if value)
        query = {"PageSize": str(min(page_size, MAX_PAGE)), "DateCreated": dates}
        query.update(filters or {})
        query["After"] = after or ""
        pairs = tuple((name, value) for name, value in query.items() if value)
        request = self._request("list the calls", "GET", self._base + self._suffix, query=pairs)
        return await self._requester.call(request, _calls)

    async def _start(self, operation: str, form: Pairs) -> CallRecord:
        url = f"{self._base}/connect{self._suffix}"
        return await self._requester.call(self._request(operation, "POST", url, form=form), _call)

    def _request(
        self, operation: str, method: str, url: str, *, query: Pairs = (), form: Pairs = ()
    ) -> Request:
        secrets = self._requester.account.secrets
        return Request(operation, method, url, query, form=form, secrets=secrets)


def _call(request: Request, answer: Answer) -> CallRecord:
    data = v1.tree(request, answer).get("Call")
    if not isinstance(data, dict):
        raise UnreadableAnswer(request.operation, "the answer holds no call")
    call = CallRecord.read(data)
    if not call.sid:
        raise UnreadableAnswer(request.operation, "the call of the answer has no Sid")
    return call


def _calls(request: Request, answer: Answer) -> CallPage:
    content = v1.tree(request, answer)
    found = content.get("Calls", content.get("Call"))
    metadata = content.get("Metadata")
    uri = metadata.get("NextPageUri") if isinstance(metadata, dict) else None
    calls = tuple(CallRecord.read(one) for one in v1.records(found))
    return CallPage(calls, _cursor(uri))


def _cursor(uri: object) -> str | None:
    """The cursor in the address of the next page. The address itself is not followed."""
    if not isinstance(uri, str):
        return None
    try:
        return parse_qs(urlsplit(uri).query).get("After", [None])[0]
    except ValueError:
        return None
