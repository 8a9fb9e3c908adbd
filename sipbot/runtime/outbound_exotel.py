"""Calls that Exotel makes for us by its API: started here, looked after until they come in."""

from __future__ import annotations

from collections.abc import Mapping

from sipbot.exotel.rest.account import REGION_NAMES, Account
from sipbot.exotel.rest.calls import CallOptions
from sipbot.exotel.rest.client import ExotelClient
from sipbot.exotel.rest.values import CallRecord
from sipbot.ops.config import Config
from sipbot.ops.config_outbound import OutboundApiConfig, OutboundConfig
from sipbot.outbound.job import Job
from sipbot.outbound.numbers import dialled
from sipbot.runtime.outbound_api import MakesCalls, stream_url


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
