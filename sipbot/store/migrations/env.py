"""Alembic's entry: runs the steps on the connection that ``sipbot.store.schema`` hands over."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():  # does nothing: the caller's transaction is open already
    context.run_migrations()
