"""Conversations with a model that hears and speaks itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sipbot.agent.ports import Heard, Moment, Tool, ToolCall, Usage
from sipbot.agent.tools.builtin import hang_up_tool, transfer_tool
from sipbot.agent.tools.toolbox import RunnableTool, ToolTurn
from sipbot.call.leg import EndReason, TransferResult
from sipbot.errors import ProviderError
from sipbot.testing.clock import virtual_time
from tests.agent.realtime.kit import DOWN, Model, calling, loud_ms


@virtual_time
async def test_a_greeting_a_turn_and_the_end() -> None:
    model = Model(answers=0.5)
    async with calling(model, voice="marin", language="hi") as caller:
        await caller.waits(1)
        assert model.asked == ["Greet."]
        assert 440 <= loud_ms(caller) <= 560
        model.put(Moment.CALLER_SPEAKS, Moment.CALLER_STOPPED, Heard("user", "A room", True))
        model.put(Usage("model", "output-tokens", 7))
        model.speak(1.0, done=False)
        model.put(Heard("assistant", "Certainly.", True), Moment.ANSWER_DONE)
        await caller.waits(2)
        said = caller.spoken[0]
        assert said.text == "Certainly."
        assert said.said is not None
        assert (said.said.interrupted, said.said.total_ms) == (False, 1_000)
        caller.hangs_up()
        record = await caller.ended()
    assert record.reason is EndReason.CALLER_HUNG_UP
    assert model.setup is not None
    assert (model.setup.voice, model.setup.language, model.setup.rate) == ("marin", "hi", 16_000)
    assert (model.opened, model.left) == (1, 1)
    assert model.pushed >= 2.5 * 16_000
    assert record.stats["model_output-tokens"] == 7
    assert record.stats["turns"] == 1


@virtual_time
async def test_a_caller_who_speaks_stops_the_model_and_tells_it_what_was_heard() -> None:
    model = Model(answers=0)
    async with calling(model, max_silence_s=30) as caller:
        await caller.waits(0.5)
        model.speak(8.0)
        await caller.waits(2)
        model.put(Moment.CALLER_SPEAKS)
        await caller.waits(0.1)
        before = loud_ms(caller)
        assert len(model.heard_ms) == 1
        assert abs(model.heard_ms[0] - before) <= 100
        assert 1_800 <= before <= 2_100
        await caller.waits(3)
        assert loud_ms(caller) == before
        model.speak(1.0)
        await caller.waits(2)
        assert loud_ms(caller) >= before + 900
        caller.hangs_up()
        assert (await caller.ended()).stats["interruptions"] == 1


@virtual_time
async def test_silence_is_followed_up_and_then_the_bot_says_goodbye() -> None:
    model = Model(answers=0.5)
    async with calling(model, follow_up="Ask.", goodbye="Bye.", max_follow_ups=2) as caller:
        record = await caller.ended()
    assert model.asked == ["Greet.", "Ask.", "Ask.", "Bye."]
    assert record.reason is EndReason.BOT_HUNG_UP
    assert 30_000 <= record.talk_ms <= 40_000
    assert loud_ms(caller) >= 4 * 440


@virtual_time
async def test_calls_have_a_longest_time() -> None:
    model = Model(answers=2.0)
    async with calling(model, goodbye="Bye.", max_call_s=1.0) as caller:
        record = await caller.ended()
    assert model.asked == ["Greet.", "Bye."]
    assert 4_000 <= record.talk_ms <= 6_000
    assert loud_ms(caller) >= 3_900


@virtual_time
async def test_a_model_that_owes_an_answer_for_too_long_is_given_up() -> None:
    model = Model(answers=0.5)
    async with calling(
        model, give_up="Technical problem.", give_up_transfer="desk", max_silence_s=4
    ) as caller:
        await caller.waits(2)
        model.put(Moment.CALLER_SPEAKS, Moment.CALLER_STOPPED)
        record = await caller.ended()
    assert caller.transcript == ["Technical problem."]
    assert "transfer desk" in caller.leg.steps
    assert record.reason is EndReason.TRANSFERRED
    assert record.talk_ms <= 10_000


@virtual_time
async def test_a_model_that_stops_in_the_middle_of_an_answer_is_given_up() -> None:
    model = Model(answers=0)
    async with calling(model, give_up="Technical problem.", max_silence_s=4) as caller:
        model.speak(3.0, done=False)
        await caller.waits(5)
        assert caller.transcript == []
        await caller.ended()
    assert caller.transcript == ["Technical problem."]


@virtual_time
async def test_a_model_that_is_lost_or_cannot_be_reached() -> None:
    model = Model()
    async with calling(model, give_up="Technical problem.") as caller:
        await caller.waits(1)
        model.put(DOWN)
        record = await caller.ended()
    assert caller.transcript == ["Technical problem."]
    assert record.reason is EndReason.BOT_HUNG_UP
    closed = Model(error=ProviderError("model", "unauthorised"))
    async with calling(closed, give_up="Technical problem.") as caller:
        await caller.ended()
    assert caller.transcript == ["Technical problem."]


def slow_tool(results: list[Mapping[str, Any]]) -> RunnableTool:
    async def run(turn: ToolTurn, arguments: Mapping[str, Any]) -> str:
        results.append(arguments)
        return "free at nine"

    schema = {"type": "object", "properties": {"day": {"type": "string"}}}
    return RunnableTool(Tool("find", "Find a slot", schema), run)


@virtual_time
async def test_tools_run_and_their_results_go_back() -> None:
    model = Model()
    got: list[Mapping[str, Any]] = []
    async with calling(model, [slow_tool(got)]) as caller:
        await caller.waits(1)
        assert model.setup is not None
        assert [tool.name for tool in model.setup.tools] == ["find"]
        model.put(ToolCall("c1", "find", '{"day": "friday"}'), Moment.ANSWER_DONE)
        model.put(ToolCall("c2", "nonsense", "{}"))
        await caller.waits(1)
        caller.hangs_up()
        await caller.ended()
    assert got == [{"day": "friday"}]
    assert model.results == [("c1", "free at nine"), ("c2", "error: there is no such tool")]


@virtual_time
async def test_hanging_up_waits_for_the_last_words() -> None:
    model = Model(answers=0)
    async with calling(model, [hang_up_tool()]) as caller:
        await caller.waits(0.5)
        model.speak(2.0, done=False)
        model.put(ToolCall("c1", "hang_up", "{}"), Moment.ANSWER_DONE)
        record = await caller.ended()
    assert record.reason is EndReason.BOT_HUNG_UP
    assert loud_ms(caller) >= 1_950


@virtual_time
async def test_nothing_is_said_over_a_transfer_and_a_refused_one_goes_on() -> None:
    model = Model(answers=0)
    tools = [transfer_tool({"desk": "front-desk"})]
    refused = TransferResult(False, "busy")
    async with calling(model, tools, transfer_result=refused) as caller:
        await caller.waits(0.5)
        model.speak(2.0, done=False)
        model.put(ToolCall("c1", "transfer_call", '{"to": "desk"}'), Moment.ANSWER_DONE)
        await caller.waits(1)
        model.put(Moment.CALLER_SPEAKS)  # too late: the call is being handed on
        await caller.waits(3)
        assert loud_ms(caller) >= 1_950
        assert model.heard_ms == []
        assert model.results[0][1].startswith("error: the transfer was refused")
        model.speak(4.0)
        await caller.waits(1)
        model.put(Moment.CALLER_SPEAKS)
        await caller.waits(1)
        assert len(model.heard_ms) == 1
        caller.hangs_up()
        await caller.ended()


@virtual_time
async def test_a_caller_who_hangs_up_ends_everything() -> None:
    model = Model(answers=5.0)
    async with calling(model) as caller:
        await caller.waits(1)
        caller.hangs_up()
        record = await caller.ended()
        await caller.waits(0.1)
    assert record.reason is EndReason.CALLER_HUNG_UP
    assert record.failure == ""
    assert model.left == 1
