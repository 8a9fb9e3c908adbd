"""How callers are sent on: through the trunk's own flow, or by the leg itself."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Final

from sipbot.call.leg import Leg, LegInfo, TransferResult
from sipbot.call.numbers import e164
from sipbot.clock import Clock
from sipbot.errors import StoreError
from sipbot.exotel.applets import Contact, Destination, MusicOnHold, Playback, to_json
from sipbot.ops.config import Config
from sipbot.ops.config_exotel import TransferConfig
from sipbot.ops.counters import Counters
from sipbot.ops.logs import Logger
from sipbot.store.intents import MAX_ID, Intent, Intents
from sipbot.store.storage import Storage

STORE_S: Final = 2.0  # seconds that the store may take to keep an intent; the caller waits

NO_CALL_SID: Final = "no-callsid"
UNKNOWN_DESTINATION: Final = "unknown-destination"
STORE_UNAVAILABLE: Final = "store-unavailable"
LISTENS_ONLY: Final = "listens-only"

FLOW: Final = "flow"
REFER: Final = "refer"
_STREAMS: Final = frozenset({"voicebot", "stream"})  # transports of AgentStream
_URI: Final = re.compile(r"sips?:[^\s]+", re.IGNORECASE)
_EXTENSION: Final = re.compile(r"\+?[0-9*#]{2,15}")


class TrunkTransfers:
    """Implements ``Transfers``: by the trunk that a call came by."""

    def __init__(
        self, config: Config, storage: Storage, clock: Clock, counters: Counters, log: Logger
    ) -> None:
        self._storage, self._clock, self._counters, self._log = storage, clock, counters, log
        self._ttl_s = config.exotel.intent_ttl_s
        self._named: Mapping[str, TransferConfig] = config.transfers
        self._strategies = {
            name: (FLOW if trunk.profile == "exotel" else REFER)
            if trunk.transfer == "auto"
            else trunk.transfer
            for name, trunk in config.trunks.items()
        }

    async def transfer(self, leg: Leg, target: str, call_id: str) -> TransferResult:
        strategy = self._strategy(leg.info)
        if strategy == FLOW:
            result = await self._by_flow(leg.info, target, call_id)
        else:
            result = await self._by_leg(leg, target)
        self._counters.count("transfers", strategy=strategy, accepted=str(result.accepted).lower())
        self._log.info(
            "transfer",
            call_id=call_id,
            strategy=strategy,
            accepted=result.accepted,
            detail=result.detail,
        )
        return result

    def _strategy(self, info: LegInfo) -> str:
        return FLOW if info.transport in _STREAMS else self._strategies.get(info.trunk, REFER)

    async def _by_flow(self, info: LegInfo, target: str, call_id: str) -> TransferResult:
        """Keep the intent; the end of the leg lets Exotel's flow go on and ask for it."""
        destination = self._destination(target)
        if info.transport == "stream":
            return TransferResult(False, LISTENS_ONLY)
        if not info.trunk_call_id or len(info.trunk_call_id) > MAX_ID:
            return TransferResult(False, NO_CALL_SID)
        if destination is None:
            return TransferResult(False, UNKNOWN_DESTINATION)
        now = self._clock.wall()
        intent = Intent(
            trunk_call_id=info.trunk_call_id,
            call_id=call_id,
            protocol_id=info.protocol_id,
            target=target,
            destination=to_json(destination),
            created_at=now,
            expires_at=now + self._ttl_s,
        )
        try:
            async with asyncio.timeout(STORE_S):
                await Intents(await self._storage.get(STORE_S)).put(intent)
        except (StoreError, TimeoutError) as error:
            self._log.error("intent not kept", call_id=call_id, error=str(error))
            return TransferResult(False, STORE_UNAVAILABLE)
        return TransferResult(True, "intent-kept")

    def _destination(self, target: str) -> Destination | None:
        named = self._named.get(target)
        if named is not None:
            return destination(named)
        number = e164(target)
        if number is not None or _URI.fullmatch(target):
            return Destination(numbers=(number or target,))
        return None

    async def _by_leg(self, leg: Leg, target: str) -> TransferResult:
        uri = self._uri(leg.info, target)
        if uri is None:
            return TransferResult(False, UNKNOWN_DESTINATION)
        return await leg.transfer(uri)

    def _uri(self, info: LegInfo, target: str) -> str | None:
        """Where a REFER is to point; a number is one of the peer that the call came from."""
        named = self._named.get(target)
        if named is not None:
            target = named.uri or next(iter(named.numbers), "")
        if _URI.fullmatch(target):
            return target
        if _EXTENSION.fullmatch(target) and info.peer:
            return f"sip:{target}@{info.peer.rpartition(':')[0]}"
        return None


def destination(config: TransferConfig) -> Destination:
    """A configured destination, for Exotel's Connect applet."""
    numbers = config.numbers
    if not (numbers or config.trunk or config.contacts) and config.uri is not None:
        numbers = (config.uri,)
    return Destination(
        numbers=numbers,
        trunk=config.trunk or "",
        contacts=tuple(
            Contact(one.contact_uri, one.device_contact_uri or "") for one in config.contacts
        ),
        one_by_one=config.one_by_one,
        caller_id=config.caller_id or "",
        custom_params=config.custom_params or None,
        record=config.record,
        recording_channels=config.recording_channels or "",
        max_ringing_s=config.max_ringing_s,
        max_conversation_s=config.max_conversation_s,
        music_on_hold=_music(config.music_on_hold),
        playback=_playback(config),
        parallel_attempts=config.parallel_ringing or 0,
        events_url=config.events_url or "",
        sticky_agent=config.sticky_agent,
    )


def _music(tone: str | None) -> MusicOnHold | None:
    if tone is None:
        return None
    return MusicOnHold("custom", tone) if "://" in tone else MusicOnHold(tone)


def _playback(config: TransferConfig) -> Playback | None:
    playback = config.playback
    if playback is None:
        return None
    if playback.text is not None:
        return Playback(playback.to, "text", playback.text)
    return Playback(playback.to, "audio_url", playback.url or "")
