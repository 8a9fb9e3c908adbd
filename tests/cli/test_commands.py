"""The commands as a shell sees them: exit codes, where messages go, help."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from sipbot.cli.call import as_json_text, summary
from sipbot.cli.main import app
from sipbot.errors import ConfigError, ConfigProblem, SipSyntaxError, TransportError
from sipbot.ops import logs
from sipbot.ops.config import Config
from sipbot.ops.load import EMBEDDED_DEFAULT
from sipbot.runtime.caller_types import CallRequest, CallResult

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = (
    ["run"],
    ["check"],
    ["call"],
    ["version"],
    ["config", "schema"],
    ["config", "default"],
)
GOOD = "sip: {listen: ['udp://127.0.0.1:0']}\n"
ANSWERED = CallResult(
    answered=True,
    status=200,
    reason="OK",
    ended_by="caller",
    codec="PCMA",
    setup_ms=12.34567,
    ring_ms=None,
    packets_sent=100,
    packets_received=99,
    lost=1,
    loss_percent=1.0,
    duration_s=2.0,
    recorded_s=1.9,
    dtmf_sent=2,
)


def invoke(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb"}).invoke(
        app, list(arguments)
    )


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "bot.yaml"
    path.write_text(GOOD)
    return path


@pytest.fixture
def bad_config(tmp_path: Path) -> Path:
    path = tmp_path / "bad.yaml"
    path.write_text("limits:\n  max_cals: 5\n")
    return path


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(command: list[str]) -> None:
    result = invoke(*command, "--help")
    assert result.exit_code == 0
    assert f"Example: sipbot {' '.join(command)}" in result.stdout


def test_no_command_shows_help_and_is_a_usage_mistake() -> None:
    result = invoke()
    assert result.exit_code == 2
    assert "Usage" in result.output


@pytest.mark.parametrize("arguments", [["fly"], ["run", "--fast"], ["call"], ["config", "x"]])
def test_usage_mistakes(arguments: list[str]) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_version() -> None:
    result = invoke("version")
    assert result.exit_code == 0
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert result.stdout == f"sipbot {pyproject['project']['version']}\n"


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_wrong_configuration_is_told_on_stderr_with_code_2(
    command: str, bad_config: Path
) -> None:
    result = invoke(command, "-c", str(bad_config))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert f"{bad_config}:2: limits.max_cals = 5: unknown key; did you mean" in result.stderr
    assert "Traceback" not in result.stderr


def test_check_of_a_wrong_configuration_as_json(bad_config: Path) -> None:
    result = invoke("check", "-c", str(bad_config), "--json")
    assert result.exit_code == 2
    report = json.loads(result.stdout)
    assert report["ok"] is False
    (problem,) = report["problems"]
    assert (problem["line"], problem["key"], problem["value"]) == (2, "limits.max_cals", "5")


def test_check_passes(config: Path) -> None:
    result = invoke("check", "-c", str(config), "--json")
    report = json.loads(result.stdout)
    assert (result.exit_code, report["ok"], report["problems"]) == (0, True, [])
    assert {"configuration", "listeners", "rtp ports", "file descriptors"} <= {
        one["check"] for one in report["findings"]
    }


def test_check_finds_a_problem(config: Path) -> None:
    config.write_text("sip: {listen: ['udp://192.0.2.1:5070']}\nlimits: {max_calls: 9000}\n")
    result = invoke("check", "-c", str(config))
    assert result.exit_code == 1
    assert "PROBLEM  listeners: udp://192.0.2.1:5070" in result.stdout
    assert "warning  configuration" in result.stdout
    assert "fewer than limits.max_calls (9000)" in result.stdout


def test_schema() -> None:
    result = invoke("config", "schema")
    schema = json.loads(result.stdout)
    assert result.exit_code == 0
    assert set(schema["properties"]) == set(Config.model_fields)


def test_default_configuration(tmp_path: Path) -> None:
    assert invoke("config", "default").stdout == EMBEDDED_DEFAULT.read_text()
    target = tmp_path / "new"
    result = invoke("config", "default", "-o", str(target))
    assert result.exit_code == 0
    assert (target / "sipbot.yaml").read_bytes() == EMBEDDED_DEFAULT.read_bytes()
    again = invoke("config", "default", "-o", str(target))
    assert again.exit_code == 1
    assert "not overwritten" in again.stderr


def stub(monkeypatch: pytest.MonkeyPatch, name: str, **members: Any) -> None:
    """Stands in for a runtime module: the commands alone are tested here."""
    module = ModuleType(f"sipbot.runtime.{name}")
    vars(module).update(members)
    monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.mark.parametrize("code", [0, 1])
def test_run_serves_the_configuration(
    monkeypatch: pytest.MonkeyPatch, config: Path, code: int
) -> None:
    served: list[Config] = []

    def serve(one: Config, base: Path, path: Path) -> int:
        assert (base, path) == (config.parent, config)
        served.append(one)
        return code

    stub(monkeypatch, "server", serve=serve)
    config.write_text(GOOD + "workers: 2\nlimits: {max_calls: 9000}\n")
    result = invoke("run", "-c", str(config))
    logs.shutdown()
    assert result.exit_code == code
    assert served[0].workers == 2
    assert "fewer than limits.max_calls (9000)" in result.stderr


def test_run_with_a_flow_that_is_wrong(monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    def serve(*_: object) -> int:
        raise ConfigError((ConfigProblem("menu.yaml", 7, "nodes.a", "b", "no such node"),))

    stub(monkeypatch, "server", serve=serve)
    result = invoke("run", "-c", str(config))
    assert result.exit_code == 2
    assert "menu.yaml:7: nodes.a = b: no such node" in result.stderr


def test_run_that_cannot_listen(monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    def serve(*_: object) -> int:
        raise TransportError("udp://127.0.0.1:5070: address already in use")

    stub(monkeypatch, "server", serve=serve)
    result = invoke("run", "-c", str(config))
    assert result.exit_code == 1
    assert "sipbot: udp://127.0.0.1:5070: address already in use" in result.stderr
    assert "Traceback" not in result.stderr


class Caller:
    """Records the request and answers with a result, or raises."""

    def __init__(self, outcome: CallResult | Exception) -> None:
        self.outcome = outcome
        self.requests: list[CallRequest] = []

    def __call__(self, request: CallRequest) -> CallResult:
        self.requests.append(request)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def test_call_passes_everything_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    caller = Caller(ANSWERED)
    stub(monkeypatch, "caller", place_call=caller)
    sound = tmp_path / "in.wav"
    sound.write_bytes(b"RIFF")
    result = invoke(
        *("call", "sip:echo@127.0.0.1:5070", "--transport", "tcp", "--codec", "pcmu"),
        *("--srtp", "sdes", "--play", str(sound), "--record", "out.wav", "--dtmf", "1,2#a"),
        *("--seconds", "4", "--insecure", "--from", "tester", "--json"),
    )
    assert result.exit_code == 0
    assert caller.requests == [
        CallRequest(
            uri="sip:echo@127.0.0.1:5070",
            transport="tcp",
            codec="PCMU",
            srtp="sdes",
            play=sound,
            record=Path("out.wav"),
            dtmf="1,2#A",
            seconds=4.0,
            insecure=True,
            from_user="tester",
        )
    ]
    report = json.loads(result.stdout)
    assert (report["answered"], report["codec"], report["setup_ms"]) == (True, "PCMA", 12.346)
    assert "dtmf" not in report


def test_call_without_options(monkeypatch: pytest.MonkeyPatch) -> None:
    caller = Caller(ANSWERED)
    stub(monkeypatch, "caller", place_call=caller)
    result = invoke("call", "echo@127.0.0.1:5070")
    assert result.exit_code == 0
    assert caller.requests == [CallRequest(uri="sip:echo@127.0.0.1:5070")]
    assert "answered: 200 OK, PCMA" in result.stdout


@pytest.mark.parametrize(
    ("outcome", "code", "says"),
    [
        (replace(ANSWERED, answered=False, status=404, reason="Not Found"), 1, ""),
        (TransportError("connection refused"), 1, "sipbot: connection refused"),
        (SipSyntaxError("uri-host"), 2, "no URI that can be called: uri-host"),
    ],
)
def test_call_that_fails(
    monkeypatch: pytest.MonkeyPatch, outcome: CallResult | Exception, code: int, says: str
) -> None:
    stub(monkeypatch, "caller", place_call=Caller(outcome))
    result = invoke("call", "sip:x@127.0.0.1:1")
    assert result.exit_code == code
    assert says in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("keys", ["x", "1" * 65, "1 2"])
def test_call_refuses_wrong_keys_without_showing_them(keys: str) -> None:
    result = invoke("call", "sip:x@127.0.0.1:1", "--dtmf", keys)
    assert result.exit_code == 2
    assert "--dtmf takes" in result.stderr


def test_call_refuses_a_recording_that_cannot_be_written() -> None:
    result = invoke("call", "sip:x@127.0.0.1:1", "--record", "/nonexistent/heard.wav")
    assert result.exit_code == 2
    assert "/nonexistent cannot be written" in result.stderr


@pytest.mark.parametrize(("options", "hinted"), [([], True), (["--insecure"], False)])
def test_call_that_fails_over_tls_hints_at_the_certificate(
    monkeypatch: pytest.MonkeyPatch, options: list[str], hinted: bool
) -> None:
    failed = replace(ANSWERED, answered=False, status=503, reason="transport-failed")
    stub(monkeypatch, "caller", place_call=Caller(failed))
    result = invoke("call", "sip:x@127.0.0.1:1", "--transport", "tls", *options)
    assert result.exit_code == 1
    assert ("--insecure" in result.stderr) is hinted


def test_summaries() -> None:
    assert summary(replace(ANSWERED, srtp=True)).splitlines() == [
        "answered: 200 OK, PCMA with SRTP",
        "set-up: 12 ms, ringing after -",
        "duration: 2.0 s, ended by the caller",
        "packets: 100 sent, 99 received, 1 lost (1.00 %)",
        "jitter: 0.0 ms, round trip: -",
        "keys pressed: 2",
        "recorded: 1.9 s",
    ]
    refused = replace(ANSWERED, answered=False, status=486, reason="Busy Here")
    assert summary(refused) == "not answered: 486 Busy Here"
    assert summary(replace(refused, status=0, reason="")) == "not answered: no answer"
    assert json.loads(as_json_text(refused))["status"] == 486


def test_help_needs_no_heavy_imports() -> None:
    """What makes ``--help`` slow is imports; time itself is no test on a busy machine."""
    code = (
        "import sys, sipbot.cli.main\n"
        "heavy = {'asyncio', 'numpy', 'pydantic', 'structlog', 'yaml', 'soxr', 'cryptography',"
        " 'fastapi', 'uvicorn'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30
    )
    assert found.stderr == ""
    assert found.returncode == 0
