"""Chat completions against a server that streams them: text, tools, and every fault."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from types import MappingProxyType

import pytest

from sipbot.agent.ports import Delta, Message, TextDelta, Tool, ToolCall, Usage
from sipbot.agent.providers.counts import Tally
from sipbot.agent.providers.openai_chat import MAX_ANSWER, OpenAiChat
from sipbot.agent.providers.patience import Patience
from sipbot.errors import ProviderError
from tests.agent.providers.kit import HASTY, KEY, QUICK, all_of, service, text_of
from tests.agent.providers.servers.http import (
    Answer,
    Handler,
    Request,
    hanging,
    refusing,
    script,
    serving,
)
from tests.agent.providers.servers.openai import USAGE, chat, chunk, event, hello

ASKED = (Message("system", "Be kind."), Message("user", "SECRET WORDS"))


def model(url: str, patience: Patience = QUICK, tally: Tally | None = None) -> OpenAiChat:
    return OpenAiChat(service(url, patience), tally or Tally(), "gpt-x", {"temperature": 0.2})


async def collect(deltas: AsyncIterator[Delta], got: list[str]) -> None:
    async for delta in deltas:
        assert isinstance(delta, TextDelta)
        got.append(delta.text)


async def failure(handler: Handler, patience: Patience = QUICK) -> tuple[ProviderError, int, str]:
    """The error, how often was asked, and the text that came before."""
    got: list[str] = []
    async with serving(handler) as server:
        with pytest.raises(ProviderError) as caught:
            await collect(model(server.url, patience).reply(ASKED), got)
        assert "SECRET" not in str(caught.value)
        assert KEY not in str(caught.value)
        assert caught.value.__cause__ is None
        return caught.value, len(server.requests), "".join(got)


async def test_text_streams_and_usage_is_told() -> None:
    tally = Tally()
    async with serving(hello()) as server:
        deltas = await all_of(model(server.url, tally=tally).reply(ASKED))
        request = server.requests[0]
    assert text_of(deltas) == "Good morning."
    assert deltas[-2:] == [Usage("openai", "input-tokens", 21), Usage("openai", "output-tokens", 5)]
    assert tally.values["provider_usage", "openai", "output-tokens"] == 5
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.json == {
        "model": "gpt-x",
        "temperature": 0.2,
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "SECRET WORDS"},
        ],
    }


async def test_the_first_words_come_before_the_rest_is_made() -> None:
    go_on = asyncio.Event()

    async def handle(_: Request, answer: Answer) -> None:
        await answer.begin("text/event-stream")
        await answer.piece(chunk({"content": "First."}))
        await go_on.wait()
        await answer.piece(chunk({"content": " Second."}, "stop") + event("[DONE]"))
        await answer.end()

    async with serving(handle) as server:
        deltas = model(server.url).reply(ASKED)
        assert await anext(deltas) == TextDelta("First.")
        go_on.set()
        assert text_of(await all_of(deltas)) == " Second."


async def test_tool_calls_come_whole_from_their_pieces() -> None:
    def piece(index: int, **call: object) -> str:
        return chunk({"tool_calls": [{"index": index, **call}]})

    handler = chat(
        chunk({"content": "Let me look."}),
        piece(0, id="c1", type="function", function={"name": "find", "arguments": ""}),
        piece(0, function={"arguments": '{"day": '}),
        piece(1, id="c2", type="function", function={"name": "now", "arguments": ""}),
        piece(0, function={"arguments": '"friday"}'}),
        chunk({}, "tool_calls"),
    )
    parameters = MappingProxyType(
        {"type": "object", "properties": MappingProxyType({"day": {"type": "string"}})}
    )
    told = (
        *ASKED,
        Message("assistant", "", (ToolCall("c0", "find", "{}"),)),
        Message("tool", "none", tool_call_id="c0"),
    )
    async with serving(handler) as server:
        deltas = await all_of(
            model(server.url).reply(told, (Tool("find", "Find a slot", parameters),))
        )
        body = server.requests[0].json
    assert deltas == [
        TextDelta("Let me look."),
        ToolCall("c1", "find", '{"day": "friday"}'),
        ToolCall("c2", "now", "{}"),
    ]
    assert body["messages"][2] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "c0", "type": "function", "function": {"name": "find", "arguments": "{}"}}
        ],
    }
    assert body["messages"][3] == {"role": "tool", "content": "none", "tool_call_id": "c0"}
    assert body["tools"][0]["function"]["parameters"] == {
        "type": "object",
        "properties": {"day": {"type": "string"}},
    }


async def test_events_may_be_cut_anywhere_into_pieces() -> None:
    text = (
        ": comment\r\nevent: x\r\n"
        + chunk({"content": "Grüße, "}).replace("\n", "\r\n")
        + chunk({"content": "नमस्ते"}, "stop")
        + USAGE
        + event("[DONE]")
    ).encode()

    async def handle(_: Request, answer: Answer) -> None:
        await answer.begin("text/event-stream")
        for place in range(len(text)):
            await answer.piece(text[place : place + 1])
        await answer.end()

    async with serving(handle) as server:
        deltas = await all_of(model(server.url).reply(ASKED))
    assert text_of(deltas) == "Grüße, नमस्ते"


async def test_a_wrong_key_is_not_tried_again() -> None:
    error, asked, _ = await failure(refusing(401))
    assert (error.reason, error.retry, asked) == ("unauthorised", False, 1)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (refusing(429, Retry_After="0"), "rate-limited"),
        (refusing(503), "unavailable"),
        (chat(cut=True), "cut-off"),
        (chat(event({"error": {"message": "SECRET"}})), "failed"),
    ],
)
async def test_passing_faults_are_tried_once_more(fault: Handler, reason: str) -> None:
    tally = Tally()
    async with serving(script(fault, hello())) as server:
        assert text_of(await all_of(model(server.url, tally=tally).reply(ASKED))) == "Good morning."
        assert len(server.requests) == 2
    assert tally.values["provider_failures", "openai", reason] == 1
    error, asked, _ = await failure(fault)
    assert (error.reason, error.retry, asked) == (reason, True, 2)


async def test_a_long_retry_after_is_not_waited_for() -> None:
    error, asked, _ = await failure(refusing(429, Retry_After="30"))
    assert (error.reason, error.retry_after_s, asked) == ("rate-limited", 30.0, 1)


async def test_an_answer_that_is_cut_after_words_came_is_not_asked_again() -> None:
    error, asked, text = await failure(chat(chunk({"content": "Good "}), cut=True))
    assert (error.reason, asked, text) == ("cut-off", 1, "Good ")


async def test_a_stream_that_ends_in_order_but_unfinished_is_cut_off() -> None:
    async def handle(_: Request, answer: Answer) -> None:
        await answer.whole("text/event-stream", chunk({"content": "Good "}))

    error, _, _ = await failure(handle)
    assert error.reason == "cut-off"


@pytest.mark.parametrize(
    "fault",
    [
        chat(event("{not json")),
        chat(event('["a", "list"]')),
        chat(event({"choices": [{"delta": {"tool_calls": [{"index": 0}]}}]})),
        chat(event({"choices": 5})),
    ],
)
async def test_garbage_is_told_as_such(fault: Handler) -> None:
    error, asked, _ = await failure(fault)
    assert (error.reason, asked) == ("garbage", 1)


async def test_a_page_in_html_is_garbage() -> None:
    async def handle(_: Request, answer: Answer) -> None:
        await answer.whole("text/html", "<html>Log in to the hotel's network</html>")

    error, _, _ = await failure(handle)
    assert error.reason == "garbage"


async def test_a_model_that_never_stops_is_stopped() -> None:
    babble = chunk({"content": "a" * 1_000})
    error, _, text = await failure(chat(*[babble] * 60, at_once=True))
    assert error.reason == "babble"
    assert len(text) <= MAX_ANSWER


async def test_a_server_that_says_nothing_runs_out_of_time() -> None:
    error, _, _ = await failure(hanging, HASTY)
    assert (error.reason, error.retry) == ("timeout", True)


async def test_a_server_that_stops_in_the_middle_runs_out_of_time() -> None:
    async def handle(_: Request, answer: Answer) -> None:
        await answer.begin("text/event-stream")
        await answer.piece(chunk({"content": "Good "}))
        await asyncio.Event().wait()

    error, _, text = await failure(handle, HASTY)
    assert (error.reason, text) == ("timeout", "Good ")


async def test_nobody_listens_there() -> None:
    async with serving(hello()) as server:
        url = server.url
    with pytest.raises(ProviderError, match="openai: unreachable"):
        await all_of(model(url).reply(ASKED))


async def test_closing_the_answer_stops_the_server() -> None:
    async def handle(_: Request, answer: Answer) -> None:
        await answer.begin("text/event-stream")
        await answer.piece(chunk({"content": "Good "}))
        await asyncio.Event().wait()

    async with serving(handle) as server:
        deltas = model(server.url).reply(ASKED)
        await anext(deltas)
        await deltas.aclose()
        await asyncio.wait_for(server.gone.wait(), 20)


async def test_turns_share_a_connection_that_is_warm_before_the_first() -> None:
    async with serving(hello()) as server:
        chat_model = model(server.url)
        await chat_model.warm()
        assert server.connections == 1
        for _ in range(3):
            await all_of(chat_model.reply(ASKED))
        assert server.connections == 1
        await chat_model.close()


async def test_unknown_shapes_of_arguments_are_handed_on_as_written() -> None:
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "not json"}}
    async with serving(chat(chunk({"tool_calls": [call]}, "tool_calls"))) as server:
        deltas = await all_of(model(server.url).reply(ASKED))
    assert deltas == [ToolCall("c", "f", "not json")]
    with pytest.raises(json.JSONDecodeError):
        json.loads("not json")


async def test_nothing_is_logged_of_what_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    async with serving(hello()) as server:
        await all_of(model(server.url).reply(ASKED))
    assert "SECRET" not in caplog.text
    assert KEY not in caplog.text
    assert "chat/completions" not in caplog.text
