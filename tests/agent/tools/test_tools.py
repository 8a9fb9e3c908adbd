"""Tools: arguments, results and mistakes, functions, HTTP."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from sipbot.agent.ports import Tool, ToolCall
from sipbot.agent.python_agent import AgentLoadError
from sipbot.agent.tools.builtin import hang_up_tool, press_keys_tool, transfer_tool
from sipbot.agent.tools.functions import function_tool, load_function_tool
from sipbot.agent.tools.http import MAX_BODY, HttpTool
from sipbot.agent.tools.toolbox import MAX_RESULT_CHARS, RunnableTool, Toolbox
from sipbot.call.call import Call
from sipbot.errors import LocalProtocolError
from sipbot.testing.clock import virtual_time
from sipbot.testing.leg import FakeLeg


class FakeTurn:
    """Remembers what tools did."""

    def __init__(self) -> None:
        self.leg = FakeLeg()
        self.call = Call(self.leg, call_id="test")
        self.did: list[str] = []

    @property
    def over(self) -> bool:
        return "end" in self.did

    async def spoken(self) -> None:
        self.did.append("spoken")

    def close(self) -> None:
        self.did.append("close")

    def reopen(self) -> None:
        self.did.append("reopen")

    def end(self) -> None:
        self.did.append("end")


async def use(tool: RunnableTool, limit_s: float = 1.0, **arguments: Any) -> tuple[str, FakeTurn]:
    turn = FakeTurn()
    await turn.call.answer()
    wanted = ToolCall("1", tool.tool.name, json.dumps(arguments))
    try:
        return await Toolbox([tool]).run(turn, wanted, limit_s), turn
    finally:
        turn.leg.hang_up()


async def double(number: int, call: Call, unit: str = "cm") -> str:
    """Twice as much."""
    return f"{2 * number} {unit} for {call.id}"


def test_a_function_describes_itself() -> None:
    tool = function_tool(double).tool
    assert (tool.name, tool.description) == ("double", "Twice as much.")
    assert set(tool.parameters["properties"]) == {"number", "unit"}
    assert tool.parameters["required"] == ["number"]


@virtual_time
async def test_a_function_is_called_with_checked_arguments() -> None:
    assert (await use(function_tool(double), number=4))[0] == "8 cm for test"
    assert (await use(function_tool(double), number="many"))[0] == "error: wrong arguments: number"
    assert (await use(function_tool(double)))[0] == "error: missing: number"
    assert (await use(function_tool(double), number=1, x=2))[0] == "error: unknown: x"


@virtual_time
async def test_mistakes_of_a_function_stay_with_it() -> None:
    async def breaks() -> str:
        raise RuntimeError("secret")

    async def hangs() -> str:
        await asyncio.sleep(60)
        return "late"

    async def long() -> str:
        return "x" * 100_000

    assert (await use(function_tool(breaks)))[0] == "error: it did not work"
    assert (await use(function_tool(hangs)))[0] == "error: it took too long"
    assert len((await use(function_tool(long)))[0]) == MAX_RESULT_CHARS


@virtual_time
async def test_the_model_may_write_nonsense() -> None:
    box = Toolbox([function_tool(double)])
    turn = FakeTurn()
    for name, arguments in (("double", "{"), ("double", "[1]"), ("nothing", "{}")):
        assert (await box.run(turn, ToolCall("1", name, arguments), 1.0)).startswith("error: ")


def test_what_is_no_tool_is_told() -> None:
    def plain(day: str) -> str:
        return day

    async def star(*days: str) -> str:
        return ""

    for wrong in (plain, star):
        with pytest.raises(AgentLoadError):
            function_tool(wrong)
    with pytest.raises(AgentLoadError):
        load_function_tool("no.such:thing")
    with pytest.raises(ValueError, match="same name"):
        Toolbox([function_tool(double), function_tool(double)])


@virtual_time
async def test_transfer_waits_for_the_words_then_ends() -> None:
    result, turn = await use(transfer_tool({"desk": "sip:desk@example.org"}), to="desk")
    assert (result, turn.did) == ("done", ["close", "spoken", "end"])
    assert "transfer sip:desk@example.org" in turn.leg.steps
    assert (await use(transfer_tool({"desk": "x"}), to="moon"))[
        0
    ] == "error: to must be one of desk"


@virtual_time
async def test_a_transfer_that_cannot_be_goes_on_with_the_call() -> None:
    turn = FakeTurn()
    await turn.call.answer()

    async def transfer(target: str) -> None:
        raise LocalProtocolError("not on this line")

    turn.call.transfer = transfer  # type: ignore[method-assign]
    wanted = ToolCall("1", "transfer_call", '{"to": "desk"}')
    result = await Toolbox([transfer_tool({"desk": "x"})]).run(turn, wanted, 1.0)
    assert result.startswith("error: the transfer was refused")
    assert turn.did == ["close", "spoken", "reopen"]
    turn.leg.hang_up()


@virtual_time
async def test_hang_up_and_keys() -> None:
    assert (await use(hang_up_tool()))[1].did == ["close", "spoken", "end"]
    result, turn = await use(press_keys_tool(), keys="12#")
    assert result == "done"
    assert "dtmf 12#" in turn.leg.steps
    for wrong in ("", "1x", "1" * 33):
        assert (await use(press_keys_tool(), keys=wrong))[0].startswith("error: keys")


# --- HTTP -----------------------------------------------------------------------------------------

SCHEMA = {"properties": {"city": {"type": "string"}, "day": {"type": "string"}}}


def answering(**answer: Any) -> tuple[httpx.AsyncClient, list[httpx.Request]]:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if "raises" in answer:
            raise answer["raises"]
        return httpx.Response(**answer)

    return httpx.AsyncClient(transport=httpx.MockTransport(handle)), seen


@virtual_time
async def test_arguments_fill_the_url_and_the_query() -> None:
    client, seen = answering(status_code=200, text="sunny")
    http = HttpTool("weather", "", "http://h/w/{city}", headers={"X-Key": "k"}, parameters=SCHEMA)
    result, _ = await use(http.runnable(client), city="New Delhi/../x", day="Monday")
    assert result == "sunny"
    assert seen[0].url.raw_path == b"/w/New%20Delhi%2F..%2Fx?day=Monday"
    assert seen[0].headers["x-key"] == "k"
    await client.aclose()


@virtual_time
async def test_arguments_become_a_body() -> None:
    client, seen = answering(status_code=201, text="ok")
    http = HttpTool("book", "", "http://h/book", method="POST", parameters=SCHEMA)
    await use(http.runnable(client), city="Pune", day="Monday")
    assert json.loads(seen[0].content) == {"city": "Pune", "day": "Monday"}
    await client.aclose()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"status_code": 503, "text": "secret"}, "error: the service answered with status 503"),
        ({"status_code": 302, "text": "away"}, "error: the service answered with status 302"),
        ({"raises": httpx.ConnectError("x")}, "error: the service cannot be reached"),
        ({"raises": httpx.ReadTimeout("x")}, "error: the service took too long"),
    ],
)
@virtual_time
async def test_a_service_that_fails_is_told_to_the_model(answer: dict[str, Any], told: str) -> None:
    client, _ = answering(**answer)
    http = HttpTool("weather", "", "http://h/", parameters=SCHEMA)
    assert (await use(http.runnable(client)))[0] == told
    await client.aclose()


@virtual_time
async def test_a_huge_answer_is_cut() -> None:
    client, _ = answering(status_code=200, content=b"x" * (3 * MAX_BODY))
    http = HttpTool("weather", "", "http://h/", parameters=SCHEMA)
    assert len((await use(http.runnable(client)))[0]) == MAX_RESULT_CHARS
    await client.aclose()


def test_a_url_must_name_parameters() -> None:
    with pytest.raises(ValueError, match="no parameter"):
        HttpTool("x", "", "http://h/{nothing}", parameters=SCHEMA).runnable()
    assert isinstance(HttpTool("x", "", "http://h/{city}", parameters=SCHEMA).runnable().tool, Tool)
