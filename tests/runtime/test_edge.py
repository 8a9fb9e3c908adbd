"""The edge on virtual time: every refusal by its rule, a call's whole life, and the drain."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from sipbot.agent.port import Agent
from sipbot.agent.runner import AgentRunner
from sipbot.call.call import Call
from sipbot.call.routing import Route, Routes
from sipbot.call.speech import NoSynthesizer
from sipbot.legs.negotiation import MediaTerms
from sipbot.legs.stream_audio import SlotWaiters
from sipbot.media.plane import LATENESS_MS, MediaPlane, PlaneConfig
from sipbot.media.ports import PortPool
from sipbot.ops.admission import Admission
from sipbot.ops.counters import Counters
from sipbot.ops.overload import Overload, OverloadLimits
from sipbot.runtime.advertise import Advertiser, PublicAddress
from sipbot.runtime.call_times import CallTimes
from sipbot.runtime.capacity import Capacity
from sipbot.runtime.edge import Edge, EdgeParts
from sipbot.runtime.host import HostParts, LocalHost
from sipbot.runtime.sip_stack import SipStack
from sipbot.sip.effects import Flow, Send
from sipbot.sip.ids import CountingIds
from sipbot.sip.message import Response, parse_message
from sipbot.sip.user_agent import UserAgent, UserAgentConfig
from sipbot.testing.clock import LoopClock, virtual_time
from sipbot.transport.driver import SipDriver
from tests.runtime.test_admitting import Log

FLOW = Flow("udp", ("127.0.0.1", 5070), ("127.0.0.1", 6070))
OFFER = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 40000 RTP/AVP 8 0 96\r\na=rtpmap:96 telephone-event/8000\r\n"
)
PAIRS = 3


class Wire:
    """Stands in for all transports: keeps what was sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, send: Send, failed: Any) -> None:
        self.sent.append(send.attempts[0].wire)

    def responses(self, method: str = "INVITE") -> list[Response]:
        found = [parse_message(wire) for wire in self.sent]
        return [
            message
            for message in found
            if isinstance(message, Response) and message.cseq.method == method
        ]

    def last(self) -> Response:
        return self.responses()[-1]


class Waits:
    """An agent that stays until the caller leaves."""

    async def run(self, call: Call) -> None:
        await call.wait_ended()


class Fails:
    async def run(self, call: Call) -> None:
        raise RuntimeError("a mistake")


class Leaves:
    async def run(self, call: Call) -> None:
        await call.play(np.full(800, 9_000, np.int16), 8_000)


class Bench:
    def __init__(self, agents: dict[str, Agent], tasks: asyncio.TaskGroup, **limits: Any) -> None:
        clock, self.log, self.counters = LoopClock(), Log(), Counters()
        networks = limits.get("trunks", {})
        self.plane = MediaPlane(
            PlaneConfig(slots=8),
            PortPool(32_000, 32_000 + 2 * PAIRS - 1, entropy=bytes, quarantine_s=0.0),
            clock=clock,
            entropy=lambda count: bytes(range(1, count + 1)),
        )
        self.parts = EdgeParts(
            plane=self.plane,
            waiters=SlotWaiters(8),
            routes=Routes([Route(agent=name, to=name) for name in agents]),
            admission=Admission(networks),
            capacity=Capacity(limits.get("max_calls", 8), limits.get("per_trunk", {})),
            overload=Overload(OverloadLimits(), LATENESS_MS),
            times=CallTimes(),
            counters=self.counters,
            log=self.log,
            terms=MediaTerms(),
            retry_after_s=7,
        )
        host = HostParts(agents, AgentRunner(), NoSynthesizer(), clock, self.counters, self.log)
        self.host = LocalHost(host, tasks)
        self.edge = Edge(self.parts, self.host)
        self.driver = SipDriver(clock, self.edge.on_event)
        self.wire = Wire()
        advertiser = Advertiser(PublicAddress(), {"udp": 5070}, lambda remote: "127.0.0.1")
        endpoint: Any = self.wire
        self.driver.connect(
            UserAgent(UserAgentConfig(), CountingIds(), advertiser.signalling), endpoint
        )
        self.edge.connect(SipStack(self.driver, endpoint, advertiser, []))

    def invite(self, user: str, call: str = "1", body: str = OFFER, flow: Flow = FLOW) -> None:
        self.driver.receive(request("INVITE", user, call, body), flow)

    def in_dialog(self, method: str, call: str = "1", cseq: int = 1) -> None:
        tag = self.wire.last().to.tag or ""
        self.driver.receive(request(method, "x", call, "", tag, cseq), FLOW)

    async def ticks(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.005)):
            await asyncio.sleep(0.005)
            self.parts.waiters.wake(self.plane.tick(asyncio.get_running_loop().time()))

    def refusals(self) -> list[str]:
        return [values["rule"] for event, values in self.log.lines if event == "call refused"]

    def endings(self) -> list[str]:
        return [values["reason"] for event, values in self.log.lines if event == "call ended"]


def request(
    method: str, user: str, call: str, body: str = "", tag: str = "", cseq: int = 1
) -> bytes:
    lines = [
        f"{method} sip:{user}@127.0.0.1:5070 SIP/2.0",
        f"Via: SIP/2.0/UDP 127.0.0.1:6070;branch=z9hG4bK-{method}-{call}-{cseq}",
        "From: <sip:+919812345678@127.0.0.1>;tag=caller",
        f"To: <sip:{user}@127.0.0.1>" + (f";tag={tag}" if tag else ""),
        f"Call-ID: call-{call}",
        f"CSeq: {cseq} {method}",
        "Contact: <sip:caller@127.0.0.1:6070>",
        "Max-Forwards: 70",
        *(["Content-Type: application/sdp"] if body else []),
        f"Content-Length: {len(body)}",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


@asynccontextmanager
async def bench(agents: dict[str, Agent] | None = None, **limits: Any) -> AsyncIterator[Bench]:
    async with asyncio.TaskGroup() as tasks:
        made = Bench(agents or {"waits": Waits()}, tasks, **limits)
        try:
            yield made
        finally:
            await made.edge.drain(0.0)
            made.driver.close()
            made.plane.close()


@virtual_time
async def test_a_call_is_answered_and_its_end_is_written_down() -> None:
    async with bench() as it:
        it.invite("waits")
        await asyncio.sleep(0.01)
        assert [response.status for response in it.wire.responses()] == [100, 180, 200]
        assert b"m=audio 3200" in it.wire.last().body
        it.in_dialog("ACK")
        it.in_dialog("BYE", cseq=2)
        await asyncio.sleep(0.01)
        assert it.endings() == ["caller-hung-up"]
        assert it.host.calls == it.parts.capacity.calls == it.plane.ports.in_use == 0


@virtual_time
async def test_every_refusal_has_its_rule_status_and_log_line() -> None:
    async with bench(max_calls=4) as it:
        cases = [
            ("nobody", OFFER, "no-route", 404),
            ("waits", OFFER.replace("8 0 96", "18"), "no-common-codec", 488),
            ("waits", "v=0\r\nnonsense\r\n", "sdp-line-form", 400),
        ]
        for number, (user, body, rule, status) in enumerate(cases):
            it.invite(user, f"r{number}", body)
            assert it.wire.last().status == status
            assert it.refusals()[-1] == rule
            assert it.counters.value("refused", rule=rule) == 1
            assert status == 404 or rule in (it.wire.last().headers.get("Warning") or "")
        assert it.plane.ports.in_use == it.parts.capacity.calls == 0


@virtual_time
async def test_a_request_refused_in_a_call_is_logged_with_the_call() -> None:
    async with bench() as it:
        it.invite("waits")
        await asyncio.sleep(0.01)
        it.in_dialog("ACK")
        it.in_dialog("MESSAGE", cseq=2)
        (call_id,) = [
            values["call_id"] for event, values in it.log.lines if event == "call received"
        ]
        refused = [values for event, values in it.log.lines if event == "request refused"]
        assert [(values["rule"], values["call_id"]) for values in refused] == [
            ("method-not-allowed", call_id)
        ]


@virtual_time
async def test_a_full_house_says_when_to_come_again() -> None:
    async with bench(max_calls=1) as it:
        it.invite("waits", "1")
        it.invite("waits", "2")
        assert it.wire.last().status == 503
        assert it.wire.last().headers.get("Retry-After") == "7"
        assert it.refusals() == ["max-calls"]


@virtual_time
async def test_a_trunk_has_its_own_limit() -> None:
    trunks = {"small": [ipaddress.ip_network("127.0.0.0/8")]}
    async with bench(trunks=trunks, per_trunk={"small": 1}) as it:
        it.invite("waits", "1")
        it.invite("waits", "2")
        assert it.refusals() == ["max-calls-per-trunk"]


@virtual_time
async def test_no_port_is_no_call() -> None:
    async with bench() as it:
        for number in range(PAIRS + 1):
            it.invite("waits", f"{number}")
        assert it.wire.last().status == 503
        assert it.refusals() == ["ports-exhausted"]


@virtual_time
async def test_an_agent_that_fails_ends_its_call_and_no_other() -> None:
    async with bench({"waits": Waits(), "fails": Fails()}) as it:
        it.invite("waits", "1")
        await asyncio.sleep(0.01)
        it.in_dialog("ACK", "1")
        it.invite("fails", "2")
        await asyncio.sleep(0.01)
        it.in_dialog("ACK", "2")
        await asyncio.sleep(0.01)
        assert it.endings() == ["agent-failed"]
        assert it.host.calls == 1
        assert [wire[:3] for wire in it.wire.sent].count(b"BYE") == 1


@virtual_time
async def test_the_last_words_are_heard_before_the_bye() -> None:
    async with bench({"leaves": Leaves()}) as it:
        it.invite("leaves", "1")
        await asyncio.sleep(0.01)
        it.in_dialog("ACK", "1")
        await it.ticks(0.15)  # 100 ms of audio, and the tail that jitter buffers hold
        assert not any(wire.startswith(b"BYE") for wire in it.wire.sent)
        await it.ticks(0.15)
        assert any(wire.startswith(b"BYE") for wire in it.wire.sent)
        assert it.endings() == ["bot-hung-up"]


@virtual_time
async def test_draining_takes_no_calls_and_ends_those_that_stay_too_long() -> None:
    async with bench() as it:
        it.invite("waits", "1")
        await asyncio.sleep(0.01)
        it.in_dialog("ACK", "1")
        draining = asyncio.create_task(it.edge.drain(20.0))
        await asyncio.sleep(1.0)
        it.invite("waits", "2")
        assert it.wire.last().status == 503
        assert it.refusals() == ["shutting-down"]
        it.driver.receive(request("OPTIONS", "x", "3"), FLOW)
        assert it.wire.responses("OPTIONS")[-1].status == 503
        assert it.host.calls == 1
        await asyncio.sleep(20.0)
        assert any(wire.startswith(b"BYE") for wire in it.wire.sent)
        assert it.endings() == ["shutdown"]
        await draining
