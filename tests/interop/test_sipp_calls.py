"""SIPp calls the server: set-up, tear-down, refusals and changes in a dialog, over UDP and TCP."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from tests.peers import require

from .harness import BotConfig, BotProcess
from .sipp import OFFER, Scenario, offer, run
from .wire import Caller, Line

pytestmark = pytest.mark.interop

Transport = Literal["udp", "tcp"]
BOTH = pytest.mark.parametrize("transport", ["udp", "tcp"])
ECHO_ANSWER = "m=audio [0-9]+ RTP/AVP 8 96"


@pytest.fixture(autouse=True)
def _needs_sipp() -> None:
    require("sipp")


def call(
    scenario: Scenario, bot: BotProcess, directory: Path, transport: Transport = "udp"
) -> None:
    run(scenario, directory, bot.config.sip_port, transport)


@BOTH
def test_basic_call(bot: BotProcess, tmp_path: Path, transport: Transport) -> None:
    scenario = Scenario("echo").invite().answered(body_matches=ECHO_ANSWER).ack().pause(300)
    call(scenario.bye(), bot, tmp_path, transport)


@BOTH
def test_many_calls_one_after_the_other(
    bot: BotProcess, tmp_path: Path, transport: Transport
) -> None:
    scenario = Scenario("echo").invite().answered().ack().pause(50).bye()
    run(scenario, tmp_path, bot.config.sip_port, transport, calls=20)


@BOTH
def test_trying_comes_first(bot: BotProcess, tmp_path: Path, transport: Transport) -> None:
    scenario = Scenario("slow").invite().response(100).response(180, matches={"To": ";tag="})
    call(scenario.response(200).ack().bye(), bot, tmp_path, transport)


@BOTH
def test_cancel_while_it_rings(bot: BotProcess, tmp_path: Path, transport: Transport) -> None:
    branch = "z9hG4bK-[pid]-[call_number]-cancelled"
    scenario = Scenario("slow").invite(branch=branch).response(100).response(180)
    scenario.request("CANCEL", cseq=scenario.cseq, branch=branch).response(200).response(487)
    call(scenario.ack_failure(), bot, tmp_path, transport)


def test_repeated_invite_is_one_call(bot: BotProcess, tmp_path: Path) -> None:
    branch = "z9hG4bK-[pid]-[call_number]-twice"
    scenario = Scenario("slow").invite(branch=branch).response(100).response(180)
    scenario.request("INVITE", body=OFFER, branch=branch, cseq=scenario.cseq)
    call(scenario.response(200).ack().pause(200).bye(), bot, tmp_path)


@BOTH
def test_hold_and_resume(bot: BotProcess, tmp_path: Path, transport: Transport) -> None:
    scenario = Scenario("echo").invite().answered().ack().pause(200)
    scenario.invite(offer(version=2, direction="sendonly"), in_dialog=True)
    scenario.answered(body_matches="a=recvonly").ack().pause(200)
    scenario.invite(offer(version=3, direction="inactive"), in_dialog=True)
    scenario.answered(body_matches="a=inactive").ack().pause(200)
    scenario.invite(offer(version=4), in_dialog=True)
    scenario.answered(body_matches="a=sendrecv").ack().pause(200)
    call(scenario.bye(), bot, tmp_path, transport)


@BOTH
def test_offerless_invite(bot: BotProcess, tmp_path: Path, transport: Transport) -> None:
    scenario = Scenario("echo").invite("").answered(body_matches="m=audio [0-9]+ RTP/AVP 8 0 101")
    answer = offer(formats="8 101").replace("a=rtpmap:96", "a=rtpmap:101")
    scenario.ack(body=answer.replace("a=fmtp:96", "a=fmtp:101")).pause(300)
    call(scenario.bye(), bot, tmp_path, transport)


def test_offerless_reinvite(bot: BotProcess, tmp_path: Path) -> None:
    scenario = Scenario("echo").invite().answered().ack().pause(200)
    scenario.invite("", in_dialog=True).answered(body_matches="m=audio [0-9]+ RTP/AVP 8")
    call(scenario.ack(body=offer(version=2)).pause(200).bye(), bot, tmp_path)


def test_update_changes_direction(bot: BotProcess, tmp_path: Path) -> None:
    scenario = Scenario("echo").invite().answered().ack().pause(200)
    body = offer(version=2, direction="sendonly")
    scenario.request("UPDATE", in_dialog=True, body=body).answered(body_matches="a=recvonly")
    scenario.request("UPDATE", in_dialog=True).response(200)
    call(scenario.bye(), bot, tmp_path)


def test_unacceptable_reoffer_leaves_the_call_alone(bot: BotProcess, tmp_path: Path) -> None:
    scenario = Scenario("echo").invite().answered().ack().pause(200)
    scenario.invite(offer(version=2, formats="18"), in_dialog=True)
    scenario.ringing().response(488).ack_failure().pause(200)
    scenario.invite(offer(version=3), in_dialog=True).answered().ack()
    call(scenario.bye(), bot, tmp_path)


def test_session_interval_too_small(bot: BotProcess, tmp_path: Path) -> None:
    scenario = Scenario("echo").invite(headers=("Supported: timer", "Session-Expires: 30"))
    scenario.ringing().response(422, matches={"Min-SE": "[0-9]+"}).ack_failure()
    call(scenario, bot, tmp_path)


def test_session_timer_is_granted(bot: BotProcess, tmp_path: Path) -> None:
    scenario = Scenario("echo").invite(headers=("Supported: timer", "Session-Expires: 1800"))
    scenario.answered(matches={"Session-Expires": "1800;refresher=uac", "Require": "timer"}).ack()
    call(scenario.bye(), bot, tmp_path)


@BOTH
def test_options(bot: BotProcess, tmp_path: Path, transport: Transport) -> None:
    wanted = {"Allow": "INVITE", "Accept": "application/sdp", "Supported": ".*"}
    call(
        Scenario("echo").request("OPTIONS").response(200, matches=wanted), bot, tmp_path, transport
    )


def refused(status: int, scenario: Scenario, **checks: dict[str, str]) -> Scenario:
    return scenario.ringing().response(status, **checks).ack_failure()  # type: ignore[arg-type]


@BOTH
def test_unknown_number(bot: BotProcess, tmp_path: Path, transport: Transport) -> None:
    call(refused(404, Scenario("nobody").invite()), bot, tmp_path, transport)


def test_method_not_allowed(bot: BotProcess, tmp_path: Path) -> None:
    scenario = Scenario("echo").request("SUBSCRIBE", headers=("Event: presence",))
    call(scenario.response(405, matches={"Allow": "INVITE"}), bot, tmp_path)


def test_unknown_method(bot: BotProcess, tmp_path: Path) -> None:
    call(Scenario("echo").request("BREW").response(501), bot, tmp_path)


def test_body_that_is_no_session_description(bot: BotProcess, tmp_path: Path) -> None:
    scenario = Scenario("echo").invite("hello\n", content_type="text/plain")
    call(refused(415, scenario, matches={"Accept": "application/sdp"}), bot, tmp_path)


def test_required_extension(bot: BotProcess, tmp_path: Path) -> None:
    scenario = Scenario("echo").invite(headers=("Require: 100rel, nothingwehave",))
    call(refused(420, scenario, matches={"Unsupported": "nothingwehave"}), bot, tmp_path)


@BOTH
def test_unknown_codec(bot: BotProcess, tmp_path: Path, transport: Transport) -> None:
    scenario = refused(488, Scenario("echo").invite(offer(formats="18")))
    call(scenario, bot, tmp_path, transport)


def test_bye_for_no_call(bot: BotProcess, tmp_path: Path) -> None:
    call(Scenario("echo").request("BYE", headers=()).response(481), bot, tmp_path)


def test_full_house(tmp_path: Path) -> None:
    config = BotConfig.free(limits={"max_calls": 1})
    full = refused(503, Scenario("echo").invite(), matches={"Retry-After": "[0-9]+"})
    with BotProcess(config, tmp_path) as bot, Line(config.sip_port) as line:
        first = Caller(line, "echo", config.sip_port)
        first.establish(media_port=40_000)
        call(full, bot, tmp_path)
        first.hangup()
        call(Scenario("echo").invite().answered().ack().bye(), bot, tmp_path)


def test_keys_arrive_once_each(bot: BotProcess, tmp_path: Path, keys_file: Path) -> None:
    keys_file.write_text("")
    scenario = Scenario("keys").invite().answered().ack().pause(200).press("0123456789*#")
    call(scenario.pause(6500).bye(), bot, tmp_path)
    assert keys_file.read_text().split() == list("0123456789*#")
