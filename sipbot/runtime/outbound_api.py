"""Calls that Exotel makes for us by its API: started here, looked after until they come in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol
from urllib.parse import quote, urlsplit, urlunsplit

from sipbot.exotel.rest.account import REGION_NAMES, Account
from sipbot.exotel.rest.calls import CallOptions
from sipbot.exotel.rest.client import ExotelClient
from sipbot.exotel.rest.errors import (
    AuthenticationFailed,
    ExotelError,
    NotAllowed,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    ServerFault,
    UnreadableAnswer,
)
from sipbot.exotel.rest.values import CallRecord
from sipbot.ops.config import Config
from sipbot.ops.config_outbound import OutboundApiConfig, OutboundConfig
from sipbot.outbound.job import Job
from sipbot.outbound.numbers import dialled
from sipbot.outbound.outcome import Outcome

JOB_PATH: Final = "job"  # in the path of a stream's URL, before the id of the job


class MakesCalls(Protocol):
    """A trunk's own way to make calls for us."""

    @property
    def match_s(self) -> float:
        """Seconds after the start in which an answered call comes in to us."""
        ...

    async def start(self, job: Job) -> str:
        """Have the number rung; returns the trunk's id of the call. Raises ExotelError."""
        ...

    async def look(self, call_sid: str) -> CallRecord:
        """How that call stands. Raises ExotelError."""
        ...

    async def close(self) -> None: ...


class ExotelCaller:
    """Implements ``MakesCalls`` for one trunk of an account."""

    def __init__(
        self, client: ExotelClient, outbound: OutboundConfig, api: OutboundApiConfig
    ) -> None:
        self._client, self._outbound, self._api = client, outbound, api

    @property
    def match_s(self) -> float:
        return self._api.match_s

    async def start(self, job: Job) -> str:
        api, form = self._api, self._outbound.number_format
        number = dialled(job.number, form)
        caller_id = dialled(job.caller_id or self._outbound.caller_id, form)
        options = CallOptions(
            ring_s=round(job.ring_s),
            time_limit_s=api.time_limit_s,
            record=api.record,
            custom_field=job.id,
        )
        calls = self._client.calls
        if api.app_id is not None:
            call = await calls.flow(number, caller_id, api.app_id, options)
        else:
            url = stream_url(api.stream_url or "", job)
            call = await calls.voice_ai(number, caller_id, url, options=options)
        return call.sid

    async def look(self, call_sid: str) -> CallRecord:
        return await self._client.calls.get(call_sid)

    async def close(self) -> None:
        await self._client.close()


def stream_url(base: str, job: Job) -> str:
    """Where Exotel connects the answered call of ``job``: its agent and its id in the path."""
    parts = urlsplit(base)
    path = f"{parts.path.rstrip('/')}/{quote(job.agent, safe='')}/{JOB_PATH}/{job.id}"
    return urlunsplit(parts._replace(path=path))


def job_of_path(path: str) -> str:
    """The id in what ``stream_url`` made, given the path behind the agent; empty when none is."""
    name, _, rest = path.strip("/").partition("/")
    return rest.partition("/")[0] if name == JOB_PATH else ""


def failed(error: ExotelError) -> Outcome:
    """What it means for an attempt that the call could not be started."""
    match error:
        case OutcomeUnknown() | UnreadableAnswer():
            return Outcome.UNKNOWN  # a telephone may be ringing
        case RateLimited():
            return Outcome.HELD_BACK
        case AuthenticationFailed() | NotAllowed():
            return Outcome.REFUSED
        case NotSent() | ServerFault():
            return Outcome.FAILED
        case _:
            return Outcome.REFUSED


def exotel_callers(config: Config) -> Mapping[str, MakesCalls]:
    """The callers of the trunks that have an API, by trunk. Close them at the end."""
    return {
        name: _caller(trunk.outbound, trunk.outbound.api)
        for name, trunk in config.trunks.items()
        if trunk.outbound is not None and trunk.outbound.api is not None
    }


def _caller(outbound: OutboundConfig, api: OutboundApiConfig) -> ExotelCaller:
    account = Account(
        api.account_sid,
        api.api_key.get_secret_value(),
        api.api_token.get_secret_value(),
        REGION_NAMES[api.region],
        api.base_url,
    )
    return ExotelCaller(ExotelClient(account), outbound, api)
