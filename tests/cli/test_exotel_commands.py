"""``sipbot exotel`` as a shell sees it, against the stand-in on loopback."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from sipbot.cli import exotel_shared
from sipbot.cli.main import app
from sipbot.ops import logs
from sipbot.testing.exotel_api import FakeExotel, Fault
from tests.exotel.rest.kit import Current, served

COMMANDS = (
    ["streams"],
    ["doctor"],
    ["trunk", "plan"],
    ["trunk", "apply"],
    ["trunk", "list"],
    ["trunk", "show"],
    ["trunk", "delete"],
    ["call", "connect"],
    ["call", "flow"],
    ["call", "voicebot"],
    ["call", "show"],
    ["call", "list"],
)
TRUNK = """\
trunk:
  name: front_desk
  numbers: [{number: "+918012345678", mode: pstn}]
  allowed_ips: [1.2.3.4]
  destinations: [{uri: 1.2.3.4:5061;transport=tls, priority: 1}]
  credentials: [{user_name: desk, password: "${SIP_PASSWORD}"}]
"""
KEYS = {
    "EXOTEL_ACCOUNT_SID": "acme1",
    "EXOTEL_API_KEY": "key1",
    "EXOTEL_API_TOKEN": "token1",
    "SIP_PASSWORD": "s3cret_1",
}


class Shell:
    """Runs commands against the stand-in."""

    def __init__(self, fake: FakeExotel, base: str, file: Path) -> None:
        self.fake = fake
        self.file = str(file)
        self._environment = {**KEYS, "EXOTEL_BASE_URL": base}

    def __call__(self, *arguments: str, typed: str | None = None, **environment: str) -> Result:
        runner = CliRunner(
            env={"COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb", **self._environment}
        )
        result = runner.invoke(app, ["exotel", *arguments], input=typed, env=environment)
        logs.shutdown()
        assert "Traceback" not in result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        for secret in ("token1", "key1", "s3cret_1"):
            assert secret not in result.output
        return result

    def json(self, *arguments: str, code: int = 0) -> Any:
        result = self(*arguments, "--json")
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Current, str]]:
    current = Current()
    with served(current) as base:
        yield current, base


@pytest.fixture
def shell(server: tuple[Current, str], tmp_path: Path) -> Shell:
    current, base = server
    current.fake = FakeExotel()
    file = tmp_path / "trunk.yaml"
    file.write_text(TRUNK)
    return Shell(current.fake, base, file)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(command: list[str], shell: Shell) -> None:
    result = shell(*command, "--help")
    assert result.exit_code == 0
    assert f"Example: sipbot exotel {' '.join(command)}" in result.stdout


@pytest.mark.parametrize("group", [[], ["trunk"], ["call"]])
def test_groups_alone_show_help(group: list[str], shell: Shell) -> None:
    result = shell(*group)
    assert result.exit_code == 2
    assert "Usage" in result.output


def test_help_does_not_load_what_takes_long() -> None:
    code = (
        "import sys; from sipbot.cli.main import app\n"
        "try: app(['exotel', 'trunk', 'apply', '--help'])\n"
        "except SystemExit: pass\n"
        "slow = ('httpx', 'numpy', 'structlog', 'sipbot.exotel', 'sipbot.ops')\n"
        "print([name for name in sys.modules if name.startswith(slow)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_trunk_from_nothing_to_nothing(shell: Shell) -> None:
    shown = shell("trunk", "plan", "-f", shell.file)
    assert shown.exit_code == 0
    assert shown.stdout.splitlines() == [
        "trunk front_desk (new):",
        "  + trunk front_desk",
        "  + number +918012345678 (mode pstn)",
        "  + allowed address 1.2.3.4/32",
        "  + destination 1.2.3.4:5061;transport=tls (priority 1, weight 1)",
        "  + credentials desk",
    ]
    assert shell("trunk", "plan", "-f", shell.file, "--check").exit_code == 1
    applied = shell.json("trunk", "apply", "-f", shell.file, "--yes")
    assert (applied["done"], applied["error"], len(applied["steps"])) == (5, None, 5)
    assert list(shell.fake.trunks.trunks) == [applied["sid"]]
    assert list(shell.fake.trunks.passwords.values()) == ["s3cret_1"]
    again = shell("trunk", "apply", "-f", shell.file)  # nothing to ask about
    assert (again.exit_code, again.stdout) == (
        0,
        "the trunk front_desk is as the file says: nothing to do\n",
    )
    assert shell("trunk", "plan", "-f", shell.file, "--check").exit_code == 0
    assert shell.json("trunk", "list")["trunks"][0]["name"] == "front_desk"
    state = shell.json("trunk", "show", "front_desk")
    assert state["numbers"][0]["mode"] == "pstn"
    text = shell("trunk", "show", applied["sid"]).stdout
    assert "destination  1.2.3.4:5061;transport=tls  priority 1, weight 1" in text
    assert shell("trunk", "delete", "front_desk", "-y").stdout.endswith(
        f"deleted: {applied['sid']}\n"
    )
    assert shell("trunk", "list").stdout == "no trunks\n"


def test_apply_tells_what_it_does(shell: Shell) -> None:
    result = shell("trunk", "apply", "-f", shell.file, "-y")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert "done: create allowed address 1.2.3.4/32" in lines
    assert lines[-1].startswith("the trunk front_desk is as the file says: trmum1")


@pytest.mark.parametrize("command", [["apply", "-f", "FILE"], ["delete", "front_desk"]])
def test_nothing_is_done_where_nobody_can_be_asked(shell: Shell, command: list[str]) -> None:
    shell("trunk", "apply", "-f", shell.file, "-y")
    shell.fake.seen.clear()
    Path(shell.file).write_text("trunk: {name: front_desk, numbers: []}")
    result = shell("trunk", *(shell.file if one == "FILE" else one for one in command))
    assert result.exit_code == 2
    assert "say --yes" in result.stderr
    assert {one.method for one in shell.fake.seen} == {"GET"}


@pytest.mark.parametrize(("answer", "code"), [(True, 0), (False, 1)])
def test_asking(monkeypatch: pytest.MonkeyPatch, shell: Shell, answer: bool, code: int) -> None:
    class Terminal:
        @staticmethod
        def isatty() -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(typer, "confirm", lambda *_, **__: answer)
    if answer:
        exotel_shared.confirm("Do this?", yes=False)
    else:
        with pytest.raises(typer.Exit) as caught:
            exotel_shared.confirm("Do this?", yes=False)
        assert caught.value.exit_code == code


def test_a_failure_half_way(shell: Shell) -> None:
    shell.fake.faults.append(Fault(400, b"no", method="POST", path="destination-uris"))
    content = shell.json("trunk", "apply", "-f", shell.file, "-y", code=1)
    assert (content["done"], content["error"]) == (
        3,
        "cannot add the destination: no (HTTP 400)",
    )
    result = shell("trunk", "apply", "-f", shell.file, "-y")
    assert result.exit_code == 0
    assert "+ destination" in result.stdout
    assert "+ trunk" not in result.stdout


def test_problems_keep_everything_from_being_done(shell: Shell) -> None:
    shell("trunk", "apply", "-f", shell.file, "-y")
    other = Path(shell.file).with_name("other.yaml")
    other.write_text('trunk: {name: other, numbers: [{number: "+918012345678"}]}')
    result = shell("trunk", "apply", "-f", str(other), "-y")
    assert result.exit_code == 1
    assert "PROBLEM  the number +918012345678 belongs to the trunk" in result.stdout
    assert len(shell.fake.trunks.trunks) == 1
    assert shell.json("trunk", "apply", "-f", str(other), "-y", code=1)["done"] == 0


def test_mistakes_in_the_file(shell: Shell) -> None:
    Path(shell.file).write_text("trunk:\n  name: front-desk\n  numbres: []\n")
    result = shell("trunk", "apply", "-f", shell.file)
    assert result.exit_code == 2
    assert f"{shell.file}:2: trunk.name = front-desk: a trunk's name has" in result.stderr
    assert f"{shell.file}:3: trunk.numbres" in result.stderr
    assert shell.fake.seen == []


def test_missing_keys(shell: Shell) -> None:
    result = shell("trunk", "list", EXOTEL_API_KEY="", EXOTEL_REGION="mars")
    assert result.exit_code == 2
    assert "environment: EXOTEL_API_KEY: is not set" in result.stderr


def test_keys_from_a_file(shell: Shell) -> None:
    file = Path(shell.file).with_name("account.yaml")
    file.write_text("api_key: ${MY_KEY}\n")
    result = shell("streams", "-a", str(file), EXOTEL_API_KEY="wrong", MY_KEY="key1")
    assert (result.exit_code, result.stdout) == (0, "streams: 0 of 25\n")


def test_wrong_keys(shell: Shell) -> None:
    result = shell("streams", EXOTEL_API_TOKEN="wrong1")
    assert result.exit_code == 1
    assert result.stderr == ("sipbot: cannot count the streams: Authorization failed (HTTP 401)\n")


def test_calls(shell: Shell) -> None:
    people = ["--to", "+919812345610", "--caller-id", "08012345678"]
    connected = shell.json(
        "call", "connect", *people, "--first", "+919812345611", "--ring", "20", "--record",
        "--custom-field", "order 7", "--status-callback", "https://bot.example.com/s",
    )  # fmt: skip
    assert connected["status"] == "in-progress"
    form = shell.fake.seen[-1].form
    assert (form["From"], form["To"]) == ("+919812345611", "+919812345610")
    assert (form["TimeOut"], form["StatusCallbackEvents[0]"]) == ("20", "terminal")
    shell.json("call", "flow", *people, "--app-id", "77")
    assert shell.fake.seen[-1].form["Url"].endswith("/acme1/exoml/start_voice/77")
    bot = shell.json("call", "voicebot", *people, "--stream-url", "wss://bot.example.com/x")
    shell.fake.calls.finish(bot["sid"])
    shown = shell("call", "show", bot["sid"])
    assert shown.stdout.splitlines() == [
        f"call {bot['sid']}: completed",
        "started: 2026-01-23 10:48:33, ended: 2026-01-23 10:48:33",
        "duration: 17 s, price: 1.5",
        "legs: completed, completed",
    ]
    listed = shell("call", "list", "--status", "completed")
    assert listed.stdout == f"{bot['sid']}  2026-01-23 10:48:33  outbound-api  completed  17 s\n"
    page = shell.json("call", "list", "-n", "2")
    assert (len(page["calls"]), page["more"]) == (2, True)
    assert shell("call", "list", "--status", "busy").stdout == "no calls\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["voicebot", "--stream-url", "https://bot.example.com"], "--stream-url: the stream URL"),
        (["flow", "--app-id", "7", "--custom-field", "x" * 129], "at most 128 characters"),
        (["connect", "--first", "1", "--time-limit", "20000"], "--time-limit"),
    ],
)
def test_mistakes_in_calls(shell: Shell, arguments: list[str], told: str) -> None:
    people = ["--to", "+919812345610", "--caller-id", "08012345678"]
    result = shell("call", *arguments, *people)
    assert result.exit_code == 2
    assert told in result.stderr
    assert shell.fake.seen == []


def test_a_call_that_exotel_refuses(shell: Shell) -> None:
    shell.fake.calls.exophones = ["+918012345679"]
    people = ["--to", "+919812345610", "--caller-id", "+918012345678"]
    result = shell("call", "flow", *people, "--app-id", "77")
    assert result.exit_code == 1
    assert "CallerId +9180******78 is not an ExoPhone of this account" in result.stderr
    assert shell("call", "show", "none").exit_code == 1


def test_doctor(shell: Shell) -> None:
    Path(shell.file).write_text('trunk: {name: a, numbers: [{number: "+918012345678"}]}')
    assert shell("doctor").exit_code == 0
    content = shell.json("doctor", "-f", shell.file, code=1)
    assert content["ok"] is False
    assert content["findings"][-1] == {
        "check": "trunk",
        "grade": "problem",
        "message": "there is no trunk a",
    }
    shell("trunk", "apply", "-f", shell.file, "-y")
    result = shell("doctor", "-f", shell.file)
    assert (result.exit_code, "ok       file: the trunk is as" in result.stdout) == (0, True)
    assert shell("doctor", "--trunk", "a").exit_code == 0
    assert shell("doctor", "--own", "x:0").exit_code == 2
    assert "PROBLEM  destinations" in shell("doctor", "--own", "127.0.0.1:1").stdout


def test_the_stand_in_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sipbot.testing.exotel_api", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--account-sid" in done.stdout
