"""What networks and proxies do but phones do not: lost ACKs, new connections, repeats."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from .harness import BotConfig, BotProcess
from .ports import HOST
from .process import Program
from .wire import Caller, Heard, Line, audio_offer

pytestmark = pytest.mark.interop

_PATIENCE_S = 6.0
DRAIN_S = 8.0  # how long the server of its own lets calls finish after SIGTERM


@pytest.fixture
def media_port() -> Iterator[int]:
    """A bound UDP port, so that the bot's audio has somewhere to go."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as media:
        media.bind((HOST, 0))
        yield int(media.getsockname()[1])


def caller(bot: BotProcess, line: Line, user: str = "echo") -> Caller:
    port = bot.config.tls_port if line.transport == "tls" else bot.config.sip_port
    return Caller(line, user, port)


def open_line(bot: BotProcess, transport: str) -> Line:
    if transport == "udp":
        return Line(bot.config.sip_port)
    if transport == "tcp":
        return Line(bot.config.sip_port, "tcp")
    return Line(bot.config.tls_port, "tls")


ALL = pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])


@ALL
def test_lost_ack_repeats_the_answer(bot: BotProcess, media_port: int, transport: str) -> None:
    """RFC 3261 13.3.1.4: the 2xx is repeated until the ACK, on every transport."""
    with open_line(bot, transport) as line:
        call = caller(bot, line)
        call.invite(media_port)
        first = call.answer()
        start = time.monotonic()
        again = [call.answer(_PATIENCE_S), call.answer(_PATIENCE_S)]
        took = time.monotonic() - start
        assert {h.status for h in (first, *again)} == {200}
        assert {h.to_tag for h in (first, *again)} == {first.to_tag}
        assert {h.body for h in (first, *again)} == {first.body}
        assert took == pytest.approx(1.5, abs=0.4)  # seconds: T1, then 2*T1
        call.ack()
        call.ack()  # a repeated ACK is harmless
        assert line.receive(2.5) is None
        call.hangup()


@ALL
def test_repeated_invite_gets_the_same_answer(
    bot: BotProcess, media_port: int, transport: str
) -> None:
    with open_line(bot, transport) as line:
        call = caller(bot, line, "slow")
        sent = call.invite(media_port)
        line.send(sent)
        seen: list[Heard] = []
        while not any(h.status >= 200 for h in seen):
            heard = line.receive(_PATIENCE_S)
            assert heard is not None, [h.first for h in seen]
            seen.append(heard)
        assert len({h.to_tag for h in seen if h.to_tag}) == 1
        call.to_tag, call.target = seen[-1].to_tag, seen[-1].contact
        call.ack()
        call.hangup()


def test_bye_on_a_new_connection(bot: BotProcess, media_port: int) -> None:
    """Exotel's proxies send BYE for a call on another TCP connection than the INVITE's."""
    with open_line(bot, "tcp") as first, open_line(bot, "tcp") as second:
        call = caller(bot, first)
        call.establish(media_port)
        call.line = second
        call.hangup()


def test_invite_connection_closed_and_bye_on_a_new_one(bot: BotProcess, media_port: int) -> None:
    with open_line(bot, "tcp") as first:
        call = caller(bot, first)
        call.establish(media_port)
    with open_line(bot, "tcp") as second:
        call.line = second
        call.hangup()


def test_ack_and_bye_may_change_transport(bot: BotProcess, media_port: int) -> None:
    with open_line(bot, "tcp") as first, open_line(bot, "udp") as second:
        call = caller(bot, first)
        call.invite(media_port)
        assert call.answer().status == 200
        call.line = second
        call.ack()
        call.hangup()


@ALL
def test_cancel(bot: BotProcess, media_port: int, transport: str) -> None:
    with open_line(bot, transport) as line:
        call = caller(bot, line, "slow")
        call.invite(media_port)
        while (heard := line.receive(_PATIENCE_S)) is not None and heard.status != 180:
            assert heard.status == 100
        line.send(call.request("CANCEL", cseq=call.invite_cseq, branch=call.invite_branch))
        finals = {h.method: h for h in (line.receive(_PATIENCE_S), line.receive(_PATIENCE_S)) if h}
        assert finals["CANCEL"].status == 200
        assert finals["INVITE"].status == 487
        assert finals["CANCEL"].to_tag == finals["INVITE"].to_tag
        call.to_tag = finals["INVITE"].to_tag
        call.ack(failure=True)
        assert line.receive(1.5) is None  # the 487 is not repeated


@ALL
def test_rport_and_received(bot: BotProcess, transport: str) -> None:
    """RFC 3581: the answer names the address that the request really came from."""
    with open_line(bot, transport) as line:
        call = caller(bot, line)
        line.send(call.request("OPTIONS"))
        via = call.answer(method="OPTIONS").get("via")
        assert f"rport={line.local_port}" in via
        assert f"received={HOST}" in via


def test_out_of_order_cseq(bot: BotProcess, media_port: int) -> None:
    """RFC 3261 12.2.2: a lower CSeq in a dialog is 500, and the call stays."""
    with open_line(bot, "udp") as line:
        call = caller(bot, line)
        call.establish(media_port)
        line.send(call.request("OPTIONS", cseq=0))
        assert call.answer(method="OPTIONS").status == 500
        call.hangup()


def test_missing_mandatory_header_is_answered_with_400(bot: BotProcess) -> None:
    """RFC 3261 8.1.1 and 21.4.1: the reason phrase may name what is wrong; nothing breaks."""
    with open_line(bot, "udp") as line:
        call = caller(bot, line)
        line.send(call.request("OPTIONS", headers=("CSeq: 5 INVITE",), drop=("CSeq",)))
        heard = line.receive(_PATIENCE_S)
        assert heard is not None
        assert heard.status == 400
        line.send(call.request("OPTIONS"))
        assert call.answer(method="OPTIONS").status == 200


def test_keep_alive_ping(bot: BotProcess) -> None:
    """RFC 5626 4.4.1: double CRLF is answered with a single one."""
    with closing(socket.create_connection((HOST, bot.config.sip_port), 5.0)) as stream:
        stream.sendall(b"\r\n\r\n")
        assert stream.recv(16) == b"\r\n"


def test_one_byte_at_a_time(bot: BotProcess) -> None:
    with open_line(bot, "tcp") as line:
        call = caller(bot, line)
        for byte in call.request("OPTIONS"):
            line.send(bytes([byte]))
        assert call.answer(method="OPTIONS").status == 200


def test_two_requests_in_one_segment(bot: BotProcess) -> None:
    with open_line(bot, "tcp") as line:
        call = caller(bot, line)
        line.send(call.request("OPTIONS") + call.request("OPTIONS"))
        numbers = [call.answer(method="OPTIONS").get("cseq") for _ in range(2)]
        assert numbers == ["1 OPTIONS", "2 OPTIONS"]


def test_merged_request_is_482(bot: BotProcess, media_port: int) -> None:
    """RFC 3261 8.2.2.2: the same request by two paths is one call and one 482."""
    with open_line(bot, "udp") as line:
        call = caller(bot, line)
        call.invite(media_port)
        line.send(call.request("INVITE", body=audio_offer(media_port), cseq=call.invite_cseq))
        finals: dict[int, Heard] = {}
        while len(finals) < 2:
            heard = line.receive(_PATIENCE_S)
            assert heard is not None, list(finals)
            if heard.status >= 200:
                finals[heard.status] = heard
        assert set(finals) == {200, 482}
        call.to_tag, call.target = finals[200].to_tag, finals[200].contact
        call.ack()
        call.hangup()


@pytest.fixture
def own_bot(tmp_path: Path) -> Iterator[BotProcess]:
    """A server that the test itself stops."""
    server = BotProcess(BotConfig.free(call={"drain_s": DRAIN_S}), tmp_path).start()
    try:
        yield server
    finally:
        Program.stop(server)


def test_drain_refuses_new_calls_and_lets_the_others_finish(
    own_bot: BotProcess, media_port: int
) -> None:
    with open_line(own_bot, "udp") as line, open_line(own_bot, "tcp") as other:
        call, late = caller(own_bot, line), caller(own_bot, other)
        call.establish(media_port)
        os.kill(own_bot.pid, signal.SIGTERM)
        own_bot.wait_line("draining", _PATIENCE_S)
        late.invite(media_port)
        refusal = late.answer()
        assert refusal.status == 503
        assert int(refusal.get("retry-after").split()[0]) > 0
        late.to_tag = refusal.to_tag
        late.ack(failure=True)
        probe = caller(own_bot, other)
        other.send(probe.request("OPTIONS"))
        assert probe.answer(method="OPTIONS").status == 503
        call.hangup()
    assert own_bot.wait_exit(_PATIENCE_S) == 0
    assert own_bot.troubles() == []


@pytest.mark.timeout(DRAIN_S + 60)
def test_drain_ends_calls_at_its_deadline(own_bot: BotProcess, media_port: int) -> None:
    with open_line(own_bot, "udp") as line:
        call = caller(own_bot, line)
        call.establish(media_port)
        os.kill(own_bot.pid, signal.SIGTERM)
        bye = call.incoming("BYE", DRAIN_S + 10.0)
        assert bye.get("call-id") == call.call_id
    assert own_bot.wait_exit(_PATIENCE_S) == 0
    assert own_bot.troubles() == []
