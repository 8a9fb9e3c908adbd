"""A real server under load: it refuses, says so everywhere, and takes calls again."""

from __future__ import annotations

import json
import os
import signal
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.interop.ports import HOST, free_port
from tests.interop.wire import Caller, Line
from tests.processes.kit import Server, kill, until

AGENTS = {
    name: {"type": "python", "entry": f"tests.processes.load_agents:{name.capitalize()}"}
    for name in ("burns", "stalls", "waits")
}
NOTICE_S = 15.0  # on a busy machine
DECOY_PORT = 40_000  # nobody listens to the audio

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]


class Loaded(Server):
    """A server with a limit that is easily reached."""

    def __init__(self, directory: Path, workers: int, limits: dict[str, Any], **extra: Any) -> None:
        self.http_port = free_port()
        super().__init__(
            directory,
            workers=workers,
            agents=AGENTS,
            routes=[{"to": name, "agent": name} for name in AGENTS],
            limits={"retry_after_s": 13, **limits},
            http={"listen": f"http://{HOST}:{self.http_port}"},
            **extra,
        )

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(
                f"http://{HOST}:{self.http_port}{path}", timeout=5
            ) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def ready(self) -> bool:
        return self.get("/ready")[0] == 200

    def reasons(self) -> list[str]:
        reasons: list[str] = json.loads(self.get("/ready")[1])["reasons"]
        return reasons

    def metric(self, sample: str) -> float:
        """Value of one sample, 0 when it is not there."""
        lines = self.get("/metrics")[1].splitlines()
        return next((float(one.split()[-1]) for one in lines if one.startswith(sample + " ")), 0)


def options(line: Line, server: Server) -> int:
    caller = Caller(line, "anybody", server.config.sip_port)
    line.send(caller.request("OPTIONS"))
    return caller.answer(method="OPTIONS").status


def refused(line: Line, server: Server) -> bool:
    """Whether one more call is turned away as it should be."""
    caller = Caller(line, "waits", server.config.sip_port)
    caller.invite(DECOY_PORT)
    heard = caller.answer()
    caller.ack(failure=True)
    return (heard.status, heard.get("retry-after")) == (503, "13")


@pytest.mark.parametrize(
    ("workers", "user", "limits", "rule"),
    [
        (0, "burns", {"max_cpu_percent": 35, "max_tick_lateness_ms": None}, "cpu"),
        (1, "burns", {"max_cpu_percent": 35, "max_tick_lateness_ms": None}, "cpu"),
        (0, "stalls", {"max_cpu_percent": None, "max_tick_lateness_ms": 60}, "tick-lateness"),
    ],
)
def test_overload_is_refused_until_it_is_over(
    tmp_path: Path, workers: int, user: str, limits: dict[str, Any], rule: str
) -> None:
    with Loaded(tmp_path, workers, limits) as server, Line(server.config.sip_port) as line:
        until(server.ready, NOTICE_S, "ready")
        assert options(line, server) == 200
        heavy = Caller(line, user, server.config.sip_port)
        heavy.establish(DECOY_PORT)
        until(lambda: not server.ready(), NOTICE_S, "overload noticed")
        assert server.reasons() == [rule]
        assert refused(line, server)
        assert options(line, server) == 503
        refusals = f'sipbot_refused_total{{rule="{rule}"}}'
        until(lambda: server.metric(refusals) == 1, NOTICE_S, "refusal in the metrics")
        assert server.metric(f'sipbot_not_ready{{rule="{rule}"}}') == 1
        heavy.hangup()
        until(server.ready, NOTICE_S, "overload over")
        assert options(line, server) == 200
        light = Caller(line, "waits", server.config.sip_port)
        light.establish(DECOY_PORT)
        light.hangup()
    assert [one["rule"] for one in server.of("call refused")] == [rule]
    changes = [*server.of("no new calls for now"), *server.of("new calls again")]
    assert [one["rule"] for one in changes] == [rule, rule]


def test_drain_is_told_by_http_until_the_end(tmp_path: Path) -> None:
    with (
        Loaded(tmp_path, 1, {}, call={"drain_s": 30}) as server,
        Line(server.config.sip_port) as line,
    ):
        until(server.ready, NOTICE_S, "ready")
        caller = Caller(line, "waits", server.config.sip_port)
        caller.establish(DECOY_PORT)
        until(lambda: server.metric('sipbot_active_calls{state="answered"}') == 1, NOTICE_S, "call")
        server.may_end = True
        os.kill(server.pid, signal.SIGTERM)
        until(lambda: not server.ready(), NOTICE_S, "drain in /ready")
        assert server.reasons() == ["shutting-down"]
        assert server.get("/health")[0] == 200
        caller.hangup()
        assert server.wait_exit(NOTICE_S) == 0


def test_a_dead_worker_is_no_reason_and_a_dead_edge_is_one(tmp_path: Path) -> None:
    with Loaded(tmp_path, 2, {}) as server:
        until(server.ready, NOTICE_S, "ready")
        assert server.metric("sipbot_rtp_ports") > 0
        assert server.metric('sipbot_process_resident_bytes{process="edge"}') > 1_000_000
        server.troubles_expected = True
        kill(server.child("edge_main")[0])
        until(lambda: server.reasons() == ["no-edge"], NOTICE_S, "dead edge in /ready")
        assert server.get("/health")[0] == 200
        until(server.ready, 2 * NOTICE_S, "ready again")
