"""Outbound calls: campaigns, jobs, attempts, numbers that are never called."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "r0002"
down_revision: Final[str | None] = "r0001"
branch_labels: Final = None
depends_on: Final = None

_ACTIVE: Final = "state IN ('claimed', 'dialling', 'talking')"


def upgrade() -> None:
    """Make the tables of outbound calls."""
    op.create_table(
        "campaigns",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("plan", sa.JSON, nullable=False),
        sa.Column("columns", sa.JSON, nullable=False),
        sa.Column("running", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
    )
    _jobs()
    _attempts()
    op.create_table(
        "do_not_call",
        sa.Column("number", sa.String(64), primary_key=True),
        sa.Column("added_at", sa.Double, nullable=False),
    )
    turns = op.create_table(
        "turns",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("taken", sa.Integer, nullable=False),
    )
    op.bulk_insert(turns, [{"name": "dialler", "taken": 0}])


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("number", sa.String(64), nullable=False),
        sa.Column("agent", sa.String(64), nullable=False),
        sa.Column("trunk", sa.String(64), nullable=False),
        sa.Column("via", sa.String(8), nullable=False),
        sa.Column("parameters", sa.JSON, nullable=False),
        sa.Column("campaign", sa.String(64)),
        sa.Column("line", sa.Integer, nullable=False),
        sa.Column("caller_id", sa.String(64), nullable=False),
        sa.Column("ring_s", sa.Double, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("outcome", sa.String(16)),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("call_id", sa.String(64), nullable=False),
        sa.Column("call_sid", sa.String(128), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("lease_until", sa.Double),
        sa.Column("stop_wanted", sa.Boolean, nullable=False),
        sa.Column("answered_at", sa.Double),
        sa.Column("ended_at", sa.Double),
        sa.Column("talk_s", sa.Double, nullable=False),
    )
    op.create_index("ix_jobs_due", "jobs", ["state", "due_at"])
    op.create_index("ix_jobs_campaign", "jobs", ["campaign", "line"])
    op.create_index("ix_jobs_call_sid", "jobs", ["call_sid"])
    op.create_index(
        "ix_jobs_one_attempt_a_number",
        "jobs",
        ["number"],
        unique=True,
        sqlite_where=sa.text(_ACTIVE),
        postgresql_where=sa.text(_ACTIVE),
    )


def _attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("job", sa.String(32), primary_key=True),
        sa.Column("attempt", sa.Integer, primary_key=True),
        sa.Column("trunk", sa.String(64), nullable=False),
        sa.Column("campaign", sa.String(64)),
        sa.Column("began_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double),
        sa.Column("outcome", sa.String(16)),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("call_id", sa.String(64), nullable=False),
        sa.Column("call_sid", sa.String(128), nullable=False),
    )
    op.create_index("ix_attempts_began_at", "attempts", ["began_at"])
