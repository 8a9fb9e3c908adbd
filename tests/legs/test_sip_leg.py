"""The SIP leg keeps the contract of all legs, over real RTP sockets and its own user agent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from sipbot.call.leg import EndReason, LegDtmf, LegEnded, LegEvent, LegHeld, LegResumed, Pcm
from sipbot.legs.negotiation import MediaTerms
from sipbot.legs.sip_inbound import InboundSipLeg
from sipbot.sip.effects import Event, InfoDigit, Refused, Reoffer, TransferProgress
from sipbot.sip.message import parse_message
from tests.legs.contract import LegContract, loudness, tone
from tests.legs.sip_kit import Pair, pair, statuses


class SipHarness:
    def __init__(self, both: Pair, leg: InboundSipLeg) -> None:
        self.both, self.leg = both, leg

    async def advance(self, ms: int) -> None:
        await self.both.advance(ms)

    async def peer_sends(self, pcm: Pcm) -> None:
        self.both.say(pcm)

    def peer_heard(self) -> Pcm:
        return self.both.heard()

    async def peer_presses(self, digit: str) -> None:
        assert self.both.caller_leg is not None
        self.both.caller_leg._stream.send_dtmf(digit, 100, 60)

    async def peer_hangs_up(self) -> None:
        assert self.both.caller_leg is not None
        await self.both.caller_leg.hangup()

    def peer_saw(self) -> list[str]:
        """From what our side sent: each response once, repeats left out."""
        saw: list[str] = []
        for wire in self.both.bot_endpoint.sent:
            message = parse_message(wire)
            status = getattr(message, "status", 0)
            if status == 180:
                step = "ringing"
            elif status == 200 and message.cseq.method == "INVITE":
                step = "answered"
            elif status >= 300 and status != 487:
                step = f"rejected {status}"
            elif getattr(message, "method", "") == "BYE":
                step = "ended"
            else:
                continue
            if step not in saw:
                saw.append(step)
        return saw


@pytest.fixture
async def harness() -> AsyncIterator[SipHarness]:
    with pair() as both:
        yield SipHarness(both, await both.call())


class TestSipLeg(LegContract):
    @pytest.fixture
    async def harness(self) -> AsyncIterator[SipHarness]:
        with pair() as both:
            yield SipHarness(both, await both.call())


SECURE = MediaTerms(srtp="required")
SDP = "application/sdp"
OFFER = (
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    b"m=audio 6000 RTP/AVP 8\r\n"
)


class TestSecureSipLeg(LegContract):
    @pytest.fixture
    async def harness(self) -> AsyncIterator[SipHarness]:
        with pair(caller_terms=SECURE) as both:
            yield SipHarness(both, await both.call())


def listen(leg: InboundSipLeg) -> list[LegEvent]:
    events: list[LegEvent] = []
    leg.attach(events.append)
    return events


async def test_a_delayed_offer_is_answered_by_the_ack() -> None:
    """RFC 3261 section 13.2.1: no offer in the INVITE, ours in the 200, the answer in the ACK."""
    with pair() as both:
        both.bot.receive(_request(both, "INVITE", 1), both.caller_endpoint.flow)
        leg = both.bot_leg
        assert leg is not None
        await leg.answer()
        answer = parse_message(both.bot_endpoint.sent[-1])
        assert leg.info.codec == ""
        assert b"RTP/AVP 8 0 101" in answer.body
        body = answer.body.replace(b"RTP/AVP 8 0 101", b"RTP/AVP 0 101")
        ack = _request(both, "ACK", 1, body, "application/sdp", to=answer.headers.get("To"))
        both.bot.receive(ack, both.caller_endpoint.flow)
        assert leg.info.codec == "PCMU"
        assert not leg.ended


@pytest.mark.parametrize("body", [b"", b"v=0\r\nnonsense"])
async def test_a_delayed_offer_that_the_ack_does_not_answer_ends_the_call(body: bytes) -> None:
    """Nobody will ever hear anything in such a call, and no media time-out would end it."""
    with pair() as both:
        both.bot.receive(_request(both, "INVITE", 1), both.caller_endpoint.flow)
        leg = both.bot_leg
        assert leg is not None
        events = listen(leg)
        await leg.answer()
        to = parse_message(both.bot_endpoint.sent[-1]).headers.get("To")
        content_type = "application/sdp" if body else ""
        ack = _request(both, "ACK", 1, body, content_type, to=to)
        both.bot.receive(ack, both.caller_endpoint.flow)
        assert [event.reason for event in events if isinstance(event, LegEnded)] == [
            EndReason.NETWORK
        ]
        assert both.bot_endpoint.sent[-1].startswith(b"BYE ")


def _request(
    both: Pair,
    method: str,
    cseq: int,
    body: bytes = b"",
    content_type: str = "",
    to: str | None = None,
) -> bytes:
    """A request of a peer that is not ours, in the dialog of its Call-ID."""
    lines = [
        f"{method} sip:echo@127.0.0.1:5070;transport=tcp SIP/2.0",
        f"Via: SIP/2.0/TCP 127.0.0.1:6070;branch=z9hG4bK{method}{cseq}",
        "From: <sip:stranger@127.0.0.1>;tag=stranger",
        f"To: {to or '<sip:echo@127.0.0.1>'}",
        "Call-ID: stranger",
        f"CSeq: {cseq} {method}",
        "Contact: <sip:stranger@127.0.0.1:6070;transport=tcp>",
        "Max-Forwards: 70",
        *([f"Content-Type: {content_type}"] if content_type else []),
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def test_hold_and_resume_are_told_and_silence_audio() -> None:
    with pair() as both:
        leg = await both.call()
        events = listen(leg)
        await leg.answer()
        await both.advance(100)
        caller = both.caller_leg
        assert caller is not None
        offer = caller._negotiator.offer()
        _reinvite(both, offer.replace(b"sendrecv", b"sendonly"))
        await both.advance(40)
        assert events == [LegHeld()]
        before = leg.stats().packets_sent
        leg.audio.write(tone(200, 8000))
        await both.advance(200)
        assert leg.stats().packets_sent == before
        _reinvite(both, offer)
        await both.advance(300)
        assert events == [LegHeld(), LegResumed()]
        assert leg.stats().packets_sent > before
        assert statuses(both.bot_endpoint.sent) == [200, 200, 200]


def _reinvite(both: Pair, offer: bytes) -> None:
    assert both.caller_leg is not None
    agent = both.caller.agent
    both.caller.perform(agent.reinvite(both.caller_leg.session, offer, both.clock.monotonic()))


async def test_an_offer_that_cannot_be_met_changes_nothing() -> None:
    with pair() as both:
        leg = await both.call()
        events = listen(leg)
        await leg.answer()
        await both.advance(100)
        assert both.caller_leg is not None
        offer = both.caller_leg._negotiator.offer()
        _reinvite(both, offer.replace(b"RTP/AVP 8 0 101", b"RTP/AVP 18"))
        await both.advance(40)
        assert statuses(both.bot_endpoint.sent) == [200, 488]
        assert events == []
        both.say(tone(400, 8000))
        await both.advance(400)
        assert loudness(leg.audio.read()) > 1000


async def test_silence_on_the_wire_ends_the_call() -> None:
    with pair() as both:
        leg = await both.call()
        events = listen(leg)
        await leg.answer()
        await both.advance(200)
        assert both.caller_leg is not None
        both.caller_leg._stream.close()
        await both.advance(31_000)
        assert events == [LegEnded(EndReason.MEDIA_TIMEOUT, "no-rtp")]
        assert "BYE" in both.bot_endpoint.methods_and_statuses()


async def test_a_lost_ack_ends_the_call_after_32_seconds() -> None:
    """RFC 3261 section 13.3.1.4: the 200 is repeated until the ACK, for 64*T1, then BYE."""
    with pair() as both:
        leg = await both.call()
        events = listen(leg)
        both.caller_endpoint.lost = [True] * 100
        await leg.answer()
        await both.advance(20_000)
        assert events == []
        await both.advance(13_000)
        assert [type(event) for event in events] == [LegEnded]
        assert events == [LegEnded(EndReason.NETWORK, "ack-timeout")]


async def test_keys_by_info_are_keys() -> None:
    with pair() as both:
        offer = (await both.call())._negotiator  # any valid description will do as an offer
        invite = _request(both, "INVITE", 1, offer.offer(), "application/sdp")
        both.bot.receive(invite, both.caller_endpoint.flow)
        leg = both.bot_leg
        assert leg is not None
        events = listen(leg)
        await leg.answer()
        to = parse_message(both.bot_endpoint.sent[-1]).headers.get("To")
        both.bot.receive(_request(both, "ACK", 1, to=to), both.caller_endpoint.flow)
        info = _request(both, "INFO", 2, b"Signal=5\r\n", "application/dtmf-relay", to)
        both.bot.receive(info, both.caller_endpoint.flow)
        assert events == [LegDtmf("5", "info")]


async def test_custom_parameters_come_from_x_headers() -> None:
    with pair() as both:
        leg = await both.call()
        assert leg.info.caller == "+919812345678"
        assert leg.info.callee == "echo"
        assert leg.info.trunk == "trunk"
        assert leg.info.headers["call-id"] == leg.info.protocol_id


async def test_stream_and_ports_come_back() -> None:
    with pair() as both:
        leg = await both.call()
        await leg.answer()
        await both.advance(100)
        assert both.plane.ports.in_use == 2
        await leg.hangup()
        await both.advance(100)
        assert both.plane.ports.in_use == 0
        stats = leg.stats()
        assert stats.packets_sent >= 5
        assert np.count_nonzero(leg.audio.read()) == 0
        assert both.bot.agent.counts().dialogs == 0


async def test_a_transfer_is_what_its_last_notify_says() -> None:
    """RFC 3515: 202 says only that the peer will try; the NOTIFY with 200 is success."""
    with pair() as both:
        leg = await both.call()
        await leg.answer()
        await both.advance(40)
        both.bot_endpoint.lost = [True] * 10  # the peer's answers are told below
        transferring = asyncio.create_task(leg.transfer("sip:desk@127.0.0.1:7000"))
        await both.advance(20)
        for status, final in ((202, False), (180, False)):
            leg.handle(TransferProgress(leg.session, status, final))
            await both.advance(20)
            assert not transferring.done()
        leg.handle(TransferProgress(leg.session, 200, True))
        assert (await transferring).accepted


async def test_a_transfer_that_the_peer_refuses_leaves_the_call_as_it_was() -> None:
    with pair() as both:
        leg = await both.call()
        await leg.answer()
        await both.advance(40)
        transferring = asyncio.create_task(leg.transfer("sip:desk@127.0.0.1:7000"))
        await both.advance(60)  # our own user agent takes no REFER: 405
        result = await transferring
        assert (result.accepted, result.detail) == (False, "sip-405")
        assert not leg.ended
        assert not (await leg.transfer("no uri at all")).accepted


async def test_a_transfer_before_the_ack_is_refused_and_harms_nothing() -> None:
    with pair() as both:
        both.bot.receive(_request(both, "INVITE", 1, OFFER, SDP), both.caller_endpoint.flow)
        leg = both.bot_leg
        assert leg is not None
        await leg.answer()
        result = await leg.transfer("sip:desk@127.0.0.1:7000")
        assert (result.accepted, result.detail) == (False, "not-possible-now")
        assert not leg.ended


async def test_a_refused_offer_of_the_peer_is_told_with_its_rule() -> None:
    with pair() as both:
        both.bot.receive(_request(both, "INVITE", 1, OFFER, SDP), both.caller_endpoint.flow)
        leg = both.bot_leg
        assert leg is not None
        await leg.answer()
        to = parse_message(both.bot_endpoint.sent[-1]).headers.get("To")
        both.bot.receive(_request(both, "ACK", 1, to=to), both.caller_endpoint.flow)
        told: list[Event] = []

        def hear(event: Event) -> None:
            told.append(event)
            if isinstance(event, Reoffer):
                leg.handle(event)

        both.bot._on_event = hear
        odd = OFFER.replace(b"RTP/AVP 8", b"RTP/AVP 18")
        both.bot.receive(_request(both, "INVITE", 2, odd, SDP, to=to), both.caller_endpoint.flow)
        refused = [event for event in told if isinstance(event, Refused)]
        assert [(one.rule, one.status) for one in refused] == [("no-common-codec", 488)]
        assert not leg.ended


async def test_a_key_that_comes_by_two_ways_is_one_key() -> None:
    """Some gateways send each key as telephone-event and by INFO."""
    with pair() as both:
        leg = await both.call()
        events = listen(leg)
        await leg.answer()
        for digit in "77":
            leg.on_dtmf(digit)
            leg.handle(InfoDigit(leg.session, digit, 100))
        leg.handle(InfoDigit(leg.session, "8", 100))
        leg.on_dtmf("8")
        leg.on_dtmf("8")
        assert [event.digit for event in events if isinstance(event, LegDtmf)] == [
            "7",
            "7",
            "8",
            "8",
        ]
