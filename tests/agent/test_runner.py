"""The life of a call from ringing to record, on virtual time."""

from __future__ import annotations

import asyncio

import pytest

from sipbot.agent.port import Agent
from sipbot.agent.runner import AgentRunner, RunnerSettings
from sipbot.call.call import Call
from sipbot.call.events import CallEnded
from sipbot.call.leg import EndReason
from sipbot.call.record import CallRecord
from sipbot.errors import TransportError
from sipbot.testing import FakeLeg, LoopClock, ScriptedSynthesizer, simulate, tone, virtual_time


class Greeter:
    async def run(self, call: Call) -> None:
        await call.play(tone(1_000), 8_000)


class Sleeper:
    """An agent that hears nothing of its call."""

    def __init__(self) -> None:
        self.cancelled_at = 0.0

    async def run(self, call: Call) -> None:
        try:
            await asyncio.sleep(10_000)
        except asyncio.CancelledError:
            self.cancelled_at = asyncio.get_running_loop().time()
            raise


class Stubborn:
    """An agent that cannot be cancelled."""

    async def run(self, call: Call) -> None:
        for _ in range(100):
            try:
                await asyncio.sleep(10.0)
            except asyncio.CancelledError:
                continue


class Broken:
    async def run(self, call: Call) -> None:
        raise KeyError("private words")


class Listener:
    async def run(self, call: Call) -> None:
        async for _ in call.events():
            pass
        await call.say("too late")


class Log:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, object]]] = []

    def _keep(self, event: str, **fields: object) -> None:
        self.lines.append((event, fields))

    debug = info = warning = error = _keep


def make(leg: FakeLeg, log: Log | None = None) -> Call:
    speech = ScriptedSynthesizer(lengths_ms={"sorry": 500})
    return Call(leg, call_id="c1", synthesizer=speech, clock=LoopClock(), log=log)


async def run(
    agent: Agent, leg: FakeLeg, log: Log | None = None, settings: RunnerSettings | None = None
) -> CallRecord:
    return await AgentRunner(settings).run(make(leg, log), agent)


def now() -> float:
    return asyncio.get_running_loop().time()


@virtual_time
async def test_returning_hangs_up_after_the_last_word() -> None:
    leg = FakeLeg()
    record = await run(Greeter(), leg)
    assert leg.steps == ["ring", "answer", "hangup bot-hung-up"]
    assert leg.audio.played == 8_000
    assert record.reason is EndReason.BOT_HUNG_UP
    assert record.talk_ms == pytest.approx(1_100, abs=21)
    assert record.failure == ""


@virtual_time
async def test_it_rings_at_least_as_long_as_configured() -> None:
    leg = FakeLeg()
    record = await run(Greeter(), leg, settings=RunnerSettings(min_ring_s=2.0))
    assert record.setup_ms == 2_000


@virtual_time
async def test_a_caller_who_gives_up_while_it_rings_meets_no_agent() -> None:
    leg = FakeLeg()
    agent = Sleeper()
    task = asyncio.create_task(run(agent, leg, settings=RunnerSettings(min_ring_s=60.0)))
    await asyncio.sleep(3.0)
    leg.hang_up()
    record = await task
    assert now() == pytest.approx(3.0)
    assert record.reason is EndReason.CANCELLED
    assert record.answered_at is None
    assert agent.cancelled_at == 0.0


@virtual_time
async def test_the_end_of_the_call_ends_an_agent_that_listens() -> None:
    leg = FakeLeg()
    log = Log()
    task = asyncio.create_task(run(Listener(), leg, log))
    await asyncio.sleep(5.0)
    leg.hang_up()
    record = await task
    assert now() == pytest.approx(5.0)
    assert (record.reason, record.failure) == (EndReason.CALLER_HUNG_UP, "")
    assert log.lines == []


@virtual_time
async def test_an_agent_that_does_not_notice_the_end_is_cancelled_after_a_grace() -> None:
    leg = FakeLeg()
    agent = Sleeper()
    task = asyncio.create_task(run(agent, leg))
    await asyncio.sleep(5.0)
    leg.hang_up()
    await task
    assert agent.cancelled_at == pytest.approx(10.0)


@virtual_time
async def test_an_agent_that_cannot_be_cancelled_is_left_behind_and_reported() -> None:
    leg, log = FakeLeg(), Log()
    task = asyncio.create_task(run(Stubborn(), leg, log))
    await asyncio.sleep(1.0)
    leg.hang_up()
    await task
    assert [event for event, _ in log.lines] == ["agent stuck"]
    await asyncio.sleep(1_000)


@virtual_time
async def test_a_call_ends_when_it_has_lasted_too_long() -> None:
    leg = FakeLeg()
    record = await run(Sleeper(), leg, settings=RunnerSettings(max_duration_s=60.0))
    assert record.talk_ms == pytest.approx(60_000, abs=1)
    assert (record.reason, record.detail) == (EndReason.BOT_HUNG_UP, "max-duration")


@virtual_time
async def test_a_failed_agent_apologises_and_its_words_stay_private() -> None:
    leg, log = FakeLeg(), Log()
    record = await run(Broken(), leg, log, RunnerSettings(apology="sorry"))
    assert leg.audio.played == 4_000
    assert (record.reason, record.failure) == (EndReason.AGENT_FAILED, "KeyError")
    event, fields = log.lines[0]
    assert event == "agent failed"
    assert "private" not in repr(log.lines)
    assert any("in run" in line for line in fields["stack"])  # type: ignore[attr-defined]


@virtual_time
async def test_texts_of_errors_are_logged_where_that_is_wanted() -> None:
    log = Log()
    await run(Broken(), FakeLeg(), log, RunnerSettings(show_errors=True))
    assert "private words" in repr(log.lines)


@virtual_time
async def test_an_agent_may_prepare_while_it_rings() -> None:
    class Prepared(Greeter):
        async def prepare(self, call: Call) -> None:
            await asyncio.sleep(1.0)
            assert not call.answered

    record = await run(Prepared(), FakeLeg())
    assert record.setup_ms == 1_000


@virtual_time
async def test_preparing_is_bounded_in_time() -> None:
    class Slow(Greeter):
        async def prepare(self, call: Call) -> None:
            await asyncio.sleep(100.0)

    log = Log()
    record = await run(Slow(), FakeLeg(), log, RunnerSettings(prepare_timeout_s=2.0))
    assert record.setup_ms == 2_000
    assert [event for event, _ in log.lines] == ["agent prepare timeout"]


@virtual_time
async def test_an_agent_may_refuse_the_call() -> None:
    class Refuses(Greeter):
        async def prepare(self, call: Call) -> None:
            await call.reject(486)

    leg = FakeLeg()
    record = await run(Refuses(), leg)
    assert leg.steps == ["ring", "reject 486"]
    assert record.reason is EndReason.REJECTED


@virtual_time
async def test_failing_to_prepare_refuses_the_call() -> None:
    class Fails(Greeter):
        async def prepare(self, call: Call) -> None:
            raise OSError

    leg = FakeLeg()
    record = await run(Fails(), leg)
    assert leg.steps == ["ring", "reject 500"]
    assert record.failure == "OSError"


@virtual_time
async def test_a_leg_that_cannot_answer_ends_the_call() -> None:
    leg = FakeLeg(answer_error=TransportError("unreachable"))
    record = await run(Greeter(), leg)
    assert (record.reason, record.detail) == (EndReason.NETWORK, "answer-failed")


@virtual_time
async def test_cancelling_the_runner_hangs_up() -> None:
    leg = FakeLeg()
    task = asyncio.create_task(run(Sleeper(), leg))
    await asyncio.sleep(1.0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert leg.steps[-1] == "hangup shutdown"


@virtual_time
async def test_the_last_words_may_not_take_for_ever() -> None:
    class Talker:
        async def run(self, call: Call) -> None:
            asyncio.get_running_loop().call_soon(lambda: None)
            await call.play(tone(1_500), 8_000)

    log = Log()
    record = await run(Talker(), FakeLeg(), log, RunnerSettings(drain_timeout_s=0.5))
    assert record.talk_ms == 500
    assert [event for event, _ in log.lines] == ["drain timeout"]


@virtual_time
async def test_simulation_raises_what_the_agent_raised() -> None:
    with pytest.raises(KeyError):
        async with simulate(Broken()) as caller:
            await caller.waits(1.0)


@virtual_time
async def test_simulation_names_what_was_said_when_the_caller_waits_in_vain() -> None:
    class Polite:
        async def run(self, call: Call) -> None:
            await call.say("good day")

    with pytest.raises(AssertionError, match="good day"):
        async with simulate(Polite()) as caller:
            await caller.hears("good night")


@virtual_time
async def test_simulated_callers_hear_press_and_hang_up() -> None:
    class Menu:
        async def run(self, call: Call) -> None:
            await call.say("press a key")
            async for _ in call.events():
                await call.say("thank you")

    async with simulate(Menu()) as caller:
        spoken = await caller.hears("press")
        await caller.press("1")
        await caller.hears("thank", to_the_end=True)
        assert spoken.said is not None
        assert spoken.said.interrupted
    assert caller.transcript == ["press a key", "thank you"]
    assert caller.record.reason is EndReason.CALLER_HUNG_UP
    with pytest.raises(CallEnded):
        await caller.call.say("more")
