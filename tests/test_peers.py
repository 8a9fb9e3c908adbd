"""A missing peer is a skip with a reason, or a failure where peers are demanded."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests import peers
from tests.peers import require


def test_a_present_program_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    monkeypatch.setitem(peers.PACKAGES, Path(sys.executable).name, "python3")
    assert Path(require(Path(sys.executable).name)) == Path(sys.executable)


def test_a_missing_program_skips_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("SIPBOT_REQUIRE_PEERS", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install sip-tester"):
        require("sipp")


def test_a_missing_program_fails_where_peers_are_demanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("SIPBOT_REQUIRE_PEERS", "1")
    with pytest.raises(pytest.fail.Exception, match="baresip is not installed"):
        require("baresip")
