"""``sipbot sim`` as a shell sees it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import httpx
import pytest
from typer.testing import CliRunner, Result

from sipbot.cli.main import app
from tests.interop.ports import free_port
from tests.interop.process import REPO, Program

SCENARIOS = REPO / "config" / "sim"


@pytest.fixture
def nobody() -> str:
    """An address at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def invoke(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb"}).invoke(
        app, ["sim", *arguments]
    )


def bot(address: str) -> list[str]:
    urls = (f"sip:{address};transport=tcp", f"ws://{address}/bot", f"http://{address}")
    return [part for url in urls for part in ("--bot", url)]


@pytest.mark.parametrize("command", [["run"], ["check"], ["api"]])
def test_every_command_has_help_with_an_example(command: list[str]) -> None:
    done = invoke(*command, "--help")
    assert done.exit_code == 0
    assert "Example: sipbot sim" in done.output


def test_what_passes_and_its_reports(tmp_path: Path, nobody: str) -> None:
    report = tmp_path / "report.xml"
    path = str(SCENARIOS / "throttled.yaml")
    done = invoke("run", path, *bot(nobody), "--json", "--junit", str(report))
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [(case["name"], case["passed"]) for case in found["cases"]] == [("throttled", True)]
    suite = ET.fromstring(report.read_text())
    assert (suite.get("tests"), suite.get("failures")) == ("1", "0")


def test_a_bot_that_is_not_there_fails_with_code_1(nobody: str) -> None:
    path = str(SCENARIOS / "desk.yaml")
    done = invoke("run", path, *bot(nobody), "--transport", "sip")
    assert done.exit_code == 1
    assert "FAILED  desk [sip]" in done.stdout
    assert "! answered: expected answered, found not answered" in done.stdout
    assert "[stream]" not in done.stdout


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("caller: [jump: 1]\n", [], "bad.yaml:1: caller[0]: a step needs"),
        ("transport: [sip]\n", ["--transport", "stream"], "no scenario runs over"),
        ("", ["--bot", "ftp://x"], "--bot takes sip:"),
        ("", ["--bot", "ws://x"], "bad [sip] needs --bot sip:..."),
        ("", ["--bot", "ws://x", "--bot", "wss://y"], "two addresses for stream"),
        (
            "transport: [stream]\n",
            ["--junit", "/nowhere/x.xml", "--bot", "ws://127.0.0.1:9"],
            "cannot be written",
        ),
    ],
)
def test_mistakes_have_code_2(tmp_path: Path, text: str, options: list[str], message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    done = invoke("run", str(path), *options)
    assert done.exit_code == 2, done.output
    assert message in done.stderr


def test_check_finds_mistakes_without_a_call(tmp_path: Path) -> None:
    files = [str(path) for path in sorted(SCENARIOS.glob("*.yaml"))]
    done = invoke("check", *files)
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) == len(files)
    bad = tmp_path / "bad.yaml"
    bad.write_text("start: nowhere\n")
    assert invoke("check", str(bad)).exit_code == 2


def test_the_stand_in_for_the_rest_interfaces_is_served() -> None:
    port = free_port()
    command = [sys.executable, "-m", "sipbot.cli.main", "sim", "api", "--port", str(port)]
    with Program([*command, "--key", "k", "--token", "t"]) as program:
        program.wait_line("Uvicorn running|ready", 20)
        url = f"http://k:t@127.0.0.1:{port}/v2/accounts/acme1/trunks"
        transport = httpx.HTTPTransport(retries=10)
        with httpx.Client(transport=transport, trust_env=False) as client:
            assert client.get(url).status_code == 200
            assert client.get(url, auth=("k", "wrong")).status_code == 401


def test_the_command_line_starts_without_what_it_does_not_need() -> None:
    code = (
        "import sys, sipbot.cli.main; print([m for m in ('picows', 'httpx') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
