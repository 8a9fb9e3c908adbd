"""SIGTERM drains; SIGHUP reloads for new calls, or refuses the file as a whole."""

from __future__ import annotations

import os
import signal
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.interop.certificates import self_signed
from tests.interop.harness import pass_time
from tests.interop.ports import HOST
from tests.interop.wire import Caller, Line

from .kit import AGENTS, Server, kill, serving, until

pytestmark = pytest.mark.process

SPARE_S = 2.0  # for goodbyes, on a busy machine


def refused(server: Server) -> int:
    """The status that a new call gets."""
    with Line(server.config.sip_port) as line:
        call = Caller(line, "echo", server.config.sip_port)
        call.invite(40_000)
        answer = call.answer()
        call.ack(failure=True)
    return answer.status


def rewrite(server: Server, **changes: Any) -> None:
    """Change the configuration file and ask for a reload."""
    document = yaml.safe_load(server.path.read_text())
    server.path.write_text(yaml.safe_dump({**document, **changes}, sort_keys=False))
    os.kill(server.pid, signal.SIGHUP)


@pytest.mark.parametrize("workers", [0, 1])
def test_draining_lets_calls_finish_and_refuses_new_ones(tmp_path: Path, workers: int) -> None:
    with serving(tmp_path, workers=workers, call={"drain_s": 20}) as (server, phones):
        echo = phones.dial("echo")
        pass_time(0.3)
        server.may_end = True
        os.kill(server.pid, signal.SIGTERM)
        until(lambda: server.count("draining"), 2.0, "draining")
        pass_time(0.2)
        assert refused(server) == 503
        pass_time(0.5)
        assert echo.lost() == []
        assert server.alive
        echo.hangup()
        assert server.wait_exit(SPARE_S + 3) == 0


def test_at_the_deadline_calls_are_hung_up(tmp_path: Path) -> None:
    with serving(tmp_path, workers=1, call={"drain_s": 1}) as (server, phones):
        echo = phones.dial("echo")
        server.may_end = True
        os.kill(server.pid, signal.SIGTERM)
        told = time.monotonic()
        assert 0.8 < echo.wait_bye(1 + SPARE_S) - told < 1 + SPARE_S
        assert server.wait_exit(SPARE_S + 3) == 0
    assert server.of("call ended")[0]["reason"] == "shutdown"


def test_a_second_signal_ends_calls_at_once(tmp_path: Path) -> None:
    with serving(tmp_path, workers=1, call={"drain_s": 60}) as (server, phones):
        echo = phones.dial("echo")
        server.may_end = True
        os.kill(server.pid, signal.SIGTERM)
        until(lambda: server.count("draining") == 2, 2.0, "draining")
        os.kill(server.pid, signal.SIGTERM)
        echo.wait_bye(SPARE_S)
        assert server.wait_exit(SPARE_S + 3) == 0


def test_a_stop_signal_to_every_process_drains_as_well(tmp_path: Path) -> None:
    with serving(tmp_path, workers=1, call={"drain_s": 20}) as (server, phones):
        echo = phones.dial("echo")
        server.may_end = True
        for pid in (*server.children(), server.pid):
            os.kill(pid, signal.SIGTERM)
        pass_time(1.0)
        assert echo.lost() == []
        echo.hangup()
        assert server.wait_exit(SPARE_S + 3) == 0


@pytest.mark.parametrize("workers", [0, 2])
def test_a_reload_is_for_new_calls_only(tmp_path: Path, workers: int) -> None:
    with serving(tmp_path, workers=workers) as (server, phones):
        old = phones.dial("echo")
        pass_time(0.3)
        rewrite(
            server, routes=[{"to": "other", "agent": "echo"}, {"to": "quiet", "agent": "quiet"}]
        )
        until(lambda: server.count("reloaded"), 15.0, "the reload")
        assert refused(server) == 404
        new = phones.dial("other")
        pass_time(0.5)
        assert old.lost() + new.lost() == []
        assert len(new.codes()) > 10
        workers_before = len(server.child("worker_main"))
        old.hangup()
        if workers:
            until(lambda: server.count("worker retired") == workers, 5.0, "old workers gone")
            assert workers_before > len(server.child("worker_main")) == workers
        pass_time(0.2)
        assert new.lost() == []
        new.hangup()


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"limits": {"max_cals": 5}}, "max_cals"),
        ({"agents": {**AGENTS, "echo": {"type": "python", "entry": "no.such:Agent"}}}, "no.such"),
        ({"sip": {"tls": {"certificate": "c", "private_key": "k"}}}, "certificate"),
    ],
    ids=["unknown-key", "agent", "certificate"],
)
def test_a_wrong_file_is_refused_as_a_whole(
    tmp_path: Path, workers: int, changes: dict[str, Any], named: str
) -> None:
    (tmp_path / "c").write_text("no certificate")
    (tmp_path / "k").write_text("no key")
    with serving(tmp_path, workers=workers) as (server, phones):
        server.troubles_expected = True
        old = phones.dial("echo")
        rewrite(server, routes=[{"agent": "quiet"}], **changes)
        until(lambda: server.count("reload refused"), 15.0, "the refusal")
        assert named in str(server.of("reload refused")[0]["problems"])
        new = phones.dial("echo")
        pass_time(0.5)
        assert old.lost() + new.lost() == []
        assert len(new.codes()) > 10
        assert len(server.child("worker_main")) == workers


def test_what_a_reload_cannot_change_is_said(tmp_path: Path) -> None:
    with serving(tmp_path, workers=1) as (server, _):
        rewrite(server, sip={"listen": [f"udp://{HOST}:{server.config.tls_port}"]}, workers=2)
        until(lambda: server.count("reloaded"), 15.0, "the reload")
        assert "sip.listen" in server.of("settings wait for a restart")[0]["settings"]
        until(lambda: len(server.child("worker_main")) == 2, 10.0, "one more worker")
        assert refused_is_served(server)


def refused_is_served(server: Server) -> bool:
    """Whether the old listener still answers."""
    with Line(server.config.sip_port) as line:
        call = Caller(line, "echo", server.config.sip_port)
        line.send(call.request("OPTIONS"))
        return call.answer(method="OPTIONS").status == 200


@pytest.mark.parametrize("workers", [0, 1])
def test_certificates_change_for_new_connections_only(tmp_path: Path, workers: int) -> None:
    first, second = (made_in(tmp_path / name) for name in ("one", "two"))
    with serving(tmp_path, workers=workers, **{"sip.tls": first}) as (server, _):
        before = shown(server)
        with Line(server.config.tls_port, "tls") as line:
            call = Caller(line, "echo", server.config.tls_port)
            document = yaml.safe_load(server.path.read_text())
            rewrite(server, sip={**document["sip"], "tls": second})
            until(lambda: server.count("reloaded"), 15.0, "the reload")
            line.send(call.request("OPTIONS"))
            assert call.answer(method="OPTIONS").status == 200
        assert shown(server) != before


def made_in(directory: Path) -> dict[str, str]:
    directory.mkdir()
    pem = str(self_signed(directory))
    return {"certificate": pem, "private_key": pem}


def shown(server: Server) -> str:
    """The certificate of a new connection."""
    return ssl.get_server_certificate((HOST, server.config.tls_port))


def test_a_reload_outlives_the_edge(tmp_path: Path) -> None:
    with serving(tmp_path, workers=1) as (server, phones):
        server.troubles_expected = True
        rewrite(server, routes=[{"to": "other", "agent": "echo"}])
        until(lambda: server.count("reloaded"), 15.0, "the reload")
        kill(server.child("edge_main")[0])
        until(lambda: server.count("edge restarted"), 15.0, "a new edge")
        assert refused(server) == 404
        phones.dial("other").hangup()
