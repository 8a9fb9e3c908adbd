"""Call records, transfer intents, events of trunks."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "r0001"
down_revision: Final[str | None] = None
branch_labels: Final = None
depends_on: Final = None


def upgrade() -> None:
    """Make the first tables."""
    op.create_table(
        "calls",
        sa.Column("call_id", sa.String(64), primary_key=True),
        sa.Column("trunk_call_id", sa.String(128), nullable=False),
        sa.Column("protocol_id", sa.Text, nullable=False),
        sa.Column("direction", sa.String(16), nullable=False),
        sa.Column("transport", sa.String(32), nullable=False),
        sa.Column("trunk", sa.String(64), nullable=False),
        sa.Column("peer", sa.Text, nullable=False),
        sa.Column("caller", sa.Text, nullable=False),
        sa.Column("callee", sa.Text, nullable=False),
        sa.Column("agent", sa.String(64), nullable=False),
        sa.Column("rule", sa.String(128), nullable=False),
        sa.Column("codec", sa.String(32), nullable=False),
        sa.Column("invited_at", sa.Double, nullable=False),
        sa.Column("rung_at", sa.Double),
        sa.Column("answered_at", sa.Double),
        sa.Column("ended_at", sa.Double, nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("failure", sa.Text, nullable=False),
        sa.Column("keys", sa.Integer, nullable=False),
        sa.Column("dropped_events", sa.Integer, nullable=False),
        sa.Column("stats", sa.JSON, nullable=False),
    )
    op.create_index("ix_calls_invited_at", "calls", ["invited_at"])
    op.create_index("ix_calls_trunk_call_id", "calls", ["trunk_call_id"])
    _transfers()


def _transfers() -> None:
    op.create_table(
        "transfer_intents",
        sa.Column("trunk_call_id", sa.String(128), primary_key=True),
        sa.Column("call_id", sa.String(64), nullable=False),
        sa.Column("protocol_id", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("destination", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("attempt_at", sa.Double, nullable=False),
        sa.Column("done", sa.Boolean, nullable=False),
    )
    op.create_index("ix_transfer_intents_expires_at", "transfer_intents", ["expires_at"])
    op.create_table(
        "trunk_events",
        sa.Column("trunk_call_id", sa.String(128), primary_key=True),
        sa.Column("occasion", sa.String(200), primary_key=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("stage", sa.String(32), nullable=False),
        sa.Column("first_at", sa.Double, nullable=False),
        sa.Column("last_at", sa.Double, nullable=False),
        sa.Column("facts", sa.JSON, nullable=False),
    )
    op.create_index("ix_trunk_events_first_at", "trunk_events", ["first_at"])
