"""Whole walks over the WebSocket line: callbacks asked, branches taken, what the bot is told."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from sipbot.clock import SystemClock
from sipbot.exotel.sim.load import scenario_of
from sipbot.exotel.sim.report import Case
from sipbot.runtime.sim.run import Wish, kind_of, missing, play_all

from .kit import ScriptedBot, Talk, Web, greeting_bot, scripted_bot, web

pytestmark = pytest.mark.flaky(reruns=2)

FLOW = """
transport: [stream]
caller:
  - wait_speech: {within_ms: 3000}
  - wait_end: {within_ms: 5000}
applets:
  talk: {talk: {custom_params: a=1, record: true}, next: decide}
  decide: {passthru: {url: /passthru}, ok: dial, otherwise: end}
  dial: {connect: {url: '/connect?k=v'}, talked: after, no_answer: end, not_dialled: end}
  after: {passthru: {url: /after}}
  end: {hangup: }
"""


async def play(text: str, bot: ScriptedBot, callbacks: Web) -> Case:
    wish = Wish({"stream": bot.url, "http": callbacks.base})
    [case] = await play_all([scenario_of(text)], wish, SystemClock())
    return case


def replies(status: int = 200, **connect: Any) -> dict[str, list[tuple[int, str]]]:
    return {
        "/passthru": [(status, "")],
        "/connect": [(200, json.dumps(connect))],
        "/after": [(200, "")],
    }


async def test_a_transfer_from_the_first_word_to_the_last_callback() -> None:
    text = FLOW + (
        "expect: {transferred_to: '08022223333', path: [talk, decide, dial, after],"
        " ended_by: bot, stream: {status: completed, disconnected_by: bot}}\n"
    )
    async with scripted_bot() as bot, web() as callbacks:
        greeting_bot(bot)
        callbacks.replies = replies(destination={"numbers": ["+918022223333"]})
        case = await play(text, bot, callbacks)
        [talk] = bot.talks
    assert case.failures == []
    assert talk.path == "/bot?a=1"
    sid = talk.heard[1]["start"]["call_sid"]
    paths = [path for path, _, _ in callbacks.asked]
    assert paths == ["/passthru", "/connect", "/after"]
    assert {query["CallSid"] for _, query, _ in callbacks.asked} == {sid}
    passthru, connect, after = (query for _, query, _ in callbacks.asked)
    assert passthru["Stream[Status]"] == "completed"
    assert passthru["Stream[DisconnectedBy]"] == "bot"
    assert passthru["Stream[RecordingUrl]"].endswith(f"/acme1/{passthru['Stream[StreamSID]']}.mp3")
    assert passthru["Stream[StreamSID]"] == talk.heard[1]["stream_sid"]
    assert connect["k"] == "v"
    assert callbacks.asked[1][2]["exotel-version"] == "1.0"
    assert after["DialWhomNumber"] == "+918022223333"
    assert after["DialCallStatus"] == "completed"


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_anything_but_200_takes_the_other_branch(status: int) -> None:
    async with scripted_bot() as bot, web() as callbacks:
        greeting_bot(bot, 200)
        callbacks.replies = replies(status)
        text = FLOW + "expect: {not_transferred: true, path: [talk, decide, end]}\n"
        assert (await play(text, bot, callbacks)).failures == []
    assert len(callbacks.asked) == 1


async def test_connect_is_asked_again_after_a_failed_attempt() -> None:
    def numbers(*found: str, again: bool) -> tuple[int, str]:
        reply = {"fetch_after_attempt": again, "destination": {"numbers": found}}
        return 200, json.dumps(reply)

    text = FLOW.replace("'/connect?k=v'}", "/connect, attempts: [busy, no_answer, answered]}")
    async with scripted_bot() as bot, web() as callbacks:
        greeting_bot(bot, 200)
        callbacks.replies = replies()
        callbacks.replies["/connect"] = [
            numbers("+918000000001", again=True),
            numbers("+918000000002", again=True),
            numbers("+918000000003", again=True),
        ]
        case = await play(text, bot, callbacks)
    assert case.run.dialled == ["+918000000001", "+918000000002", "+918000000003"]
    asked = [query for path, query, _ in callbacks.asked if path == "/connect"]
    assert [query.get("DialCallStatus") for query in asked] == [None, "busy", "no-answer"]
    assert [visit.name for visit in case.run.visits][-1] == "after"


async def test_connect_without_anybody_and_with_a_fallback() -> None:
    text = FLOW.replace("{url: '/connect?k=v'}", "{url: /broken, fallback_url: /connect}")
    text = text.replace("not_dialled: end", "not_dialled: after")
    async with scripted_bot() as bot, web() as callbacks:
        greeting_bot(bot, 200)
        callbacks.replies = replies(destination={"numbers": []})
        case = await play(text, bot, callbacks)
    assert [path for path, _, _ in callbacks.asked] == [
        "/passthru",
        "/broken",
        "/connect",
        "/after",
    ]
    assert case.run.dialled == []
    assert case.run.visits[2].outcome is not None
    assert case.run.visits[2].outcome.value == "not_dialled"


async def test_a_dynamic_url_is_looked_up_with_the_facts_of_the_call() -> None:
    async with scripted_bot() as bot, web() as callbacks:
        greeting_bot(bot, 200)
        callbacks.replies["/voicebot-url"] = [(200, json.dumps({"url": bot.url + "/sid1"}))]
        text = "transport: [stream]\nstream: {rate: 16000}\ncaller: [wait_end: {}]\n"
        wish = Wish({"stream": callbacks.base + "/voicebot-url"})
        [case] = await play_all([scenario_of(text)], wish, SystemClock())
        [talk] = bot.talks
    assert case.failures == []
    assert talk.path == "/bot/sid1?sample-rate=16000"
    assert talk.heard[1]["start"]["media_format"]["sample_rate"] == "16000"
    assert callbacks.asked[0][1]["CallFrom"] == "+919812345610"


async def test_a_lookup_that_fails_is_told_and_fails_the_case() -> None:
    async with web() as callbacks:
        text = "transport: [stream]\ncaller: [wait_end: {}]\n"
        wish = Wish({"stream": callbacks.base + "/nothing"})
        [case] = await play_all([scenario_of(text)], wish, SystemClock())
    assert case.failures == ["answered: expected answered, found not answered: no stream url"]
    assert case.run.faults == ["stream url: answered 404"]


async def test_the_caller_leaves_during_the_greeting() -> None:
    text = """
transport: [stream]
start: hello
applets:
  hello: {greeting: {ms: 10, hang_up: true}, next: told}
  told: {passthru: {url: /passthru, encoding: json}, ok: talk}
  talk: {talk: {}}
expect: {answered: null, path: [hello, told], stream: {status: cancelled, disconnected_by: user}}
"""
    async with scripted_bot() as bot, web() as callbacks:
        callbacks.replies = replies()
        case = await play(text, bot, callbacks)
        assert bot.talks == []
    assert case.failures == []
    stream = json.loads(callbacks.asked[0][1]["Stream"])
    assert (stream["Status"], stream["DisconnectedBy"]) == ("cancelled", "user")
    assert callbacks.asked[0][1]["CallType"] == "client-hangup"


async def test_a_fork_listens_while_the_flow_goes_on() -> None:
    text = """
transport: [stream]
start: fork
applets:
  fork: {stream: {}, next: keys}
  keys: {gather: {types: '12'}, next: wait}
  wait: {greeting: {ms: 200}, next: stop}
  stop: {stream: {action: stop}, next: told}
  told: {passthru: {url: /passthru}}
expect: {answered: null, stream: {status: completed, disconnected_by: user}}
"""
    async with scripted_bot() as bot, web() as callbacks:
        callbacks.replies = replies()
        case = await play(text, bot, callbacks)
        [talk] = bot.talks
        await talk.closed.wait()
    assert case.failures == []
    assert len(talk.events("media")) >= 5
    assert talk.heard[-1]["stop"]["reason"] == "stopped"
    assert callbacks.asked[0][1]["digits"] == '"12"'


async def test_a_step_that_fails_ends_the_call_and_the_case_says_so() -> None:
    async with scripted_bot() as bot, web() as callbacks:
        callbacks.replies = replies()
        text = FLOW.replace("within_ms: 3000", "within_ms: 200")
        case = await play(text, bot, callbacks)
        [talk] = bot.talks
        await talk.closed.wait()
    assert case.failures == ["wait_speech: nothing was heard for 200 ms"]
    assert talk.heard[-1]["stop"]["reason"] == "callended"
    assert [visit.name for visit in case.run.visits] == ["talk", "decide"]


async def test_a_call_is_bounded() -> None:
    async with scripted_bot() as bot, web() as callbacks:
        text = "transport: [stream]\nlimit_s: 0.3\ncaller: [wait_end: {}]\n"
        case = await play(text, bot, callbacks)
        await bot.talks[0].closed.wait()
    assert case.failures == [
        "limits: expected the call ends by itself, found the call lasted more than 0 s"
    ]


async def test_rules_that_the_bot_breaks_fail_a_strict_scenario_only() -> None:
    def react(talk: Talk, message: dict[str, Any]) -> None:
        if message["event"] == "start":
            talk.says(event="media", media={"payload": "AAAA"}, sequence_number=7)
            asyncio.get_running_loop().call_later(0.1, talk.closes)

    base = "transport: [stream]\ncaller: [wait_end: {}]\nstream: {strict: %s}\n"
    async with scripted_bot() as bot, web() as callbacks:
        bot.react = react
        assert (await play(base % "false", bot, callbacks)).passed
        case = await play(base % "true", bot, callbacks)
    [failure] = case.failures
    assert failure.endswith("found sequence-number-not-text; payload-no-multiple-of-320")


def test_addresses_that_are_missing_are_told_before_anybody_is_called() -> None:
    both = scenario_of(FLOW.replace("[stream]", "[sip, stream]"))
    assert missing([both], Wish({"stream": "ws://x"})) == [
        "scenario [sip] needs --bot http://...",
        "scenario [sip] needs --bot sip:...",
        "scenario [stream] needs --bot http://...",
    ]
    assert missing([both], Wish({"stream": "ws://x", "http": "http://x"}, ("stream",))) == []


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("sip:a@b", "sip"),
        ("SIPS:a@b", "sip"),
        ("wss://x", "stream"),
        ("http://x", "http"),
        ("x", None),
    ],
)
def test_addresses_by_their_kind(url: str, kind: str | None) -> None:
    assert kind_of(url) == kind
