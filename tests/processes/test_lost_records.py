"""What is kept of calls whose worker died: the edge sees their end, another worker writes it."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.http.stream_kit import WAIT_S
from tests.interop.ports import HOST, free_port

from .kit import serving, until

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]


@pytest.mark.parametrize("workers", [1, 2])
def test_the_record_of_a_call_that_lost_its_worker(tmp_path: Path, workers: int) -> None:
    http = f"http://{HOST}:{free_port()}"
    store = {"url": f"sqlite:///{tmp_path}/store.db"}

    kept: list[dict[str, Any]] = []

    def written() -> bool:
        try:
            with urllib.request.urlopen(f"{http}/api/calls", timeout=WAIT_S) as answer:
                kept[:] = json.load(answer)["calls"]
        except OSError:
            return False  # the worker that was to answer is gone, or new
        return bool(kept)

    with serving(tmp_path, workers=workers, http={"listen": http}, store=store) as (server, phones):
        server.troubles_expected = True
        phones.dial("dies").wait_bye(20.0)
        until(written, 30.0, "a record")
    (call,) = kept
    assert (call["agent"], call["callee"], call["detail"]) == ("dies", "dies", "worker-lost")
    assert call["invited_at"] <= call["answered_at"] <= call["ended_at"]
    assert call["talk_ms"] > 500  # it died half a second after the answer, and then apologised
    assert call["stats"]["rtp_received"] > 20
