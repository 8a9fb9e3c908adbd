"""Calls, streams, ExoPhones and legs against the stand-in, in JSON and in XML."""

from __future__ import annotations

import json

import pytest

from sipbot.exotel.rest.calls import CallOptions, Format
from sipbot.exotel.rest.errors import InvalidRequest, NotFound, UnreadableAnswer
from sipbot.exotel.rest.values import ActiveStreams, CallLeg
from sipbot.testing.exotel_api import FakeExotel, Fault
from tests.exotel.rest.kit import NUMBER, OTHER_NUMBER, client

CALLEE, AGENT = "+919812345610", "+919812345611"
FORMATS: list[Format] = ["json", "xml"]


@pytest.mark.parametrize("answers", FORMATS)
async def test_two_numbers(answers: Format) -> None:
    fake = FakeExotel()
    options = CallOptions(
        ring_s=30,
        time_limit_s=600,
        record=True,
        recording_channels="dual",
        custom_field="order 7",
        status_callback="https://bot.example.com/exotel/status",
        status_events=("terminal", "answered"),
    )
    async with client(fake, v1_answers=answers) as exotel:
        call = await exotel.calls.connect(AGENT, CALLEE, NUMBER, options)
    assert (call.status, call.direction, call.duration_s) == ("in-progress", "outbound-api", None)
    assert (call.from_, call.to) == ("09812345611", "09812345610")
    (seen,) = fake.seen
    assert seen.path.endswith("/v1/Accounts/acme1/Calls/connect" + (".json" * (answers == "json")))
    assert seen.form == {
        "From": AGENT,
        "To": CALLEE,
        "CallerId": NUMBER,
        "TimeOut": "30",
        "TimeLimit": "600",
        "Record": "true",
        "RecordingChannels": "dual",
        "CustomField": "order 7",
        "StatusCallback": "https://bot.example.com/exotel/status",
        "StatusCallbackEvents[0]": "terminal",
        "StatusCallbackEvents[1]": "answered",
    }


@pytest.mark.parametrize("answers", FORMATS)
async def test_a_call_from_start_to_end(answers: Format) -> None:
    fake = FakeExotel()
    async with client(fake, v1_answers=answers) as exotel:
        started = await exotel.calls.flow(CALLEE, NUMBER, "1234")
        assert fake.seen[-1].form["Url"] == ("http://my.exotel.com/acme1/exoml/start_voice/1234")
        fake.calls.finish(started.sid, duration_s=17)
        call = await exotel.calls.get(started.sid)
    assert (call.status, call.duration_s, call.price) == ("completed", 17, "1.5")
    assert (call.conversation_s, call.leg_statuses) == (8, ("completed", "completed"))
    assert call.legs == (CallLeg("1", 21), CallLeg("2", 8))
    assert "9812345610" not in repr(call)


async def test_a_call_to_a_voicebot() -> None:
    fake = FakeExotel()
    async with client(fake) as exotel:
        url = "wss://bot.example.com/exotel/voicebot/desk"
        await exotel.calls.voice_ai(CALLEE, NUMBER, url, stream_name="desk")
        assert fake.seen[-1].form == {
            "From": CALLEE,
            "CallerId": NUMBER,
            "StreamUrl": url,
            "StreamType": "bidirectional",
            "StreamName": "desk",
        }
        for bad, name in (
            ("https://x.example.com", ""),
            ("wss://" + "x" * 600, ""),
            (url, "x" * 33),
        ):
            with pytest.raises(ValueError, match=r"stream"):
                await exotel.calls.voice_ai(CALLEE, NUMBER, bad, stream_name=name)
    assert len(fake.seen) == 1


@pytest.mark.parametrize("answers", FORMATS)
async def test_a_call_that_exotel_does_not_take(answers: Format) -> None:
    fake = FakeExotel()
    fake.calls.exophones = [OTHER_NUMBER]
    async with client(fake, v1_answers=answers) as exotel:
        with pytest.raises(InvalidRequest) as caught:
            await exotel.calls.connect(AGENT, CALLEE, NUMBER)
        with pytest.raises(NotFound):
            await exotel.calls.get("none")
    assert caught.value.code == 34400
    assert "+9180******78 is not an ExoPhone" in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [{"time_limit_s": 14_401}, {"time_limit_s": 0}, {"ring_s": 0}, {"custom_field": "x" * 129}],
)
def test_options_that_exotel_would_refuse(options: dict[str, int | str]) -> None:
    with pytest.raises(ValueError, match=r"must be|at most"):
        CallOptions(**options)  # type: ignore[arg-type]  # a mix of both


@pytest.mark.parametrize("answers", FORMATS)
async def test_lists_of_calls(answers: Format) -> None:
    fake = FakeExotel()
    async with client(fake, v1_answers=answers) as exotel:
        sids = [(await exotel.calls.connect(AGENT, CALLEE, NUMBER)).sid for _ in range(5)]
        since, until = "2026-01-01 00:00:00", "2026-01-31 23:59:59"
        page = await exotel.calls.list(since=since, until=until, page_size=2)
        assert fake.seen[-1].query["DateCreated"] == f"gte:{since};lte:{until}"
        found = [call.sid for call in page.calls]
        while page.after is not None:
            page = await exotel.calls.list(page_size=2, after=page.after)
            found += [call.sid for call in page.calls]
        assert found == sids[::-1]
        (one,) = (await exotel.calls.list(filters={"Sid": sids[2]})).calls
        assert one.sid == sids[2]
        assert (await exotel.calls.list(filters={"Status": "busy"})).calls == ()


@pytest.mark.parametrize("in_xml", [False, True])
async def test_streams_in_both_documented_forms(in_xml: bool) -> None:
    fake = FakeExotel()
    fake.calls.streams = (3, 25)
    fake.calls.streams_in_xml = in_xml
    async with client(fake) as exotel:
        assert await exotel.lookups.streams() == ActiveStreams(3, 25)
    assert fake.seen[0].path == "/v1/Accounts/acme1/ActiveStreams"


@pytest.mark.parametrize("has_beta", [True, False])
async def test_exophones(has_beta: bool) -> None:
    fake = FakeExotel()
    fake.calls.exophones = ["08012345678", "918012345679"]
    fake.calls.has_beta = has_beta
    async with client(fake) as exotel:
        found = await exotel.lookups.exophones()
    assert [one.number for one in found] == [NUMBER, OTHER_NUMBER]


@pytest.mark.parametrize("body", [b"{}", b'{"Call": {}}', b'{"Call": 5}'])
async def test_answers_without_what_was_asked_for(body: bytes) -> None:
    fake = FakeExotel()
    fake.faults.extend([Fault(200, body), Fault(200, body)])
    async with client(fake) as exotel:
        with pytest.raises(UnreadableAnswer):
            await exotel.calls.connect(AGENT, CALLEE, NUMBER)
        with pytest.raises(UnreadableAnswer):
            await exotel.lookups.streams()


async def test_legs() -> None:
    fake = FakeExotel()
    async with client(fake) as exotel:
        endpoint = "https://bot.example.com/legs"
        leg = await exotel.legs.create(CALLEE, NUMBER, endpoint, options={"time_limit": 600})
        assert json.loads(fake.seen[0].body) == {
            "contact_uri": CALLEE,
            "exophone": NUMBER,
            "leg_event_endpoint": endpoint,
            "timeout": 30,
            "time_limit": 600,
        }
        assert (await exotel.legs.get(leg.sid)).state == "connecting"
        await exotel.legs.start_stream(leg.sid, "wss://bot.example.com/x")
        await exotel.legs.start_say(leg.sid, "hello")
        await exotel.legs.stop_say(leg.sid)
        await exotel.legs.start_play(leg.sid, "https://bot.example.com/a.wav", loop=2)
        await exotel.legs.stop_play(leg.sid)
        await exotel.legs.exoml(leg.sid, "<Flow></Flow>")
        with pytest.raises(NotFound):
            await exotel.legs.stop_say("none")
        with pytest.raises(InvalidRequest):
            await exotel.legs.create("", NUMBER, endpoint)
    assert [(action, body) for _, action, body in fake.legs.actions] == [
        (
            "start_stream",
            {
                "direction": "bidirectional",
                "url": "wss://bot.example.com/x",
                "content_type": "audio/x-mulaw;rate=8000",
            },
        ),
        ("start_say", {"text": "hello", "loop": 1}),
        ("stop_say", {}),
        ("start_play", {"url": "https://bot.example.com/a.wav", "loop": 2}),
        ("stop_play", {}),
        ("", {"exoml": "<Flow></Flow>"}),
    ]
