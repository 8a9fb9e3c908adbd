"""``sipbot sim api``: the stand-in for Exotel's REST interfaces, served on loopback."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import uvicorn

from sipbot.testing.exotel_api import FakeExotel

HOST: Final = "127.0.0.1"


def serve(port: int, account_sid: str, key: str, token: str, exophones: Sequence[str]) -> None:
    """Serve one account until Ctrl-C."""
    exotel = FakeExotel(account_sid, key, token)
    exotel.calls.exophones = list(exophones)
    uvicorn.run(exotel, host=HOST, port=port, log_level="warning")
