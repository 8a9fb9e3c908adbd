"""Schema of the store, step by step, run by Alembic when a store is opened."""

from __future__ import annotations

from typing import Final

HEAD: Final = "r0002"  # the newest step; a store that stands there needs no Alembic at all
