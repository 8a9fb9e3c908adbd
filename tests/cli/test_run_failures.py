"""``sipbot run`` that cannot start: one line for people, never a traceback."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sipbot.cli.main import app
from sipbot.errors import ConfigError, ConfigProblem, TransportError
from sipbot.ops import logs
from sipbot.runtime import server


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "sipbot.yaml"
    path.write_text("sip: {listen: ['udp://127.0.0.1:0']}\n", encoding="utf-8")
    return path


def test_an_address_in_use_is_told_in_one_line(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        path = tmp_path / "sipbot.yaml"
        path.write_text(
            f"sip: {{listen: ['udp://127.0.0.1:{port}']}}\nworkers: 0\n", encoding="utf-8"
        )
        done = subprocess.run(
            [sys.executable, "-m", "sipbot.cli.main", "run", "-c", str(path)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("sipbot: ")]
    assert told == [f"sipbot: cannot listen on udp://127.0.0.1:{port}: Address already in use"]


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (TransportError("no way"), 1, "sipbot: no way"),
        (ExceptionGroup("tasks", [TransportError("no way")]), 1, "sipbot: no way"),
        (
            ExceptionGroup("a", [ExceptionGroup("b", [TransportError("no way")])]),
            1,
            "sipbot: no way",
        ),
        (
            ExceptionGroup("tasks", [ConfigError((ConfigProblem("f.yaml", 3, "k", "v", "bad"),))]),
            2,
            "sipbot: an agent's file is wrong",
        ),
    ],
)
def test_the_cause_is_told_however_it_is_wrapped(
    monkeypatch: pytest.MonkeyPatch, config: Path, error: Exception, code: int, message: str
) -> None:
    result = _run_with(monkeypatch, config, error)
    assert result.exit_code == code
    assert message in result.stderr


@pytest.mark.parametrize(
    "error",
    [
        ExceptionGroup("tasks", [KeyError("a fault")]),
        ExceptionGroup("tasks", [TransportError("one"), TransportError("two")]),
    ],
)
def test_a_real_fault_stays_a_fault(
    monkeypatch: pytest.MonkeyPatch, config: Path, error: Exception
) -> None:
    assert _run_with(monkeypatch, config, error).exception is error


def _run_with(monkeypatch: pytest.MonkeyPatch, config: Path, error: Exception) -> Result:
    def serve(*_: object) -> int:
        raise error

    monkeypatch.setattr(server, "serve", serve)
    monkeypatch.setattr(logs, "configure", lambda *_: None)
    return CliRunner().invoke(app, ["run", "-c", str(config)])
