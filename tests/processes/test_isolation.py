"""What happens in one worker costs no call of another a packet."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.interop.harness import pass_time
from tests.interop.wire import Caller, Line

from .kit import Phones, Server, alive, kill, serving, until

pytestmark = pytest.mark.process

LISTEN_S = 3.0
LATE_S = 0.4  # on a machine that many share; the other worker blocks for 1 s
BYE_S = 2.0


@pytest.mark.parametrize("trouble", ["blocks", "raises", "dies", "leaks"])
def test_the_other_workers_call_loses_nothing(tmp_path: Path, trouble: str) -> None:
    limits = {"worker_memory_mb": 200} if trouble == "leaks" else {}
    with serving(tmp_path, limits=limits) as (server, phones):
        server.troubles_expected = trouble != "blocks"
        echo = phones.dial("echo")
        pass_time(0.5)
        phones.dial(trouble)
        pass_time(LISTEN_S)
        echo.hangup()
        assert echo.lost() == []
        assert echo.holes() == 0
        assert echo.longest_gap_s() < LATE_S
        assert len(echo.codes()) > (LISTEN_S + 0.3) / 0.02


def test_a_blocked_worker_gets_no_calls_meanwhile(tmp_path: Path) -> None:
    with serving(tmp_path, limits={"worker_hang_s": 60}) as (server, phones):
        server.troubles_expected = True
        phones.dial("hangs")
        until(lambda: server.count("worker silent"), 5.0, "silence noticed")
        for _ in range(3):
            echo = phones.dial("echo")
        pass_time(0.5)
        assert echo.lost() == []


def test_without_a_healthy_worker_calls_are_refused(tmp_path: Path) -> None:
    with serving(tmp_path, workers=1) as (server, phones):
        server.troubles_expected = True
        phones.dial("hangs")
        until(lambda: server.count("worker silent"), 5.0, "silence noticed")
        with Line(server.config.sip_port) as line:
            call = Caller(line, "echo", server.config.sip_port)
            call.invite(40_000)
            answer = call.answer()
            call.ack(failure=True)
        assert answer.status == 503
        assert answer.get("retry-after")
        until(lambda: server.count("call refused"), 5.0, "the refusal in the log")
        assert server.of("call refused")[0]["rule"] == "no-worker"


def test_a_dead_workers_caller_hears_an_apology_and_the_worker_is_replaced(tmp_path: Path) -> None:
    with serving(tmp_path, workers=1) as (server, phones):
        server.troubles_expected = True
        victim = phones.dial("quiet")
        pass_time(0.5)
        assert victim.loud_since(0.0) == 0
        died = kill(server.child("worker_main")[0])
        gone = victim.wait_bye(BYE_S)
        assert gone - died < BYE_S
        assert victim.loud_since(died) > 30  # most of a second of speech
        until(lambda: server.count("worker started") == 2, 10.0, "a new worker")
        until(lambda: server.count("call ended"), 2.0, "the record of the call")
        ended = server.of("call ended")[0]
        assert (ended["reason"], ended["detail"]) == ("agent-failed", "worker-lost")
        echo = phones.dial("echo")
        pass_time(0.5)
        assert len(echo.codes()) > 15
        echo.hangup()


def test_a_dead_workers_caller_is_transferred(tmp_path: Path) -> None:
    transfer = {"lost_transfer": "sip:front-desk@127.0.0.1", "lost_apology": ""}
    with serving(tmp_path, workers=1, call=transfer) as (server, phones):
        server.troubles_expected = True
        victim = phones.dial("quiet")
        pass_time(0.3)
        kill(server.child("worker_main")[0])
        refer = victim.caller.incoming("REFER", BYE_S)
        assert "sip:front-desk@127.0.0.1" in refer.get("refer-to")


def test_a_worker_that_hangs_is_ended(tmp_path: Path) -> None:
    with serving(tmp_path, workers=1, limits={"worker_hang_s": 2}) as (server, phones):
        server.troubles_expected = True
        victim = phones.dial("hangs")
        victim.wait_bye(8.0)
        assert server.count("worker hangs") == 1
        until(lambda: server.count("worker started") == 2, 10.0, "a new worker")


def test_a_worker_that_grows_is_replaced_and_then_ended(tmp_path: Path) -> None:
    with serving(tmp_path, workers=1, limits={"worker_memory_mb": 200}) as (server, phones):
        server.troubles_expected = True
        victim = phones.dial("leaks")
        victim.wait_bye(15.0)
        until(lambda: server.count("worker started") == 2, 10.0, "a new worker")


def test_nothing_is_left_of_dead_workers(tmp_path: Path) -> None:
    with serving(tmp_path, workers=1) as (server, phones):
        server.troubles_expected = True
        (edge,) = server.child("edge_main")

        def lose_one() -> None:
            victim, started = phones.dial("quiet"), server.count("worker started")
            kill(server.child("worker_main")[0])
            victim.wait_bye(BYE_S + 1)
            until(lambda: server.count("worker started") > started, 15.0, "a new worker")

        lose_one()
        before = [descriptors(pid) for pid in (edge, server.pid)]
        for _ in range(2):
            lose_one()
        # The RTP sockets of ended calls stay in quarantine for a while.
        assert descriptors(edge) - before[0] <= 2 * 2
        assert descriptors(server.pid) <= before[1]


def test_killing_the_supervisor_ends_everything(tmp_path: Path) -> None:
    shared = set(os.listdir("/dev/shm"))
    server = Server(tmp_path)
    server.start()
    with Phones(server) as phones:
        phones.dial("echo")
        children = server.children()
        assert len(children) == 3
        kill(server.pid)
        until(lambda: not any(alive(pid) for pid in children), 3.0, "all processes gone")
        server.wait_exit(5.0)
    assert set(os.listdir("/dev/shm")) <= shared
    with Server(tmp_path) as again:  # the same kind of machine serves again at once
        assert len(again.children()) == 3


def test_a_dead_edge_is_replaced(tmp_path: Path) -> None:
    with serving(tmp_path, workers=1) as (server, phones):
        server.troubles_expected = True
        phones.dial("echo")
        pass_time(0.5)
        old = server.children()
        kill(server.child("edge_main")[0])
        until(lambda: server.count("edge restarted"), 15.0, "a new edge")
        assert server.of("edge ended")[0]["calls_lost"] == 1
        assert not any(alive(pid) for pid in old)
        echo = phones.dial("echo")
        pass_time(0.4)
        assert echo.lost() == []
        assert len(echo.codes()) > 10
        echo.hangup()


def test_a_stopped_edge_catches_up(tmp_path: Path) -> None:
    with serving(tmp_path, workers=1) as (server, phones):
        echo = phones.dial("echo")
        pass_time(0.5)
        (edge,) = server.child("edge_main")
        os.kill(edge, signal.SIGSTOP)
        pass_time(2.0)
        os.kill(edge, signal.SIGCONT)
        pass_time(0.5)
        began = time.monotonic()
        pass_time(0.5)
        assert echo.loud_since(began) > 15
        echo.hangup()


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))
