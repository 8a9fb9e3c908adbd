"""Transfers by the strategy of the trunk: an intent for Exotel's flow, or the leg's own way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from sipbot.agent.runner import AgentRunner
from sipbot.call.call import Call
from sipbot.call.events import TransferRefused
from sipbot.call.leg import EndReason, LegInfo, TransferResult
from sipbot.exotel.applets import Destination, MusicOnHold, Playback, from_json
from sipbot.ops.config import Config
from sipbot.ops.counters import Counters
from sipbot.ops.logs import get_logger
from sipbot.runtime.transfers import TrunkTransfers, destination
from sipbot.store.intents import Intent, Intents
from sipbot.store.storage import Storage
from sipbot.testing import FakeLeg
from sipbot.testing.clock import ManualClock

TRANSFERS: dict[str, Any] = {
    "front-desk": {"numbers": ["+918012345678"], "uri": "sip:desk@pbx.example"},
    "trunk-only": {"trunk": "trmum1a"},
    "uri-only": {"uri": "sip:100@pbx.example"},
    "200": {"numbers": ["300"]},
}
ALLOW = ["192.0.2.1"]
CONFIG = Config.model_validate(
    {
        "trunks": {
            "exotel": {"profile": "exotel", "allow": ALLOW},
            "pbx": {"allow": ALLOW},
            "flowing": {"allow": ALLOW, "transfer": "flow"},
            "referring": {"profile": "exotel", "allow": ALLOW, "transfer": "refer"},
        },
        "transfers": TRANSFERS,
        "exotel": {"intent_ttl_s": 60},
    }
)
INFO = LegInfo(
    transport="sip/tcp",
    direction="inbound",
    caller="+919812345610",
    callee="+918012345670",
    trunk="exotel",
    peer="192.0.2.1:5070",
    protocol_id="1@pstn.example",
    headers={"x-exotel-callsid": "sid-1"},
)


@dataclass(slots=True)
class Bench:
    transfers: TrunkTransfers
    storage: Storage
    clock: ManualClock
    counters: Counters

    async def intent(self) -> Intent | None:
        return await Intents(await self.storage.get(10)).get("sid-1", self.clock.wall())

    async def try_it(self, info: LegInfo, target: str) -> tuple[TransferResult, list[str]]:
        leg = FakeLeg(info)
        return await self.transfers.transfer(leg, target, "call-1"), leg.steps


@pytest.fixture
async def bench(sqlite_url: str) -> AsyncIterator[Bench]:
    clock, counters, log = ManualClock(), Counters(), get_logger("test")
    async with Storage(sqlite_url, log) as storage:
        await storage.get(10)
        transfers = TrunkTransfers(CONFIG, storage, clock, counters, log)
        yield Bench(transfers, storage, clock, counters)


@pytest.mark.parametrize(
    ("info", "by_flow"),
    [
        (INFO, True),
        (replace(INFO, trunk="flowing"), True),
        (replace(INFO, trunk="pbx"), False),
        (replace(INFO, trunk="referring"), False),
        (replace(INFO, trunk=""), False),
        (replace(INFO, trunk="", transport="voicebot"), True),
        (replace(INFO, trunk="pbx", transport="voicebot"), True),
    ],
)
async def test_the_trunk_decides(bench: Bench, info: LegInfo, by_flow: bool) -> None:
    result, steps = await bench.try_it(info, "front-desk")
    assert result.accepted
    assert steps == ([] if by_flow else ["transfer sip:desk@pbx.example"])
    assert (await bench.intent() is not None) is by_flow
    strategy = "flow" if by_flow else "refer"
    assert bench.counters.value("transfers", strategy=strategy, accepted="true") == 1


async def test_the_intent_says_all_that_another_node_needs(bench: Bench) -> None:
    await bench.try_it(INFO, "front-desk")
    intent, now = await bench.intent(), bench.clock.wall()
    assert intent is not None
    assert from_json(intent.destination) == Destination(numbers=("+918012345678",))
    assert intent == Intent(
        trunk_call_id="sid-1",
        call_id="call-1",
        protocol_id="1@pstn.example",
        target="front-desk",
        destination=intent.destination,
        created_at=now,
        expires_at=now + 60,
    )


@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        ("trunk-only", Destination(trunk="trmum1a")),
        ("uri-only", Destination(numbers=("sip:100@pbx.example",))),
        ("08012345679", Destination(numbers=("+918012345679",))),
        ("sip:desk@pbx.example", Destination(numbers=("sip:desk@pbx.example",))),
        ("200", Destination(numbers=("300",))),
    ],
)
async def test_destinations_for_the_flow(bench: Bench, target: str, wanted: Destination) -> None:
    await bench.try_it(INFO, target)
    intent = await bench.intent()
    assert intent is not None
    assert from_json(intent.destination) == wanted


@pytest.mark.parametrize(
    ("target", "uri"),
    [
        ("uri-only", "sip:100@pbx.example"),
        ("sips:desk@pbx.example", "sips:desk@pbx.example"),
        ("+918012345679", "sip:+918012345679@192.0.2.1"),
        ("100", "sip:100@192.0.2.1"),
        ("200", "sip:300@192.0.2.1"),
        ("trunk-only", None),
        ("nowhere", None),
        ("", None),
    ],
)
async def test_destinations_for_refer(bench: Bench, target: str, uri: str | None) -> None:
    result, steps = await bench.try_it(replace(INFO, trunk="pbx"), target)
    assert steps == ([] if uri is None else [f"transfer {uri}"])
    assert result == TransferResult(uri is not None, "" if uri else "unknown-destination")


@pytest.mark.parametrize(
    ("info", "target", "detail"),
    [
        (replace(INFO, headers={}), "front-desk", "no-callsid"),
        (replace(INFO, headers={"x-exotel-callsid": "x" * 129}), "front-desk", "no-callsid"),
        (INFO, "nowhere", "unknown-destination"),
        (INFO, "100", "unknown-destination"),
        (replace(INFO, transport="stream"), "front-desk", "listens-only"),
    ],
)
async def test_refusals_by_name(bench: Bench, info: LegInfo, target: str, detail: str) -> None:
    assert (await bench.try_it(info, target))[0] == TransferResult(False, detail)
    assert await bench.intent() is None
    assert bench.counters.value("transfers", accepted="false") == 1


async def test_a_store_that_is_down_leaves_the_call_as_it_was() -> None:
    clock, log = ManualClock(), get_logger("test")
    async with Storage("postgresql://sipbot@/nothing?host=/nowhere", log) as storage:
        transfers = TrunkTransfers(CONFIG, storage, clock, Counters(), log)
        leg = FakeLeg(INFO, autorun=False)
        call = Call(leg, call_id="call-1", transfers=transfers)
        await call.answer()
        with pytest.raises(TransferRefused, match="store-unavailable"):
            await call.transfer("front-desk")
        assert call.end_reason is None


async def test_an_agent_transfers_and_its_leg_ends(bench: Bench) -> None:
    class Agent:
        async def run(self, call: Call) -> None:
            await call.transfer("front-desk")

    leg = FakeLeg(INFO)
    call = Call(leg, call_id="call-1", transfers=bench.transfers, clock=bench.clock)
    async with asyncio.timeout(10):
        record = await AgentRunner().run(call, Agent())
    assert (record.reason, record.trunk_call_id) == (EndReason.TRANSFERRED, "sid-1")
    assert leg.steps[-1] == "hangup transferred"
    assert await bench.intent() is not None


def test_everything_that_a_destination_may_say() -> None:
    config = Config.model_validate(
        {
            "transfers": {
                "all": {
                    "numbers": ["100", "101"],
                    "trunk": "trmum1a",
                    "contacts": [{"contact_uri": "asha", "device_contact_uri": "sip:d"}],
                    "sticky_agent": False,
                    "caller_id": "08012345670",
                    "custom_params": {"a": "b"},
                    "record": True,
                    "recording_channels": "dual",
                    "max_ringing_s": 30,
                    "max_conversation_s": 600,
                    "parallel_ringing": 2,
                    "music_on_hold": "https://m.example/x.wav",
                    "playback": {"url": "https://m.example/y.wav"},
                    "events_url": "https://e.example/",
                },
                "some": {
                    "numbers": ["100"],
                    "one_by_one": True,
                    "music_on_hold": "default_tone",
                    "playback": {"to": "both", "text": "Hello"},
                },
            }
        }
    )
    everything = destination(config.transfers["all"])
    unset = {"one_by_one": False}
    for name in Destination.__dataclass_fields__:
        assert getattr(everything, name) or name in unset or name == "sticky_agent", name
    assert everything.sticky_agent is False
    assert everything.playback == Playback("callee", "audio_url", "https://m.example/y.wav")
    assert everything.music_on_hold == MusicOnHold("custom", "https://m.example/x.wav")
    some = destination(config.transfers["some"])
    assert some.playback == Playback("both", "text", "Hello")
    assert some.music_on_hold == MusicOnHold("default_tone")
    assert some.one_by_one
