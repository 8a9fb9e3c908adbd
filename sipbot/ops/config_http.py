"""The section ``http`` of the configuration."""

from __future__ import annotations

from sipbot.ops.section import Section
from sipbot.ops.values import HttpListenUrl


class HttpConfig(Section):
    """HTTP interface for monitoring: `/health`, `/ready`, `/metrics`. See `docs/operations.md`."""

    listen: HttpListenUrl | None = None
    """Where to serve HTTP, for example `http://127.0.0.1:8080`. Whoever reaches it may read it:
    keep it on loopback or a private network. Absent: no HTTP."""
