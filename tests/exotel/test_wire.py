"""The codec of the AgentStream messages: every spelling that Exotel or its samples use."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipbot.errors import StreamError
from sipbot.exotel import wire
from sipbot.exotel.wire import (
    Clear,
    Connected,
    Dtmf,
    Mark,
    Media,
    Start,
    Stop,
    StreamEvent,
    Unknown,
    Writer,
    parse,
    rate_of,
)

AUDIO = base64.b64encode(bytes(range(16))).decode()
# As documented, with the ids of StreamKit's sample.
STREAMKIT = (
    '{"event": "start", "stream_sid": "b6c5", "sequence_number": "1", "start": {"stream_sid":'
    ' "b6c5", "call_sid": "2449", "account_sid": "Tenant-ID", "from": "sip:08061234509", "to":'
    ' "01512340321", "custom_parameters": {"Custom-Header": "Salesbot", "UUI": "77", "key1":'
    ' "value1"}, "media_format": {"encoding": "base64", "sample_rate": "8000", "bit_rate":'
    ' "128kbps"}}}'
)
MESSAGES: list[tuple[str, StreamEvent]] = [
    ('{"event" : "connected"}', Connected()),
    ('{"event" : "connected",\n\n}', Connected()),  # the documented sample, comma and all
    ('{"event":"Connected","protocol":"Call","version":"1.0.0"}', Connected()),
    (
        STREAMKIT,
        Start(
            stream_sid="b6c5",
            call_sid="2449",
            account_sid="Tenant-ID",
            caller="sip:08061234509",
            callee="01512340321",
            rate=8_000,
            parameters={"Custom-Header": "Salesbot", "UUI": "77", "key1": "value1"},
        ),
    ),
    (
        (
            '{"event":"start","streamSid":"s","start":{"callSid":"c","accountSid":"a","from":9812345678,'
            '"to":"+918064061518","customParameters":{"n":3,"yes":true},'
            '"mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":16000}}}'
        ),
        Start(
            stream_sid="s",
            call_sid="c",
            account_sid="a",
            caller="9812345678",
            callee="+918064061518",
            rate=16_000,
            encoding="PCMU",
            parameters={"n": "3", "yes": ""},
            camel_case=True,
        ),
    ),
    (
        '{"event":"start","start":{"stream_sid":"\\"s\\"","call_sid":"\'c\'","from":" \\"09\\" "}}',
        Start(stream_sid="s", call_sid="c", account_sid="", caller="09", callee=""),
    ),
    ('{"event":"start"}', Start("", "", "", "", "")),
    (
        (
            f'{{"event":"media","sequence_number":3,"stream_sid":"s","media":{{"chunk":2,'
            f'"timestamp":"10","payload":"{AUDIO}"}}}}'
        ),
        Media(bytes(range(16)), 10),
    ),
    (
        (
            f'{{"event":"media","sequenceNumber":"3","media":{{"chunk":"2","timestamp":10,'
            f'"payload":"{AUDIO}","new":[1]}}}}'
        ),
        Media(bytes(range(16)), 10),
    ),
    ('{"event":"media","media":{"payload":""}}', Media(b"")),
    ('{"event":"dtmf","dtmf":{"duration":"100","digit":"5"}}', Dtmf("5", 100)),
    ('{"event":"dtmf","dtmf":{"duration":"100ms", "digit": 5, } }', Dtmf("5", 100)),
    ('{"event":"dtmf","digit":"#"}', Dtmf("#")),
    ('{"event":"dtmf","dtmf":{"digit":"a"}}', Dtmf("A")),
    ('{"event":"mark","sequence_number":15,"mark":{"name":"m1"}}', Mark("m1")),
    ('{"event":"mark","mark":{"name":7}}', Mark("7")),
    ('{"event":"clear","stream_sid":"s"}', Clear()),
    ('{"event":"stop","stop":{"call_sid":"c","reason":"callended"}}', Stop("callended")),
    ('{"event":"stop","stop":{"reason":"stopped or callended"}}', Stop("stopped or callended")),
    ('{"event":"stop"}', Stop("")),
    ('{"event":"SilenceTimeout","x":null}', Unknown("silencetimeout")),
]

WRONG = [
    ("", "not-json"),
    ("hello", "not-json"),
    ('{"event":"media"', "not-json"),
    ("[" * 100_000, "not-json"),
    ('{"event":1e999}', "not-json"),
    ('{"event":' + "9" * 5_000 + "}", "not-json"),
    ('{"event":"\ud800"}', "not-json"),
    (b'\xff\xfe{"event":"clear"}', "not-json"),
    ("[]", "no-object"),
    ("null", "no-object"),
    ("3", "no-object"),
    ("{}", "no-event"),
    ('{"event":null}', "no-event"),
    ('{"event":{}}', "no-event"),
    ('{"event":"' + "x" * (wire.MAX_NAME + 1) + '"}', "value-too-long"),
    ('{"event":"media"}', "no-payload"),
    ('{"event":"media","media":{"payload":3}}', "no-payload"),
    ('{"event":"media","media":{"payload":"AAA"}}', "payload-not-base64"),
    ('{"event":"media","media":{"payload":"A!AA"}}', "payload-not-base64"),
    ('{"event":"media","media":{"payload":"äöüß"}}', "payload-not-base64"),
    (json.dumps({"event": "media", "media": {"payload": "A" * 133_340}}), "payload-too-big"),
    ('{"event":"mark"}', "no-name"),
    (json.dumps({"event": "mark", "mark": {"name": "x" * 129}}), "value-too-long"),
    ('{"event":"dtmf"}', "bad-digit"),
    ('{"event":"dtmf","dtmf":{"digit":"12"}}', "bad-digit"),
    ('{"event":"dtmf","dtmf":{"digit":"c2VjcmV0"}}', "bad-digit"),
    (json.dumps({"event": "start", "start": {"call_sid": "x" * 129}}), "value-too-long"),
    (json.dumps({"event": "start", "start": {"from": "1" * 1_025}}), "value-too-long"),
    (
        json.dumps({"event": "start", "start": {"custom_parameters": {"k" * 129: "v"}}}),
        "name-too-long",
    ),
    (
        json.dumps({"event": "start", "start": {"custom_parameters": {"k": "v" * 1_025}}}),
        "value-too-long",
    ),
    (
        json.dumps(
            {"event": "start", "start": {"custom_parameters": {str(n): "" for n in range(65)}}}
        ),
        "too-many-parameters",
    ),
    (" " * (wire.MAX_MESSAGE_BYTES + 1), "message-too-big"),
]


@pytest.mark.parametrize(("text", "expected"), MESSAGES)
def test_messages(text: str, expected: StreamEvent) -> None:
    assert parse(text) == parse(text.encode()) == expected


@pytest.mark.parametrize(("text", "reason"), WRONG)
def test_what_is_refused(text: str | bytes, reason: str) -> None:
    with pytest.raises(StreamError) as caught:
        parse(text)
    assert caught.value.reason == reason


@pytest.mark.parametrize("text", [text for text, _ in MESSAGES])
def test_cut_at_each_length(text: str) -> None:
    for length in range(len(text)):
        with pytest.raises(StreamError):
            parse(text[:length])


@pytest.mark.parametrize("text", [text for text, _ in MESSAGES])
@given(data=st.data())
def test_changed_anywhere(text: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters())
    parse_or_refuse(text[:place] + other + text[place + 1 :])


@given(st.text() | st.binary())
def test_anything(message: str | bytes) -> None:
    parse_or_refuse(message)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
PARTS = ("start", "media", "mark", "dtmf", "stop", "media_format", "custom_parameters")
FIELDS = ("payload", "name", "digit", "reason", "from", "sample_rate", "stream_sid", "duration")


@given(
    st.sampled_from(("start", "media", "mark", "dtmf", "stop", "clear")),
    st.dictionaries(
        st.sampled_from(PARTS),
        JSON | st.dictionaries(st.sampled_from(PARTS + FIELDS), JSON, max_size=4),
    ),
)
def test_any_value_in_any_field(name: str, parts: dict[str, Any]) -> None:
    parse_or_refuse(json.dumps({"event": name, **parts}))


def parse_or_refuse(message: str | bytes) -> None:
    with contextlib.suppress(StreamError):
        assert parse(message)


@pytest.mark.parametrize(
    ("value", "rate"),
    [
        (8000, 8_000),
        ("8000", 8_000),
        ("16kHz", 16_000),
        ("8000Hz", 8_000),
        (" '24000' ", 24_000),
        (16000.0, 16_000),
        ("44100", 44_100),
        ("fast", None),
        ("", None),
        (None, None),
        (True, None),
        ([8000], None),
        ("-8000", None),
    ],
)
def test_rates(value: object, rate: int | None) -> None:
    assert rate_of(value) == rate


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("base64", "L16"),
        ("raw", "L16"),
        ("audio/x-raw", "L16"),
        ("linear16", "L16"),
        ("audio/x-l16", "L16"),
        ("", "L16"),
        ("mulaw", "PCMU"),
        ("audio/x-mulaw;rate=8000", "PCMU"),
        ("mu-law", "PCMU"),
        ("PCMU", "PCMU"),
    ],
)
def test_only_what_says_mu_law_is_mu_law(encoding: str, expected: str) -> None:
    message = {"event": "start", "start": {"media_format": {"encoding": encoding}}}
    event = parse(json.dumps(message))
    assert isinstance(event, Start)
    assert event.encoding == expected


# --- what we say ----------------------------------------------------------------------------------


def writer(**fields: Any) -> Writer:
    return Writer(Start(**{"stream_sid": "s1", **dict.fromkeys(NAMES, ""), **fields}))


NAMES = ("call_sid", "account_sid", "caller", "callee")


def test_numbers_are_texts_and_run_on() -> None:
    ours = writer()
    assert json.loads(ours.media(bytes(320), 0)) == {
        "event": "media",
        "sequence_number": "1",
        "stream_sid": "s1",
        "media": {"chunk": "1", "timestamp": "0", "payload": base64.b64encode(bytes(320)).decode()},
    }
    assert json.loads(ours.mark("m1")) == {
        "event": "mark",
        "sequence_number": "2",
        "stream_sid": "s1",
        "mark": {"name": "m1"},
    }
    assert json.loads(ours.clear()) == {"event": "clear", "stream_sid": "s1"}
    last = json.loads(ours.media(bytes(640), 20))
    assert last["sequence_number"] == "3"
    assert (last["media"]["chunk"], last["media"]["timestamp"]) == ("2", "20")


def test_the_stream_is_named_as_the_peer_names_it() -> None:
    assert json.loads(writer(camel_case=True).clear()) == {"event": "clear", "streamSid": "s1"}
    assert json.loads(writer(stream_sid="").clear()) == {"event": "clear"}


@given(st.text(max_size=wire.MAX_NAME), st.binary(max_size=2_000), st.integers(0, 10**9))
def test_what_we_write_can_be_read(sid: str, payload: bytes, timestamp_ms: int) -> None:
    ours = writer(stream_sid=sid)
    text = ours.media(payload, timestamp_ms)
    assert text.isascii()
    assert parse(text) == Media(payload, timestamp_ms)
    assert json.loads(text).get("stream_sid", "") == sid


def outcome(message: bytes, by: Any) -> StreamEvent | str:
    try:
        event: StreamEvent = by(message)
    except StreamError as error:
        return error.reason
    return event


@pytest.mark.parametrize("timestamp", [None, "5", 5, 5.0, "5.0", "20ms", "x", -3, True, "1" * 13])
@pytest.mark.parametrize(
    "payload", ["", "A", "AA==", "AAA", "AAA=", "AAAA", "AAAAA===", "AA=A", "AAAA\n", "A*A", "é", 7]
)
def test_the_short_way_to_media_says_what_the_long_one_says(
    payload: object, timestamp: object
) -> None:
    media = {"payload": payload, "timestamp": timestamp, "chunk": 1}
    message = json.dumps({"event": "media", "sequence_number": 3, "media": media}).encode()
    assert outcome(message, parse) == outcome(message, wire._parse_any)
