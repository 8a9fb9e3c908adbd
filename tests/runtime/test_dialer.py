"""Calls that an edge makes, on virtual time: the callee is played by hand."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sipbot.agent.port import Agent
from sipbot.call.call import Call
from sipbot.outbound.outcome import Outcome
from sipbot.runtime.dialer import Dialer, DialerParts, TrunkDialPlan
from sipbot.runtime.dialling import Dialling, DialOrder
from sipbot.sip.auth import Credentials
from sipbot.sip.message import Request, parse_message
from sipbot.sip.uri import Uri
from sipbot.testing.clock import virtual_time

from .test_edge import FLOW, OFFER, Bench

NUMBER = "+919812345610"
TRUNKS = {"t": [ipaddress.ip_network("127.0.0.0/8")]}


class Keeps:
    """An agent that shows what it saw of its call."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.prepared = 0

    async def prepare(self, call: Call) -> None:
        self.prepared += 1

    async def run(self, call: Call) -> None:
        self.calls.append(call)
        await call.wait_ended()


class Callee:
    """The other side of a bench: reads the requests, writes the responses."""

    def __init__(self, it: Bench, dialer: Dialer, agent: Keeps) -> None:
        self.it, self.dialer, self.agent = it, dialer, agent

    def dial(self, **given: Any) -> Dialling:
        order = {"number": NUMBER, "trunk": "t", "agent": "keeps", "rule": "dial", "ring_s": 20.0}
        return self.dialer.dial(DialOrder(**{**order, **given}))

    def requests(self, method: str) -> list[Request]:
        found = [parse_message(wire) for wire in self.it.wire.sent]
        return [one for one in found if isinstance(one, Request) and one.method == method]

    async def invited(self) -> Request:
        await asyncio.sleep(0.01)
        return self.requests("INVITE")[-1]

    def respond(self, to: Request, status: int, *headers: str, body: str = "") -> None:
        tag = "" if status == 100 else ";tag=callee"
        lines = [
            f"SIP/2.0 {status} Words",
            *(f"{name}: {value}" for name, value in to.headers.items() if name == "Via"),
            f"From: {to.headers.get('From')}",
            f"To: {to.headers.get('To')}{tag}",
            f"Call-ID: {to.call_id}",
            f"CSeq: {to.cseq.number} {to.method}",
            "Contact: <sip:callee@127.0.0.1:6070>",
            *headers,
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        self.it.driver.receive(("\r\n".join(lines) + "\r\n\r\n" + body).encode(), FLOW)

    def hang_up(self, invite: Request) -> None:
        lines = [
            "BYE sip:x@127.0.0.1 SIP/2.0",
            "Via: SIP/2.0/UDP 127.0.0.1:6070;branch=z9hG4bK-bye",
            f"From: {invite.headers.get('To')};tag=callee",
            f"To: {invite.headers.get('From')}",
            f"Call-ID: {invite.call_id}",
            "CSeq: 9 BYE",
            "Max-Forwards: 70",
            "Content-Length: 0",
        ]
        self.it.driver.receive(("\r\n".join(lines) + "\r\n\r\n").encode(), FLOW)


@asynccontextmanager
async def callee(
    uris: tuple[str, ...] = ("sip:127.0.0.1:6070",), **plan: Any
) -> AsyncIterator[Callee]:
    async with asyncio.TaskGroup() as tasks:
        agent = Keeps()
        agents: dict[str, Agent] = {"keeps": agent}
        it = Bench(agents, tasks, trunks=TRUNKS, per_trunk={"t": 1})
        parts = DialerParts(it.plane, it.parts.waiters, it.parts.terms, it.counters, it.log)
        trunk = TrunkDialPlan(tuple(Uri.parse(uri) for uri in uris), **plan)
        try:
            yield Callee(it, Dialer(it.edge, parts, {"t": trunk}, tasks), agent)
        finally:
            await it.edge.drain(0.0)
            await asyncio.sleep(0.01)
            assert it.parts.capacity.calls == it.plane.ports.in_use == it.host.calls == 0
            it.driver.close()
            it.plane.close()


@virtual_time
async def test_an_answered_call_gets_its_agent() -> None:
    async with callee(caller_id="+918040001234", from_domain="acme1.pstn.example") as it:
        attempt = it.dial(parameters={"name": "Asha"})
        invite = await it.invited()
        assert str(invite.uri) == f"sip:{NUMBER}@127.0.0.1:6070"
        assert (invite.headers.get("From") or "").startswith(
            "<sip:+918040001234@acme1.pstn.example>;tag="
        )
        it.respond(invite, 100)
        it.respond(invite, 180)
        await asyncio.sleep(1)
        assert it.agent.prepared == 1  # while it rings
        assert not it.agent.calls
        it.respond(invite, 200, "X-Exotel-CallSid: sid1", body=OFFER)
        result = await attempt.result()
        assert (result.outcome, result.status, result.call_sid) == (Outcome.ANSWERED, 200, "sid1")
        await asyncio.sleep(0.01)
        (call,) = it.agent.calls
        assert call.id == result.call_id
        assert (call.direction, call.callee, call.trunk) == ("outbound", NUMBER, "t")
        assert call.parameters == {"name": "Asha"}
        assert it.requests("ACK")
        await asyncio.sleep(5)
        it.hang_up(invite)
        end = await attempt.ended()
        assert end.reason == "caller-hung-up"
        assert 5 <= end.talk_s < 5.1
        await asyncio.sleep(0.01)
        assert it.it.endings() == ["caller-hung-up"]


@virtual_time
async def test_answered_without_ringing() -> None:
    async with callee() as it:
        attempt = it.dial()
        it.respond(await it.invited(), 200, body=OFFER)
        assert (await attempt.result()).outcome is Outcome.ANSWERED
        await asyncio.sleep(0.01)
        assert len(it.agent.calls) == 1


@virtual_time
async def test_busy_costs_no_agent() -> None:
    async with callee() as it:
        attempt = it.dial()
        it.respond(await it.invited(), 486)
        result = await attempt.result()
        assert (result.outcome, result.status, result.call_id) == (Outcome.BUSY, 486, "")
        assert it.agent.prepared == 0


@virtual_time
async def test_declined_after_ringing() -> None:
    async with callee() as it:
        attempt = it.dial()
        invite = await it.invited()
        it.respond(invite, 180)
        await asyncio.sleep(0.1)
        it.respond(invite, 603)
        assert (await attempt.result()).outcome is Outcome.DECLINED
        await asyncio.sleep(0.01)
        assert it.it.endings() == ["rejected"]


@virtual_time
async def test_ringing_too_long_is_cancelled() -> None:
    async with callee() as it:
        attempt = it.dial(ring_s=20.0)
        invite = await it.invited()
        it.respond(invite, 180)
        await asyncio.sleep(19.9)
        assert not it.requests("CANCEL")
        result = await attempt.result()
        assert (result.outcome, result.detail) == (Outcome.NO_ANSWER, "rang-too-long")
        (cancel,) = it.requests("CANCEL")
        it.respond(cancel, 200)
        it.respond(invite, 487)


@virtual_time
async def test_an_answer_that_crosses_the_cancel_is_hung_up() -> None:
    async with callee() as it:
        attempt = it.dial(ring_s=1.0)
        invite = await it.invited()
        it.respond(invite, 180)
        assert (await attempt.result()).outcome is Outcome.NO_ANSWER
        it.respond(invite, 200, body=OFFER)
        await asyncio.sleep(0.01)
        assert it.requests("BYE")
        assert not it.agent.calls


@virtual_time
async def test_cancelled_by_us_while_it_rings_and_while_they_talk() -> None:
    async with callee() as it:
        attempt = it.dial()
        invite = await it.invited()
        it.respond(invite, 180)
        attempt.cancel()
        assert (await attempt.result()).outcome is Outcome.CANCELLED
        it.respond(it.requests("CANCEL")[-1], 200)
        it.respond(invite, 487)
        again = it.dial()
        invite = await it.invited()
        it.respond(invite, 200, body=OFFER)
        await again.result()
        again.cancel()
        assert (await again.ended()).reason == "bot-hung-up"
        it.respond(it.requests("BYE")[-1], 200)


@virtual_time
async def test_digest_on_401_and_on_407() -> None:
    async with callee(credentials=Credentials("trunk1", "secret")) as it:
        attempt = it.dial()
        first = await it.invited()
        assert first.headers.get("Authorization") is None
        it.respond(first, 407, 'Proxy-Authenticate: Digest realm="edge", nonce="n1", qop="auth"')
        second = await it.invited()
        assert 'realm="edge"' in (second.headers.get("Proxy-Authorization") or "")
        it.respond(second, 401, 'WWW-Authenticate: Digest realm="bot", nonce="n2"')
        third = await it.invited()
        assert 'realm="bot"' in (third.headers.get("Authorization") or "")
        assert third.call_id == first.call_id
        assert third.cseq.number == first.cseq.number + 2
        it.respond(third, 200, body=OFFER)
        assert (await attempt.result()).outcome is Outcome.ANSWERED


@virtual_time
async def test_a_wrong_password_is_the_trunks_refusal() -> None:
    async with callee(credentials=Credentials("trunk1", "wrong")) as it:
        attempt = it.dial()
        for number in (1, 2):
            challenge = f'WWW-Authenticate: Digest realm="r", nonce="n{number}"'
            it.respond(await it.invited(), 401, challenge)
        result = await attempt.result()
        assert (result.outcome, result.status) == (Outcome.REFUSED, 401)


@virtual_time
async def test_the_next_address_is_tried_after_503_but_not_after_busy() -> None:
    async with callee(("sip:127.0.0.1:6070", "sip:127.0.0.1:6080")) as it:
        attempt = it.dial()
        it.respond(await it.invited(), 503)
        second = await it.invited()
        assert second.uri.port == 6080
        it.respond(second, 486)
        assert (await attempt.result()).outcome is Outcome.BUSY
        assert len(it.requests("INVITE")) == 2


@virtual_time
async def test_an_address_that_never_answers() -> None:
    async with callee(("sip:127.0.0.1:6070", "sip:127.0.0.1:6080")) as it:
        attempt = it.dial(ring_s=300.0)
        await asyncio.sleep(40)  # 64*T1 is 32 s
        it.respond(it.requests("INVITE")[-1], 404)
        result = await attempt.result()
        assert (result.outcome, result.status) == (Outcome.INVALID, 404)


@virtual_time
async def test_no_room_is_no_attempt() -> None:
    async with callee() as it:
        first = it.dial()
        invite = await it.invited()
        second = await it.dial().result()
        assert (second.outcome, second.detail) == (Outcome.HELD_BACK, "max-calls-per-trunk")
        it.respond(invite, 486)
        await first.result()


@virtual_time
async def test_an_unknown_trunk_and_a_number_that_is_no_user() -> None:
    async with callee() as it:
        assert (await it.dial(trunk="other").result()).outcome is Outcome.REFUSED
        assert (await it.dial(number="a@b").result()).outcome is Outcome.INVALID


@virtual_time
async def test_national_numbers_where_the_trunk_wants_them() -> None:
    async with callee(number_format="national0", caller_id="+918040001234") as it:
        attempt = it.dial()
        invite = await it.invited()
        assert invite.uri.user == "09812345610"
        assert "<sip:08040001234@" in (invite.headers.get("From") or "")
        it.respond(invite, 404)
        await attempt.result()


@virtual_time
async def test_drain_ends_what_rings() -> None:
    async with callee() as it:
        attempt = it.dial()
        invite = await it.invited()
        it.respond(invite, 100)
        await it.it.edge.drain(1.0)
        result = await attempt.result()
        assert result.outcome in (Outcome.CANCELLED, Outcome.NO_ANSWER)
        assert it.requests("CANCEL")
        assert (await it.dial().result()).detail == "shutting-down"


@virtual_time
async def test_an_answer_that_cannot_be_agreed_on() -> None:
    async with callee() as it:
        attempt = it.dial()
        invite = await it.invited()
        it.respond(invite, 200, body=OFFER.replace("8 0 96", "18"))
        assert (await attempt.result()).outcome is Outcome.FAILED
        assert it.requests("ACK")
        assert it.requests("BYE")
