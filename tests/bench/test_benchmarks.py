"""Every benchmark of the whole server runs with one command and says something sensible.

Small and short: what the figures are is for the benchmarks themselves. Nothing here depends on how
fast the machine is; a run that the machine spoilt is made again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.interop.process import REPO
from tests.peers import require

ATTEMPTS = 3
RUN_S = 90.0

pytestmark = [pytest.mark.load, pytest.mark.timeout(ATTEMPTS * RUN_S + 30)]


def outcome(script: str, *arguments: str, codes: tuple[int, ...] = (0,)) -> dict[str, Any]:
    """Run a benchmark with ``--json``; what it says."""
    require("cc")
    command = [sys.executable, str(REPO / "scripts" / "bench" / script), "--json", *arguments]
    for _ in range(ATTEMPTS):
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=RUN_S, cwd=REPO, check=False
        )
        if done.returncode in codes and done.stdout.startswith("{"):
            said: dict[str, Any] = json.loads(done.stdout)
            assert {"processor", "cores", "kernel", "python"} <= said["machine"].keys()
            return said
    raise AssertionError(f"{script}: code {done.returncode}\n{done.stderr[-2_000:]}")


@pytest.mark.parametrize("agent", ["echo", "vad"])
def test_agent_echo(agent: str) -> None:
    arguments = ["--calls", "6", "--seconds", "2", "--warmup", "1", "--rounds", "1"]
    said = outcome("agent_echo.py", *arguments, "--agent", agent)
    rows = {row["target"]: row for row in said["rows"]}
    assert set(rows) == {"floor", "workers", "single"}
    for row in rows.values():
        assert row["calls"] == 6
        assert row["sent"] == 6 * 2 * 50
        assert row["lost"] < row["sent"] / 2
        assert row["us/packet"] > 0
        assert 0 < row["p50 ms"] <= row["p99 ms"] <= row["max ms"]
    assert rows["floor"]["ratio"] == 1.0
    assert rows["workers"]["ratio"] > 1.0


def test_setup() -> None:
    arguments = ["--rate", "20", "--seconds", "2", "--rounds", "1", "--hold", "0.2"]
    said = outcome("setup.py", *arguments, "--no-search", "--target", "workers", "single")
    assert [row["target"] for row in said["rows"]] == ["workers", "single"]
    for row in said["rows"]:
        assert row["calls"] == 40
        assert row["failed"] == 0
        assert 0 < row["p50 ms"] <= row["p99 ms"] <= row["max ms"]


def test_isolation() -> None:
    said = outcome("isolation.py", "--calls", "6", "--trouble", "raising", "killed")
    raising, killed = said["rows"]
    assert raising["trouble"] == "raising"
    assert raising["BYE s"] is None
    assert killed["sorry s"] is not None
    assert killed["new s"] is not None
    assert 0 < killed["sorry s"] < killed["BYE s"]
    for row in said["rows"]:
        assert row["sent"] == 3 * 8 * 50
        assert row["lost"] < row["sent"] / 2


def test_soak() -> None:
    arguments = ["--minutes", "0.15", "--calls", "10", "--length", "2"]
    said = outcome("soak.py", *arguments, codes=(0, 1))  # so short a run may well grow
    assert {row["what"] for row in said["rows"]} == {"rss MB", "pss MB", "files", "ports"}
    assert len(said["samples"]) > 5
    assert said["totals"]["calls"] >= 10
    assert said["totals"]["failed"] == 0
    assert said["totals"]["sent"] > 0
    assert all(row["mean"] > 0 for row in said["rows"])


def test_agentstream() -> None:
    targets = ("picows", "workers", "single")
    arguments = ["--streams", "5", "--seconds", "2", "--warmup", "1", "--rounds", "1"]
    said = outcome("agentstream.py", *arguments, "--target", *targets)
    assert [row["target"] for row in said["rows"]] == list(targets)
    for row in said["rows"]:
        assert row["streams"] == 5
        assert row["sent"] == pytest.approx(5 * 2 * 50, rel=0.05)
        assert row["lost"] < row["sent"] / 2
        assert row["broken"] == 0
        assert row["ms/s"] > 0
        assert 0 < row["p50 ms"] <= row["p99 ms"] <= row["max ms"]
