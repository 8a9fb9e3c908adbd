"""``sipbot dial`` and ``sipbot campaign`` as a user runs them."""

from __future__ import annotations

import csv
import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from typer.testing import CliRunner, Result

from sipbot.cli.main import app

NUMBER = "+919812345610"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "sipbot.yaml"
    trunk = {"allow": ["127.0.0.1"], "outbound": {"uri": "sip:127.0.0.1:5090;transport=tcp"}}
    document = {
        "store": {"url": f"sqlite:///{tmp_path}/store.db"},
        "trunks": {"t": trunk},
        "agents": {"desk": {"type": "echo"}},
    }
    path.write_text(yaml.safe_dump(document))
    return path


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


class Campaign:
    """``sipbot campaign`` with one configuration."""

    def __init__(self, config: Path) -> None:
        self.config = config

    def __call__(self, *words: str) -> Result:
        return run("campaign", *words, "-c", str(self.config))

    def load(self, text: str, *options: str) -> Result:
        numbers = self.config.parent / "numbers.csv"
        numbers.write_text(text)
        return self("load", "c", str(numbers), "--agent", "desk", "--trunk", "t", *options)


@pytest.fixture
def campaign(config: Path) -> Campaign:
    return Campaign(config)


def test_a_campaign_from_load_to_results(campaign: Campaign, tmp_path: Path) -> None:
    options = ("--window", "mon-fri 09:00-18:00", "--attempts", "3", "--retry", "busy=300,900")
    loaded = campaign.load(f"number,name\n{NUMBER},Asha\n9812345611,Ravi\n", *options)
    assert (loaded.exit_code, loaded.output) == (0, "campaign c: 2 numbers added\n")
    assert campaign("start", "c").output == "c: running, 2 numbers (2 waiting)\n"
    assert campaign("stop", "c").output == "c: stopped, 2 numbers (2 waiting)\n"
    told = json.loads(campaign("status", "c", "--json").output)
    assert (told["jobs"], told["running"], told["states"]) == (2, False, {"waiting": 2})
    assert told["plan"]["retries"] == {"busy": [300.0, 900.0]}
    assert told["plan"]["windows"] == ["mon,tue,wed,thu,fri 09:00-18:00"]
    rows = list(csv.DictReader(io.StringIO(campaign("results", "c").output)))
    assert [row["name"] for row in rows] == ["Asha", "Ravi"]
    out = tmp_path / "results.csv"
    assert campaign("results", "c", "-o", str(out)).exit_code == 0
    assert len(out.read_text().splitlines()) == 3
    assert campaign("status").output == "c: stopped, 2 numbers (2 waiting)\n"
    assert campaign("remove", "c", "--yes").exit_code == 0
    assert campaign("status").output == "no campaigns\n"


def test_bad_rows_are_told_with_file_and_line(campaign: Campaign) -> None:
    loaded = campaign.load(f"number\n{NUMBER}\n+12\n")
    assert loaded.exit_code == 1
    assert "numbers.csv: line 3: number: must be a number" in loaded.output
    assert "1 numbers added" in loaded.output


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--agent", "nobody"), "no agent nobody"),
        (("--trunk", "other"), "no trunk other"),
        (("--via", "api"), "makes no calls by api"),
        (("--via", "post"), "via must be sip or api"),
        (("--zone", "Mars"), "time zone"),
        (("--window", "always"), "must look like"),
        (("--retry", "answered=5"), "retries are possible after"),
        (("--retry", "busy"), "looks like busy=300,900"),
    ],
)
def test_mistakes_end_with_code_2(campaign: Campaign, options: tuple[str, ...], told: str) -> None:
    loaded = campaign.load(f"number\n{NUMBER}\n", *options)
    assert loaded.exit_code == 2
    assert told in loaded.output


def test_a_file_that_is_no_list(campaign: Campaign) -> None:
    loaded = campaign.load("name\nAsha\n")
    assert loaded.exit_code == 2
    assert "the header needs a column number" in loaded.output


@pytest.mark.parametrize("words", [("start", "none"), ("status", "none"), ("results", "none")])
def test_unknown_campaigns(campaign: Campaign, words: tuple[str, ...]) -> None:
    answer = campaign(*words)
    assert (answer.exit_code, answer.output) == (1, "sipbot: there is no campaign none\n")


def test_numbers_that_are_never_called(campaign: Campaign, tmp_path: Path) -> None:
    assert campaign("dnc", "add", "09812345610").output == "1 numbers added\n"
    listed = tmp_path / "never.csv"
    listed.write_text("number\n9812345611\n+12\n")
    loaded = campaign("dnc", "load", str(listed))
    assert loaded.exit_code == 1
    assert "line 3" in loaded.output
    assert campaign("dnc", "list").output == f"number\n{NUMBER}\n+919812345611\n"
    assert "c: " in campaign.load(f"number\n{NUMBER}\n").output
    told = json.loads(campaign("status", "c", "--json").output)
    assert (told["outcomes"], told["finished"]) == ({"do-not-call": 1}, True)
    assert campaign("dnc", "remove", NUMBER).exit_code == 0
    assert campaign("dnc", "remove", NUMBER).exit_code == 1
    assert campaign("dnc", "add", "+12").exit_code == 2


# --- dial


class Server(BaseHTTPRequestHandler):
    """Answers as ``/api`` does. ``answers`` are (status, body), in order; ``seen`` is asked."""

    answers: ClassVar[list[tuple[int, Any]]] = []
    seen: ClassVar[list[tuple[str, str, str, Any]]] = []

    def _answer(self) -> None:
        size = int(self.headers.get("Content-Length", "0"))
        body = json.loads(self.rfile.read(size) or b"null")
        token = self.headers.get("Authorization", "")
        self.seen.append((self.command, self.path, token, body))
        status, answer = self.answers.pop(0)
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = _answer  # noqa: N815 - names of http.server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        return


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Server, "answers", [])
    monkeypatch.setattr(Server, "seen", [])
    monkeypatch.setattr("sipbot.runtime.outbound_client.POLL_S", 0.0)
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as serving:
        thread = threading.Thread(target=serving.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{serving.server_address[1]}"
        serving.shutdown()
        thread.join()


JOB = {"id": "j1", "state": "waiting", "outcome": None, "status": 0, "detail": "", "talk_s": 0.0}


def dial(config: Path, url: str, *options: str) -> Result:
    words = ["dial", NUMBER, "--agent", "desk", "-c", str(config), "--url", url]
    return run(*words, *options)


def test_an_order(config: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIPBOT_TOKEN", "very secret")
    Server.answers = [(202, JOB)]
    answer = dial(config, server, "--param", "name=Asha", "--ring", "20", "--trunk", "t")
    assert (answer.exit_code, answer.output) == (0, "job j1: waiting\n")
    (seen,) = Server.seen
    assert seen[:3] == ("POST", "/api/calls", "Bearer very secret")
    assert seen[3] == {
        "to": NUMBER,
        "agent": "desk",
        "trunk": "t",
        "parameters": {"name": "Asha"},
        "ring_s": 20.0,
    }


def test_waiting_for_the_end(config: Path, server: str) -> None:
    answered = JOB | {"state": "done", "outcome": "answered", "talk_s": 7.5, "call_id": "c1"}
    Server.answers = [(202, JOB), (200, JOB), (200, JOB | {"state": "talking"}), (200, answered)]
    answer = dial(config, server, "--wait")
    assert (answer.exit_code, answer.output) == (0, "job j1: answered, 7.5 s, call c1\n")
    busy = JOB | {"state": "done", "outcome": "busy", "status": 486, "detail": "Busy Here"}
    Server.answers = [(202, JOB), (200, busy)]
    answer = dial(config, server, "--wait")
    assert (answer.exit_code, answer.output) == (1, "job j1: busy (486 Busy Here)\n")
    Server.answers = [(202, JOB), (200, busy)]
    assert json.loads(dial(config, server, "--wait", "--json").output) == busy


def test_the_server_says_no(config: Path, server: str) -> None:
    Server.answers = [(409, {"detail": "to: this number is on the do-not-call list"})]
    answer = dial(config, server)
    assert answer.exit_code == 1
    assert "409: to: this number is on the do-not-call list" in answer.output
    Server.answers = [(422, {"detail": [{"loc": ["body", "ring_s"], "msg": "too long"}]})]
    assert "422: ring_s: too long" in dial(config, server).output


def test_no_server(config: Path) -> None:
    answer = dial(config, "http://127.0.0.1:1")
    assert answer.exit_code == 1
    assert "no server answers" in answer.output
    nowhere = run("dial", NUMBER, "--agent", "desk", "-c", str(config))
    assert nowhere.exit_code == 2
    assert "--url" in nowhere.output


def test_parameters_have_a_form(config: Path) -> None:
    assert dial(config, "http://127.0.0.1:1", "--param", "name").exit_code == 2
