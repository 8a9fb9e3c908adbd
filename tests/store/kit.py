"""Records and intents with values of no meaning."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from sipbot.call.leg import EndReason
from sipbot.call.record import CallRecord
from sipbot.store.engine import Store
from sipbot.store.intents import Intent
from sipbot.store.records import Records

BEGAN: Final = 1_750_000_000.0  # seconds since 1970 UTC

RECORD: Final = CallRecord(
    call_id="call-1",
    protocol_id="1@pstn.example",
    direction="inbound",
    transport="sip/tcp",
    trunk="exotel",
    peer="203.0.113.7:5070",
    caller="+919812345610",
    callee="+918012345678",
    agent="reception",
    rule="routes[0]",
    codec="PCMA",
    invited_at=BEGAN,
    rung_at=BEGAN + 0.1,
    answered_at=BEGAN + 0.3,
    ended_at=BEGAN + 60,
    reason=EndReason.TRANSFERRED,
    trunk_call_id="sid-1",
    keys=2,
    stats={"rtp_received": 3_000, "jitter_ms": 1.25, "latched": False, "round_trip_ms": None},
)
INTENT: Final = Intent(
    trunk_call_id="sid-1",
    call_id="call-1",
    protocol_id="stream-1",
    target="front-desk",
    destination={"numbers": ["+918012345678"]},
    created_at=BEGAN,
    expires_at=BEGAN + 120,
)


def record(number: int, **changes: Any) -> CallRecord:
    """The record of another call, a second later each."""
    return replace(RECORD, call_id=f"call-{number}", invited_at=BEGAN + number, **changes)


async def add(store: Store, *records: CallRecord) -> Records:
    """Write records in one transaction."""
    repository = Records(store)
    async with store.writing() as connection:
        await repository.add(connection, records)
    return repository
