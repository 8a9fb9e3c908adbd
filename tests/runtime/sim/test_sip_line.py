"""The simulator's SIP line on the wire, against a bot made of text."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sipbot.clock import SystemClock
from sipbot.errors import SipSyntaxError
from sipbot.exotel.sim.facts import CallState
from sipbot.exotel.sim.model import CallFacts, SipManner
from sipbot.runtime.sim.sip_line import SipLine, SipTalk, SipTrunk
from sipbot.testing import tone

from .sip_bot import HOST, Message, SipBot, sip_bot

pytestmark = pytest.mark.flaky(reruns=2)


@asynccontextmanager
async def calling(
    bot: SipBot, faults: list[str] | None = None, **manner: Any
) -> AsyncIterator[SipTalk]:
    found = [] if faults is None else faults
    trunk = SipTrunk(bot.uri, SipManner.model_validate(manner), SystemClock(), found.append)
    state = CallState(CallFacts(), "sid1", 0.0)
    async with trunk.call(state, [("job", "7")]) as talk:
        yield talk


def line_of(talk: SipTalk) -> SipLine:
    assert talk.line is not None, talk.outcome
    return talk.line


async def test_the_invite_is_that_of_the_documents() -> None:
    async with sip_bot() as bot:
        async with calling(bot):
            invite = await bot.hears("INVITE")
            ack = await bot.hears("ACK")
        bye = await bot.hears("BYE")
    assert invite.first == f"INVITE {bot.uri} SIP/2.0"
    assert invite.get("Record-Route") == f"<sip:{HOST}:443;transport=tls;lr>"
    identity = "<sip:+919812345610@exotelt.pstn.exotel.com>"
    assert re.fullmatch(rf'"?\+919812345610"? {re.escape(identity)};tag=.+', invite.get("From"))
    assert invite.get("P-Asserted-Identity") == identity
    assert invite.get("To") == f"<sip:+918012345678@{HOST}>"
    assert invite.get("CSeq") == "102 INVITE"
    assert invite.get("Max-Forwards") == "67"
    assert invite.get("Supported") == "replaces"
    assert "REFER" in invite.get("Allow")
    assert re.fullmatch(r"[0-9a-f]{32}@pstn\.mum1\.exotel\.com", invite.get("Call-ID"))
    assert invite.get("X-Exotel-CallSid") == "sid1"
    assert invite.get("X-Exotel-TrunkSid") == "trmum1sim"
    assert re.fullmatch("[0-9a-f]{32}", invite.get("X-Exotel-LegSid"))
    assert invite.get("X-job") == "7"
    assert re.fullmatch(rf"<sip:\+919812345610@{HOST}:\d+;transport=tcp>", invite.get("Contact"))
    # The proxy that recorded itself is played too: what reaches the bot has no Route left.
    for message in (ack, bye):
        assert message.all("Route") == []
        assert message.first.split(" ")[1] == f"sip:bot@{HOST}:{bot.port};transport=tcp"
        assert message.get("Call-ID") == invite.get("Call-ID")


async def test_the_offer_is_that_of_the_documents() -> None:
    async with sip_bot() as bot:
        async with calling(bot):
            pass
        invite = await bot.hears("INVITE")
    port = int(re.findall(r"m=audio (\d+) RTP/AVP 8 0 96\r\n", invite.body)[0])
    assert re.search(r"o=root (\d+) \1 IN IP4 127\.0\.0\.1\r\n", invite.body)
    for line in (
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:96 telephone-event/8000",
        "a=fmtp:96 0-15",
        "a=ptime:20",
        "a=sendrecv",
        f"a=rtcp:{port + 1}",
    ):
        assert f"{line}\r\n" in invite.body, line
    assert "crypto" not in invite.body


async def test_srtp_offers_one_key() -> None:
    def refuse(bot: SipBot, message: Message) -> None:
        if message.method == "INVITE":
            bot.answer(message, 488)

    async with sip_bot() as bot:
        bot.on_request = refuse
        async with calling(bot, srtp="sdes", codecs=["PCMU"], record_route=False) as talk:
            pass
        invite = await bot.hears("INVITE")
    assert (talk.line, talk.outcome.status) == (None, 488)
    assert "RTP/SAVP 0 96\r\n" in invite.body
    assert len(re.findall("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:", invite.body)) == 1
    assert invite.body.count("a=crypto:") == 1
    assert invite.all("Record-Route") == []


@pytest.mark.parametrize("anew", [True, False])
async def test_bye_comes_on_a_connection_of_its_own(anew: bool) -> None:
    async with sip_bot() as bot:
        async with calling(bot, bye_on_new_connection=anew) as talk:
            await line_of(talk).hang_up()
            assert line_of(talk).ended_by == "caller"
        bye = await bot.hears("BYE")
    assert (bye.connection != 0) is anew
    assert len([one for one in bot.heard if one.method == "BYE"]) == 1


async def test_the_bot_hangs_up() -> None:
    async with sip_bot() as bot:
        async with calling(bot) as talk:
            bot.request(await bot.hears("INVITE"), "BYE", 1)
            line = line_of(talk)
            await line.ears.until(lambda: True if line.ears.closed else None, 10_000)
            assert line.ended_by == "bot"
            await line.press("1")
            await line.speak(tone(100))
            assert not await line.hold(True)
        await bot.hears("SIP/2.0 200")
    assert not [one for one in bot.heard if one.method == "BYE"]


async def test_nobody_answers_in_time() -> None:
    def ring(bot: SipBot, message: Message) -> None:
        if message.method == "INVITE":
            bot.answer(message, 180)
        elif message.method == "CANCEL":
            bot.answer(message, 200)
            bot.answer(next(one for one in bot.heard if one.method == "INVITE"), 487)

    async with sip_bot() as bot:
        bot.on_request = ring
        async with calling(bot, answer_within_s=0.2) as talk:
            assert (talk.line, talk.outcome.reason) == (None, "no-answer")
        cancel = await bot.hears("CANCEL")
        await bot.hears("ACK")
    assert cancel.get("CSeq") == "102 CANCEL"


async def test_refer_is_refused_and_told() -> None:
    faults: list[str] = []
    async with sip_bot() as bot, calling(bot, faults):
        refer = ("Refer-To: <sip:desk@example.com>",)
        bot.request(await bot.hears("INVITE"), "REFER", 1, *refer)
        await bot.hears("SIP/2.0 405")
    assert faults == ["REFER refused: method-not-allowed"]


async def test_hold_and_back() -> None:
    def take(bot: SipBot, message: Message) -> None:
        if message.method == "INVITE" and "a=sendonly" in message.body:
            bot.answer(message, 200, bot.sdp("recvonly"))
        else:
            bot.take(message)

    async with sip_bot() as bot:
        bot.on_request = take
        async with calling(bot) as talk:
            assert await line_of(talk).hold(True)
            assert await line_of(talk).hold(False)
        invites = [one for one in bot.heard if one.method == "INVITE"]
    assert [re.findall(r"a=(send\w+|inactive)", one.body)[0] for one in invites] == [
        "sendrecv",
        "sendonly",
        "sendrecv",
    ]
    assert all("RTP/AVP 8 0 96" in one.body and "o=root" in one.body for one in invites)
    versions = [int(re.findall(r"o=root \d+ (\d+)", one.body)[0]) for one in invites]
    assert versions == [versions[0], versions[0] + 1, versions[0] + 2]


async def test_a_hold_that_is_refused() -> None:
    def take(bot: SipBot, message: Message) -> None:
        if "tag=" in message.get("To") and message.method == "INVITE":
            bot.answer(message, 488)
        else:
            bot.take(message)

    async with sip_bot() as bot:
        bot.on_request = take
        async with calling(bot) as talk:
            assert not await line_of(talk).hold(True)
            assert line_of(talk).ended_by is None


async def test_keys_leave_as_payload_type_96_and_speech_as_pcma() -> None:
    async with sip_bot() as bot, calling(bot) as talk:
        pressing = asyncio.create_task(line_of(talk).press("5"))
        kinds: dict[int, set[int]] = {}
        while 96 not in kinds or len(kinds) < 2:
            for packet in await bot.packets(1):
                kinds.setdefault(packet[1] & 0x7F, set()).add(packet[12])
        await pressing
        await line_of(talk).speak(tone(300))
        assert talk.details()["codec"] == "PCMA"
    assert kinds[96] == {5}
    assert 8 in kinds


async def test_a_bot_that_cannot_be_reached() -> None:
    async with sip_bot() as bot:
        pass
    async with calling(bot) as talk:
        assert talk.line is None
        assert talk.outcome.reason == "unreachable (Connection refused)"


@pytest.mark.parametrize("uri", ["tel:+918012345678", "nonsense", "sip:x@127.0.0.1;transport=ws"])
async def test_uris_that_cannot_be_called(uri: str) -> None:
    async def call() -> None:
        trunk = SipTrunk(uri, SipManner(), SystemClock(), lambda fault: None)
        async with trunk.call(CallState(CallFacts(), "s", 0.0), []):
            pass

    with pytest.raises(SipSyntaxError):
        await call()
