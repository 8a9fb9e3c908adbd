"""Calls that the server makes: ordered by HTTP, through a trunk that is SIPp, or another server."""

from __future__ import annotations

import asyncio
import hashlib
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest

from tests.http.stream_kit import Exotel
from tests.peers import require

from .harness import BotConfig, BotProcess, pass_time
from .ports import HOST, free_port, wait_bound
from .process import Program
from .sipp import Scenario, run
from .sipp_uas import REALM, Callee, SippCallee

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

NUMBER = "+919812345610"
WAIT_S = 30.0
USER, PASSWORD = "trunk1", "secret_1"


class Dialling(BotProcess):
    """A server with a trunk ``t`` and an API."""

    def __init__(
        self, directory: Path, outbound: dict[str, Any], *, workers: int = 0, **extra: Any
    ) -> None:
        self.http_port = free_port()
        directory.mkdir(exist_ok=True)
        config = BotConfig.free(
            rtp_pairs=20,
            workers=workers,
            http={"listen": f"http://{HOST}:{self.http_port}"},
            store={"url": f"sqlite:///{directory}/store.db"},
            trunks={"t": {"allow": ["127.0.0.0/8"], "outbound": outbound}},
            **extra,
        )
        super().__init__(config, directory)
        self.api = httpx.Client(base_url=f"http://{HOST}:{self.http_port}", timeout=10)

    def order(self, **given: Any) -> str:
        answer = self.api.post("/api/calls", json={"to": NUMBER, "agent": "brief", **given})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def job(self, id_: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api.get(f"/api/jobs/{id_}").json()
        return found

    def until(self, id_: str, state: str) -> dict[str, Any]:
        deadline = time.monotonic() + WAIT_S
        while (job := self.job(id_))["state"] != state:
            assert time.monotonic() < deadline, job
            pass_time(0.05)
        return job


@contextmanager
def dialling(directory: Path, outbound: dict[str, Any], **extra: Any) -> Iterator[Dialling]:
    with Dialling(directory, outbound, **extra) as bot, bot.api:
        yield bot


@pytest.mark.parametrize(("transport", "workers"), [("udp", 0), ("tcp", 1)])
def test_digest_ringing_answer_and_goodbye(
    tmp_path: Path, transport: Literal["udp", "tcp"], workers: int
) -> None:
    require("sipp")
    scenario = Callee().invited(From="<sip:.918040001234@acme1.pstn.example>;tag=")
    scenario.challenge_as_proxy().respond(180).answer().hung_up()
    outbound = {
        "user": USER,
        "password": PASSWORD,
        "caller_id": "+918040001234",
        "from_domain": "acme1.pstn.example",
    }
    with SippCallee(scenario, tmp_path, transport) as callee:
        given = {**outbound, "uri": callee.uri}
        with dialling(tmp_path / "bot", given, workers=workers) as bot:
            job = bot.until(bot.order(), "done")
            assert (job["outcome"], job["status"]) == ("answered", 200), job
            assert job["talk_s"] > 0
            assert job["call_id"] in {
                event.get("call_id")
                for event in bot.events()
                if event.get("event") == "call placed"
            }
        callee.finish()
        (answer,) = callee.answers()
        assert digest_fits(answer)


def digest_fits(answer: str) -> bool:
    """Whether a Proxy-Authorization is that of RFC 2617 with MD5 and qop=auth."""
    found = dict(re.findall(r'(\w+)="?([^",]+)"?', answer))

    def md5(*parts: str) -> str:
        return hashlib.md5(":".join(parts).encode(), usedforsecurity=False).hexdigest()

    secret, method = md5(USER, REALM, PASSWORD), md5("INVITE", found["uri"])
    once = (found["nonce"], found["nc"], found["cnonce"], found["qop"])
    return (found["nonce"], found["response"]) == ("n407", md5(secret, *once, method))


def test_a_wrong_password_and_a_busy_number(tmp_path: Path) -> None:
    require("sipp")
    scenario = Callee().invited().challenge(USER, PASSWORD).refuse(486)
    with SippCallee(scenario, tmp_path, calls=2) as callee:
        wrong = {"uri": callee.uri, "user": USER, "password": "another"}
        with dialling(tmp_path / "wrong", wrong) as bot:
            job = bot.until(bot.order(), "done")
            assert (job["outcome"], job["status"]) == ("refused", 403)
        right = {"uri": callee.uri, "user": USER, "password": PASSWORD}
        with dialling(tmp_path / "right", right) as bot:
            job = bot.until(bot.order(), "done")
            assert (job["outcome"], job["status"]) == ("busy", 486)
        callee.finish()


def test_from_one_server_to_another(tmp_path: Path) -> None:
    """Ring, answer, audio, hang-up; and a call that is told to stop while they talk."""
    (tmp_path / "callee").mkdir()
    with BotProcess(BotConfig.free(rtp_pairs=20), tmp_path / "callee") as callee:
        uris = [f"sip:{HOST}:{free_port()};transport=tcp", callee.config.uri("x", "tcp")]
        outbound = {"uri": uris, "max_calls": 5}  # the first cannot be reached
        with dialling(tmp_path / "bot", outbound, workers=1) as bot:
            brief = bot.until(bot.order(to="echo"), "done")
            assert (brief["outcome"], brief["detail"]) == ("answered", "bot-hung-up"), brief
            assert bot.until(bot.order(to="nobody"), "done")["outcome"] == "invalid"
            talking = bot.order(to="echo", agent="echo")
            assert bot.until(talking, "talking")["call_id"]
            bot.api.delete(f"/api/jobs/{talking}")
            stopped = bot.until(talking, "done")
            assert (stopped["outcome"], stopped["detail"]) == ("answered", "bot-hung-up")
            slow = bot.order(to="slow", ring_s=1)
            assert bot.until(slow, "done")["outcome"] == "no-answer"


def test_a_campaign_outlives_its_server(tmp_path: Path) -> None:
    """Started from the command line; the server is ended in the middle, another one goes on."""
    from typer.testing import CliRunner

    from sipbot.cli.main import app

    (tmp_path / "callee").mkdir()
    numbers = tmp_path / "numbers.csv"
    people = [f"+9198123456{at}" for at in range(10, 30)]
    numbers.write_text("number,name\n" + "".join(f"{one},n\n" for one in people) + "nobody,c\n")

    def campaign(bot: Dialling, *words: str) -> str:
        result = CliRunner().invoke(app, ["campaign", *words, "-c", str(bot.path)])
        assert result.exit_code == 0, result.output
        return result.output

    def until(bot: Dialling, text: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while text not in (told := campaign(bot, "status", "c")):
            assert time.monotonic() < deadline, told
            pass_time(0.1)

    with BotProcess(BotConfig.free(rtp_pairs=20), tmp_path / "callee") as callee:
        outbound = {"uri": callee.config.uri("x", "tcp")}
        with dialling(tmp_path / "bot", outbound, workers=1) as first:
            options = ("--agent", "brief", "--trunk", "t")
            campaign(first, "load", "c", str(numbers), *options, "--max-calls", "1")
            campaign(first, "start", "c")
            until(first, "answered")
        assert "waiting" in campaign(first, "status", "c")
        with dialling(tmp_path / "bot", outbound) as second:
            campaign(second, "load", "c", str(numbers), *options)  # without a bound of its own
            until(second, "finished")
            rows = campaign(second, "results", "c").splitlines()
        called = sorted(
            event["callee"] for event in callee.events() if event.get("event") == "call received"
        )
    outcomes = [row.split(",")[3] for row in rows[1:]]
    assert outcomes == [*["answered"] * len(people), "invalid"]
    assert len(called) == len(people)  # nobody twice


# --- calls that Exotel makes for us


class FakeApi(Program):
    """The stand-in of Exotel's REST interfaces, as a program of its own."""

    def __init__(self) -> None:
        self.port = free_port()
        super().__init__(
            [sys.executable, "-m", "sipbot.testing.exotel_api", "--port", str(self.port)]
        )

    def start(self) -> FakeApi:
        super().start()
        wait_bound(self.port, WAIT_S, "tcp")
        return self

    def outbound(self, **way: str) -> dict[str, Any]:
        keys = {"account_sid": "acme1", "api_key": "key1", "api_token": "token1"}
        api = {**keys, "base_url": f"http://{HOST}:{self.port}", **way}
        return {"caller_id": "08040001234", "api": api}


def asked(bot: Dialling, id_: str) -> dict[str, Any]:
    """The job, once Exotel has been asked and told its CallSid."""
    deadline = time.monotonic() + WAIT_S
    while not (job := bot.job(id_))["call_sid"]:
        assert time.monotonic() < deadline, job
        pass_time(0.05)
    return job


def test_exotel_dials_and_the_answered_call_comes_by_sip(tmp_path: Path) -> None:
    """The route leads to an agent that never hangs up; that of the job does."""
    require("sipp")
    with (
        FakeApi() as api,
        dialling(tmp_path / "bot", api.outbound(app_id="4711"), workers=1) as bot,
    ):
        job = asked(bot, bot.order(via="api", parameters={"name": "Asha"}))
        header = f"X-Exotel-CallSid: {job['call_sid']}"
        scenario = Scenario("echo").invite(headers=(header,)).answered().ack().incoming("BYE")
        run(scenario, tmp_path, bot.config.sip_port)
        done = bot.until(job["id"], "done")
        assert (done["outcome"], done["detail"]) == ("answered", "bot-hung-up")
        assert done["call_sid"] == job["call_sid"]
        ended = [one for one in bot.events() if one.get("event") == "call ended"]
        assert [(one["call_id"], one["agent"]) for one in ended] == [(done["call_id"], "brief")]


def test_exotel_dials_and_the_answered_call_comes_as_a_stream(tmp_path: Path) -> None:
    """The URL that Exotel was given holds agent and job; its CallSid may be another."""
    with FakeApi() as api:
        outbound = api.outbound(stream_url="ws://bot.example/exotel/voicebot")
        with dialling(tmp_path / "bot", outbound) as bot:
            job = asked(bot, bot.order(via="api"))
            path = f"/exotel/voicebot/brief/job/{job['id']}"

            async def stream() -> None:
                line = await Exotel.dial(f"ws://{HOST}:{bot.http_port}{path}")
                line.start(call_sid="another")
                await line.end()

            asyncio.run(stream())
            done = bot.until(job["id"], "done")
    assert (done["outcome"], done["detail"]) == ("answered", "bot-hung-up")
    assert done["call_sid"] == "another"
