"""The tables. Times are seconds since 1970 UTC.

``versions/`` makes them; ``tests/store/test_schema.py`` holds both together.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    text,
)

METADATA: Final = MetaData()

# One row a finished call: ``CallRecord``.
CALLS: Final = Table(
    "calls",
    METADATA,
    Column("call_id", String(64), primary_key=True),
    Column("trunk_call_id", String(128), nullable=False),  # of Exotel: CallSid; else empty
    Column("protocol_id", Text, nullable=False),
    Column("direction", String(16), nullable=False),
    Column("transport", String(32), nullable=False),
    Column("trunk", String(64), nullable=False),
    Column("peer", Text, nullable=False),
    Column("caller", Text, nullable=False),
    Column("callee", Text, nullable=False),
    Column("agent", String(64), nullable=False),
    Column("rule", String(128), nullable=False),
    Column("codec", String(32), nullable=False),
    Column("invited_at", Double, nullable=False),
    Column("rung_at", Double),
    Column("answered_at", Double),
    Column("ended_at", Double, nullable=False),
    Column("reason", String(32), nullable=False),
    Column("detail", Text, nullable=False),
    Column("failure", Text, nullable=False),
    Column("keys", Integer, nullable=False),
    Column("dropped_events", Integer, nullable=False),
    Column("stats", JSON, nullable=False),
    Index("ix_calls_invited_at", "invited_at"),
    Index("ix_calls_trunk_call_id", "trunk_call_id"),
)

# Where a call is to go when its trunk asks: one row a CallSid, the newest intent only.
INTENTS: Final = Table(
    "transfer_intents",
    METADATA,
    Column("trunk_call_id", String(128), primary_key=True),
    Column("call_id", String(64), nullable=False),
    Column("protocol_id", Text, nullable=False),  # stream id of the leg that it ended
    Column("target", Text, nullable=False),  # as the agent named it
    Column("destination", JSON, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("attempt", Integer, nullable=False),  # which answer was given last; -1: none yet
    Column("attempt_at", Double, nullable=False),
    Column("done", Boolean, nullable=False),
    Index("ix_transfer_intents_expires_at", "expires_at"),
)

# What a trunk's callbacks said of a call; ``occasion`` tells one event of a call from another.
EVENTS: Final = Table(
    "trunk_events",
    METADATA,
    Column("trunk_call_id", String(128), primary_key=True),
    Column("occasion", String(200), primary_key=True),
    Column("kind", String(32), nullable=False),  # "passthru", "status"
    Column("stage", String(32), nullable=False),
    Column("first_at", Double, nullable=False),
    Column("last_at", Double, nullable=False),
    Column("facts", JSON, nullable=False),
    Index("ix_trunk_events_first_at", "first_at"),
)

# A list of numbers with its ``Plan``; ``columns`` are the names of its parameters, in order.
CAMPAIGNS: Final = Table(
    "campaigns",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("plan", JSON, nullable=False),
    Column("columns", JSON, nullable=False),
    Column("running", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
)

# One row a number to be called: ``Job``.
JOBS: Final = Table(
    "jobs",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("number", String(64), nullable=False),
    Column("agent", String(64), nullable=False),
    Column("trunk", String(64), nullable=False),
    Column("via", String(8), nullable=False),
    Column("parameters", JSON, nullable=False),
    Column("campaign", String(64)),
    Column("line", Integer, nullable=False),
    Column("caller_id", String(64), nullable=False),
    Column("ring_s", Double, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("created_at", Double, nullable=False),
    Column("outcome", String(16)),
    Column("status", Integer, nullable=False),
    Column("detail", Text, nullable=False),
    Column("call_id", String(64), nullable=False),
    Column("call_sid", String(128), nullable=False),
    Column("owner", String(64), nullable=False),
    Column("lease_until", Double),
    Column("stop_wanted", Boolean, nullable=False),
    Column("answered_at", Double),
    Column("ended_at", Double),
    Column("talk_s", Double, nullable=False),
    Index("ix_jobs_due", "state", "due_at"),
    Index("ix_jobs_campaign", "campaign", "line"),
    Index("ix_jobs_call_sid", "call_sid"),
    Index(
        "ix_jobs_one_attempt_a_number",
        "number",
        unique=True,
        sqlite_where=text("state IN ('claimed', 'dialling', 'talking')"),
        postgresql_where=text("state IN ('claimed', 'dialling', 'talking')"),
    ),
)

# One row an attempt, the ones under way included: what rates are counted from.
ATTEMPTS: Final = Table(
    "attempts",
    METADATA,
    Column("job", String(32), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("trunk", String(64), nullable=False),
    Column("campaign", String(64)),
    Column("began_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("outcome", String(16)),
    Column("status", Integer, nullable=False),
    Column("call_id", String(64), nullable=False),
    Column("call_sid", String(128), nullable=False),
    Index("ix_attempts_began_at", "began_at"),
)

# Numbers that are never called.
DO_NOT_CALL: Final = Table(
    "do_not_call",
    METADATA,
    Column("number", String(64), primary_key=True),
    Column("added_at", Double, nullable=False),
)

# Rows that processes and nodes take turns by: whoever updates one holds it until it commits.
TURNS: Final = Table(
    "turns",
    METADATA,
    Column("name", String(32), primary_key=True),
    Column("taken", Integer, nullable=False),
)
