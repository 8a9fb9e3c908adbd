"""The test equipment that needs no peer program: processes, ports, the plain-socket caller."""

from __future__ import annotations

import socket
import sys
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from .harness import CALM, BotConfig
from .ports import HOST, free_block, wait_bound
from .process import GoneError, Program
from .wire import Caller, Line, audio_offer, take_apart


def python(code: str) -> Program:
    return Program([sys.executable, "-u", "-c", code])


def test_program_lines_of_both_streams_and_exit_code() -> None:
    with python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)") as program:
        assert program.wait_exit(10.0) == 3
    assert sorted(program.lines) == ["err", "out"]


def test_wait_line_sees_what_comes_later() -> None:
    with python("print('one'); print('two 2')") as program:
        assert program.wait_line(r"two \d", 10.0) == "two 2"


def test_wait_line_gives_up_when_the_program_ends() -> None:
    with python("print('only')") as program, pytest.raises(GoneError, match="only"):
        program.wait_line("never", 30.0)


def test_stop_ends_a_program_that_would_run_on() -> None:
    with python("import threading; print('up'); threading.Event().wait()") as program:
        program.wait_line("up", 10.0)
        assert program.stop() < 0  # ended by a signal
    assert not program.alive


def test_free_block_is_free_and_wait_bound_sees_the_owner() -> None:
    port = free_block(4)
    assert port % 2 == 0
    with pytest.raises(TimeoutError):
        wait_bound(port, 0.05)
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as owner:
        owner.bind((HOST, port))
        wait_bound(port, 1.0)


def test_configuration_is_what_the_contract_says() -> None:
    extra = {"limits": {"max_calls": 3}, "media.srtp": "off"}
    config = BotConfig(5070, 5061, range(20_000, 20_020), extra)
    document = yaml.safe_load(yaml.safe_dump(config.document()))
    assert document["sip"]["listen"][0] == "udp://127.0.0.1:5070"
    assert document["media"]["ports"] == "20000-20019"
    assert document["media"]["srtp"] == "off"
    assert document["media"]["codecs"] == ["PCMA", "PCMU"]
    assert document["limits"] == {**CALM, "max_calls": 3}
    assert config.uri("echo", "tls") == "sip:echo@127.0.0.1:5061;transport=tls"


def test_server_accepts_the_test_configuration(tmp_path: Path) -> None:
    from sipbot.ops.load import load

    path = tmp_path / "sipbot.yaml"
    config = BotConfig.free()
    path.write_text(yaml.safe_dump(config.document()))
    assert set(load(path, {}).config.agents) == {*config.document()["agents"]}


def test_take_apart() -> None:
    heard = take_apart(
        b"SIP/2.0 200 OK\r\nVia: a\r\nVIA: b\r\nTo: <sip:x@y>;tag=9z;p\r\nCSeq: 7 INVITE\r\n"
        b"Contact: <sip:bot@h:1;transport=tcp>;q=1\r\n\r\nv=0\r\nm=audio 4002 RTP/AVP 8\r\n"
    )
    assert (heard.status, heard.method, heard.to_tag) == (200, "INVITE", "9z")
    assert heard.all("via") == ["a", "b"]
    assert heard.contact == "sip:bot@h:1;transport=tcp"
    assert heard.media_port == 4002


def test_line_cuts_a_stream_into_messages() -> None:
    with closing(socket.create_server((HOST, 0))) as server:
        port = int(server.getsockname()[1])
        with Line(port, "tcp") as line, closing(server.accept()[0]) as peer:
            message = b"SIP/2.0 200 OK\r\nCSeq: 1 OPTIONS\r\nContent-Length: 4\r\n\r\nbody"
            peer.sendall(message[:20])
            assert line.receive(0.05) is None
            peer.sendall(message[20:] + b"\r\n\r\n" + message)
            first, second = line.receive(2.0), line.receive(2.0)
            assert first is not None
            assert first == second
            assert first.body == "body"
            assert line.receive(0.05) is None


def test_caller_builds_requests_that_add_up() -> None:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as server:
        server.bind((HOST, 0))
        port = int(server.getsockname()[1])
        with Line(port) as line:
            call = Caller(line, "echo", port)
            call.invite(4000)
            heard = take_apart(server.recv(4096))
            assert heard.first == f"INVITE sip:echo@{HOST}:{port} SIP/2.0"
            assert int(heard.get("content-length")) == len(heard.body) == len(audio_offer(4000))
            call.to_tag, call.target = "t", "sip:bot@x"
            call.ack()
            ack = take_apart(server.recv(4096))
            assert ack.first == "ACK sip:bot@x SIP/2.0"
            assert ack.get("cseq") == heard.get("cseq").replace("INVITE", "ACK")
            assert ack.get("via") != heard.get("via")
            call.ack(failure=True)
            assert take_apart(server.recv(4096)).get("via") == heard.get("via")
