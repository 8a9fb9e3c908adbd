"""Calls shaped like Exotel's vSIP: its headers, its Record-Route, its offers, its connections."""

from __future__ import annotations

import base64
import secrets
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Literal

import pytest

from .harness import BotProcess
from .ports import HOST
from .wire import Caller, Heard, Line

pytestmark = pytest.mark.interop

CALLER = "+919800000001"
EXOPHONE = "+918040000000"
# Printed by Exotel with transport=tls even where the call came over TCP.
RECORD_ROUTE = f"<sip:{HOST}:443;transport=tls;lr>"
HEADERS = (
    f"Record-Route: {RECORD_ROUTE}",
    "Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, SUBSCRIBE, NOTIFY, INFO, PUBLISH, MESSAGE",
    "Supported: replaces",
    f"P-Asserted-Identity: <sip:{CALLER}@exotelt.pstn.exotel.com>",
    "P-Early-Media: supported",
    f"X-Exotel-CallSid: {secrets.token_hex(16)}",
    f"X-Exotel-LegSid: {secrets.token_hex(16)}",
    "X-Exotel-TrunkSid: trmum1test",
)


@pytest.fixture
def media_port() -> Iterator[int]:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as media:
        media.bind((HOST, 0))
        yield int(media.getsockname()[1])


def offer(port: int, *, secure: bool) -> str:
    """As in Exotel's samples: PCMA, PCMU, telephone-event 96, and SDES under TLS."""
    key = base64.b64encode(secrets.token_bytes(30)).decode()
    crypto = f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}\r\n" if secure else ""
    return (
        f"v=0\r\no=root 1821 1821 IN IP4 {HOST}\r\ns=call\r\nc=IN IP4 {HOST}\r\nt=0 0\r\n"
        f"m=audio {port} RTP/{'SAVP' if secure else 'AVP'} 8 0 96\r\n"
        "a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:96 telephone-event/8000\r\n"
        f"a=fmtp:96 0-15\r\na=ptime:20\r\na=sendrecv\r\na=rtcp:{port + 1}\r\n{crypto}"
    )


def exotel_caller(bot: BotProcess, line: Line) -> Caller:
    port = bot.config.tls_port if line.transport == "tls" else bot.config.sip_port
    return Caller(line, EXOPHONE, port, caller=CALLER, domain="exotelt.pstn.exotel.com")


def place(call: Caller, media_port: int, *, secure: bool = False) -> Heard:
    call.invite(media_port, body=offer(media_port, secure=secure), headers=HEADERS)
    heard = call.answer()
    assert heard.status == 200, heard.first
    assert heard.all("record-route") == [RECORD_ROUTE]
    call.routes = [RECORD_ROUTE]
    return heard


@pytest.mark.parametrize(("transport", "secure"), [("tcp", False), ("tls", True), ("tls", False)])
def test_inbound_call_is_answered_and_ended_by_the_bot(
    bot: BotProcess, media_port: int, transport: Literal["tcp", "tls"], secure: bool
) -> None:
    port = bot.config.tls_port if transport == "tls" else bot.config.sip_port
    with Line(port, transport) as line:
        call = exotel_caller(bot, line)
        heard = place(call, media_port, secure=secure)
        profile = "SAVP" if secure else "AVP"
        assert f"RTP/{profile} 8 96\r\n" in heard.body
        assert ("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" in heard.body) == secure
        call.ack()
        bye = call.incoming("BYE")
        # RFC 3261 12.2.1.1: loose routing keeps the target in the Request-URI.
        assert bye.all("route") == [RECORD_ROUTE]
        assert bye.first.startswith(f"BYE sip:wire@{HOST}:{line.local_port}")
        assert bye.get("to").endswith(call.from_tag)
        assert bye.to_tag == call.from_tag


def test_codecs_other_than_g711_are_refused(bot: BotProcess, media_port: int) -> None:
    with Line(bot.config.sip_port, "tcp") as line:
        call = exotel_caller(bot, line)
        body = offer(media_port, secure=False).replace("AVP 8 0 96", "AVP 18 96")
        call.invite(media_port, body=body, headers=HEADERS)
        heard = call.answer()
        assert heard.status == 488
        assert heard.get("warning")
        call.to_tag = heard.to_tag
        call.ack(failure=True)


def test_options_probe(bot: BotProcess) -> None:
    with Line(bot.config.sip_port, "tcp") as line:
        call = exotel_caller(bot, line)
        line.send(call.request("OPTIONS", uri=f"sip:{HOST}:{bot.config.sip_port}"))
        assert call.answer(method="OPTIONS").status == 200
