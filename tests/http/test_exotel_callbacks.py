"""Exotel's callbacks, over HTTP: branches, destinations, streams, in every encoding."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from urllib.parse import quote, urlencode

import pytest

from sipbot.exotel.applets import Contact, Destination
from sipbot.testing.clock import ManualClock
from tests.http.exotel_kit import NOBODY, RULES, Node, node

FIRST, SECOND = ["+918012345678"], ["08012345679"]


@pytest.fixture
async def here(store_url: str) -> AsyncIterator[Node]:
    """A node on each kind of store."""
    async with node(store_url) as one:
        yield one


@pytest.fixture
async def alone(sqlite_url: str) -> AsyncIterator[Node]:
    """A node for what no database changes."""
    async with node(sqlite_url) as one:
        yield one


# --- Passthru -------------------------------------------------------------------------------------


async def test_without_an_intent_the_call_ends(here: Node) -> None:
    assert await here.passthru() == 302
    assert await here.passthru("/exotel/passthru/reverse") == 200


async def test_with_an_intent_the_caller_is_connected_however_often_it_is_asked(here: Node) -> None:
    await here.want()
    assert [await here.passthru() for _ in range(3)] == [200, 200, 200]
    assert await here.passthru("/exotel/passthru/reverse") == 404
    assert await here.passthru(CallSid="sid-2") == 302
    assert [event.occasion for event in await here.events()] == ["passthru:bot"]


async def test_an_intent_expires(alone: Node) -> None:
    await alone.want()
    alone.clock.advance(121)
    assert await alone.passthru() == 302
    assert await alone.connect() == NOBODY


async def test_once_connect_was_asked_a_passthru_is_a_later_one(here: Node) -> None:
    await here.want()
    assert await here.passthru() == 200
    await here.connect()
    assert await here.passthru(DialCallStatus="no-answer") == 302


@pytest.mark.parametrize("stage", ["call-end", "no-answer", "no-dial"])
@pytest.mark.parametrize("name", ["stage", "omni_status"])
async def test_after_connect_the_call_ends_and_the_intent_with_it(
    alone: Node, stage: str, name: str
) -> None:
    if name == "omni_status":
        stage = {"call-end": "call_end", "no-answer": "nobody_ans"}.get(stage, "didnt_dial_anyone")
    await alone.want()
    alone.clock.advance(1)
    assert await alone.passthru(**{name: stage, "DialCallStatus": "completed"}) == 302
    assert await alone.passthru("/exotel/passthru/reverse", **{name: stage}) == 200
    await alone.events()  # all is written
    assert await alone.passthru() == 302
    assert await alone.connect() == NOBODY


async def test_a_flow_that_nobody_configured(alone: Node) -> None:
    assert await alone.passthru("/exotel/passthru/unknown") == 404
    assert alone.counters.value("callbacks_refused", rule="unknown-flow") == 1


async def test_without_callsid_the_call_ends(alone: Node) -> None:
    await alone.want()
    assert await alone.passthru(CallSid="") == 302
    assert alone.counters.value("callbacks_refused", rule="no-callsid") == 1


STREAM = {"StreamSID": "s9", "Status": "failed", "DisconnectedBy": "NA", "Error": "3009 no"}
FACTS = {
    "stream_sid": "s9",
    "stream_status": "failed",
    "disconnected_by": "NA",
    "stream_error": "3009 no",
}
QUERIES = [
    "&".join(f"Stream[{name}]={quote(value)}" for name, value in STREAM.items()),
    urlencode({f"Stream[{name}]": value for name, value in STREAM.items()}),
    "Stream=" + quote(json.dumps(STREAM)),
    "Stream=" + quote(json.dumps(STREAM) + "}"),
    "Stream=" + quote('"' + json.dumps(STREAM)[:-1]),
]


@pytest.mark.parametrize("query", QUERIES)
async def test_stream_outcomes_are_kept_in_every_encoding(alone: Node, query: str) -> None:
    await alone.want()
    path = f'/exotel/passthru?CallSid=sid-1&From="%2B919812345610&digits="7"&{query}'
    assert (await alone.client.get(path)).status_code == 200
    (event,) = await alone.events()
    assert (event.kind, event.stage, event.facts) == ("passthru", "bot", FACTS)
    assert event.occasion == "passthru:bot:s9"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", json.dumps({"CallSid": "sid-1", "Stream": STREAM}).encode()),
        ("application/x-www-form-urlencoded", (QUERIES[0] + "&CallSid=sid-1").encode()),
        ("", (QUERIES[2] + "&CallSid=sid-1").encode()),
    ],
)
async def test_a_passthru_by_post(alone: Node, kind: str, body: bytes) -> None:
    await alone.want()
    headers = {"content-type": kind} if kind else {}
    answer = await alone.client.post("/exotel/passthru", content=body, headers=headers)
    assert answer.status_code == 200
    assert [event.facts for event in await alone.events()] == [FACTS]


async def test_keys_that_were_pressed_are_not_kept(alone: Node) -> None:
    await alone.passthru(digits='"98765"')
    assert "98765" not in str(await alone.events())


# --- Connect --------------------------------------------------------------------------------------


async def test_without_an_intent_nobody_is_dialled(alone: Node) -> None:
    assert await alone.connect() == NOBODY
    assert await alone.connect(CallSid="") == NOBODY
    assert alone.counters.value("connects", dials="false") == 2


async def test_the_numbers_one_by_one_as_attempts_fail(here: Node) -> None:
    await here.want()
    # The bot itself was dialled by a Connect applet before.
    assert await here.dialled(DialWhomNumber="sip:trmum1a", DialCallStatus="completed") == FIRST
    assert await here.dialled(DialWhomNumber="sip:trmum1a", DialCallStatus="completed") == FIRST
    assert await here.dialled(DialWhomNumber="08012345678", DialCallStatus="busy") == SECOND
    assert await here.dialled(DialWhomNumber="08012345678", DialCallStatus="busy") == SECOND
    assert await here.dialled(DialWhomNumber="+918012345679", DialCallStatus="no-answer") == []
    assert await here.dialled(DialWhomNumber="08012345678", DialCallStatus="busy") == []


async def test_where_nothing_tells_the_attempt_time_does(alone: Node) -> None:
    await alone.want()
    assert await alone.dialled() == FIRST
    alone.clock.advance(2.9)
    assert await alone.dialled() == FIRST
    alone.clock.advance(0.2)
    assert await alone.dialled() == SECOND
    alone.clock.advance(30)
    assert await alone.dialled() == []


async def test_an_attempt_prolongs_the_intent(alone: Node) -> None:
    await alone.want()
    alone.clock.advance(110)
    assert await alone.dialled() == FIRST
    alone.clock.advance(60)
    assert await alone.dialled(DialWhomNumber=FIRST[0]) == SECOND


async def test_concurrent_polls_get_the_same_answer(store_url: str) -> None:
    clock = ManualClock()
    async with node(store_url, clock=clock) as one, node(store_url, clock=clock) as two:
        await one.want()
        first = await asyncio.gather(*(each.dialled() for each in (one, two) * 4))
        assert first == [FIRST] * 8
        clock.advance(30)
        failed = {"DialWhomNumber": FIRST[0], "DialCallStatus": "busy"}
        second = await asyncio.gather(*(each.dialled(**failed) for each in (one, two) * 4))
        assert second == [SECOND] * 8
        clock.advance(30)
        third = await asyncio.gather(*(each.dialled() for each in (one, two) * 4))
        assert third == [[]] * 8


async def test_two_nodes_one_writes_the_other_answers(store_url: str) -> None:
    clock = ManualClock()
    async with node(store_url, clock=clock) as one, node(store_url, clock=clock) as two:
        await one.want(Destination(trunk="trmum1a", custom_params={"ticket": "7"}))
        assert await two.passthru() == 200
        assert await two.connect() == {
            "fetch_after_attempt": False,
            "destination": {"trunk": "trmum1a"},
            "custom_params": "ticket=7",
        }
        clock.advance(30)
        assert await one.passthru(stage="call-end") == 302
        await one.events()
        assert await two.connect() == NOBODY


async def test_contact_centres_ask_by_another_version(alone: Node) -> None:
    await alone.want(Destination(contacts=(Contact("asha"),), numbers=("+918012345678",)))
    for version, destination in (
        ("1.1", [{"contact_uri": "asha"}]),
        ("1.0", {"numbers": ["+918012345678"]}),
    ):
        headers = {"Exotel-Version": version}
        answer = await alone.client.get("/exotel/connect?CallSid=sid-1", headers=headers)
        assert answer.json()["destination"] == destination


# --- status callbacks -----------------------------------------------------------------------------

STATUS = {"CallSid": "sid-1", "EventType": "terminal", "Status": "completed"}
MULTIPART = "".join(
    f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
    for name, value in STATUS.items()
)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", json.dumps(STATUS)),
        ("application/x-www-form-urlencoded", urlencode(STATUS)),
        ("multipart/form-data; boundary=b", MULTIPART + "--b--\r\n"),
        ("text/plain", json.dumps(STATUS)),
        ("", urlencode(STATUS)),
    ],
)
async def test_status_callbacks_in_every_encoding(alone: Node, kind: str, body: str) -> None:
    headers = {"content-type": kind} if kind else {}
    for _ in range(2):  # Exotel repeats what it thinks was not taken
        answer = await alone.client.post("/exotel/status", content=body, headers=headers)
        assert answer.status_code == 200
    (event,) = await alone.events()
    assert (event.kind, event.stage) == ("status", "terminal")
    assert event.facts == {"event_type": "terminal", "status": "completed"}


async def test_an_empty_status_callback_is_taken(alone: Node) -> None:
    assert (await alone.client.post("/exotel/status")).status_code == 200
    assert alone.counters.value("callbacks_refused", rule="no-callsid") == 1
    answer = await alone.client.post("/exotel/status?CallSid=sid-1&Status=busy")
    assert answer.status_code == 200
    assert [event.facts for event in await alone.events()] == [{"status": "busy"}]


async def test_a_body_without_end_is_refused(alone: Node) -> None:
    answer = await alone.client.post("/exotel/status", content=b"x" * 70_000)
    assert answer.status_code == 413


# --- URLs of streams ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("voicebot-url/desk?CallSid=a%2Fb", "ws://bot.example/exotel/voicebot/desk/a%2Fb"),
        ("stream-url/desk?CallSid=a", "ws://bot.example/exotel/stream/desk/a"),
        ("voicebot-url/desk", "ws://bot.example/exotel/voicebot/desk"),
        (
            "voicebot-url/desk?sample-rate=16000&CallSid=a",
            "ws://bot.example/exotel/voicebot/desk/a?sample-rate=16000",
        ),
        ("voicebot-url/desk?sample-rate=44100", "ws://bot.example/exotel/voicebot/desk"),
        ("voicebot-url?CallTo=08012345678", "ws://bot.example/exotel/voicebot/sales"),
        ("voicebot-url?To=0899999999", "ws://bot.example/exotel/voicebot/desk"),
    ],
)
async def test_urls_by_name_and_by_route(alone: Node, path: str, url: str) -> None:
    for answer in (
        await alone.client.get(f"/exotel/{path}"),
        await alone.client.post(f"/exotel/{path}"),
    ):
        assert answer.json() == {"url": url}


@pytest.mark.parametrize("path", ["voicebot-url/nobody", "voicebot-url?CallTo=0117"])
async def test_no_agent_no_url(alone: Node, path: str) -> None:
    assert (await alone.client.get(f"/exotel/{path}")).status_code == 404
    assert alone.counters.value("callbacks_refused", rule="unknown-agent") == 1


async def test_the_public_url_and_the_login_of_streams(alone: Node) -> None:
    login = ("key", "to ken")
    alone.desk.rules = replace(RULES, public_url="https://a.example", sample_rate=8000, login=login)
    open_to_all = await alone.get("/exotel/voicebot-url/desk")
    assert open_to_all.json() == {"url": "wss://a.example/exotel/voicebot/desk?sample-rate=8000"}
    alone.desk.rules = replace(alone.desk.rules, secret="s3cret-s3cret")
    guarded = await alone.get("/exotel/s3cret-s3cret/voicebot-url/desk")
    assert guarded.json() == {
        "url": "wss://key:to%20ken@a.example/exotel/voicebot/desk?sample-rate=8000"
    }


# --- secrets, and a store that fails --------------------------------------------------------------


@pytest.mark.parametrize("path", ["passthru", "passthru/reverse", "connect", "voicebot-url/desk"])
async def test_the_secret_in_path_or_query(alone: Node, path: str) -> None:
    alone.desk.rules = replace(RULES, secret="s3cret-s3cret")
    for right in (f"/exotel/s3cret-s3cret/{path}", f"/exotel/{path}?secret=s3cret-s3cret"):
        assert (await alone.client.get(right)).status_code != 403
    for wrong in (
        f"/exotel/{path}",
        f"/exotel/{path}?secret=",
        f"/exotel/wrong/{path}",
        f"/exotel/wrong/{path}?secret=s3cret-s3cret",
        f"/exotel/{path}?secret=s3cret-s3creT",
    ):
        assert (await alone.client.get(wrong)).status_code == 403
    assert alone.counters.value("callbacks_refused", rule="wrong-secret") == 5
    assert await alone.events() == []


async def test_a_store_that_is_down_ends_the_call_in_time() -> None:
    async with node("postgresql://sipbot@/nothing?host=/nowhere", finish_s=0) as one:
        assert await one.passthru() == 302
        assert await one.connect() == NOBODY
        assert one.counters.value("callbacks_unanswered") == 2
        assert (await one.client.post("/exotel/status?CallSid=1")).status_code == 200
