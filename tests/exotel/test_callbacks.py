"""Callbacks in every encoding that is documented or was seen, and in some that are broken."""

from __future__ import annotations

import json
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipbot.exotel.callbacks import MAX_FIELDS, MAX_VALUE, Stage, parse_callback

FLAT = (
    "CallSid=56b1&flow_id=voicebot-flow&Direction=inbound&From=%22%2B918888000000"
    '&To="+912233344455&Stream[StreamSID]=6f04&Stream[Status]=completed&Stream[Duration]=28'
    "&Stream%5BRecordingUrl%5D=https%3A%2F%2Frecordings.example%2F6f04.mp3"
    "&Stream[StreamUrl]=wss://stream.example/media&Stream[DisconnectedBy]=bot&digits=%2212%22"
)
STREAM = {
    "StreamSID": "62a",
    "RecordingUrl": "https://recordings.example/62a.mp3",
    "Status": "failed",
    "Duration": "0",
    "DisconnectedBy": "NA",
    "DetailedStatus": "Streaming_call_throttled",
    "Error": 'dial tcp "x": refused',
}


def test_the_flat_form() -> None:
    callback = parse_callback(FLAT)
    assert (callback.call_sid, callback.stream_sid) == ("56b1", "6f04")
    assert (callback.caller, callback.callee) == ("+918888000000", "+912233344455")
    assert callback.facts() == {
        "direction": "inbound",
        "flow_id": "voicebot-flow",
        "stream_sid": "6f04",
        "stream_status": "completed",
        "stream_duration_s": "28",
        "recording_url": "https://recordings.example/6f04.mp3",
        "disconnected_by": "bot",
    }
    assert callback.values["digits"] == "12"  # the quotes are Exotel's


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(STREAM),
        json.dumps(STREAM) + "}",  # as in Exotel's own sample
        json.dumps(STREAM, indent=1),
        f'"{json.dumps(STREAM)}"',
        json.dumps(STREAM)[:-1],  # cut off
        json.dumps(STREAM).replace("}", ",}"),
        json.dumps(STREAM | {"Duration": 0}),
    ],
)
def test_the_json_form_even_broken(text: str) -> None:
    facts = parse_callback(f"CallSid=1&Stream={quote(text)}&Leg1RingingDuration=7").facts()
    assert facts["stream_sid"] == "62a"
    assert facts["stream_status"] == "failed"
    assert facts["stream_duration_s"] == "0"
    assert facts["disconnected_by"] == "NA"
    assert facts["detailed_status"] == "Streaming_call_throttled"
    assert facts["leg1_ringing_s"] == "7"


def test_a_plus_that_was_not_escaped() -> None:
    assert parse_callback("CallSid=1&From=+918888000000&CustomField=+a").caller == "+918888000000"


STATUS = {
    "CallSid": "77c",
    "EventType": "terminal",
    "Status": "completed",
    "RecordingUrl": "https://recordings.example/77c.mp3",
}
LEGS = [
    {"OnCallDuration": 20, "Status": "completed", "AnsweredBy": "Human"},
    {"OnCallDuration": 0, "Status": "no-answer"},
]
EXPECTED = {
    "event_type": "terminal",
    "status": "completed",
    "recording_url": "https://recordings.example/77c.mp3",
    "answered_by": "Human",
    "leg1_status": "completed",
    "leg2_status": "no-answer",
}


def multipart(boundary: str, newline: str) -> bytes:
    fields = STATUS | {"Legs": json.dumps(LEGS)}
    parts = [
        f'--{boundary}{newline}Content-Disposition: form-data; name="{name}"{newline}{newline}'
        f"{value}{newline}"
        for name, value in fields.items()
    ]
    return ("".join(parts) + f"--{boundary}--{newline}").encode()


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", json.dumps(STATUS | {"Legs": LEGS}).encode()),
        ("application/x-www-form-urlencoded", json.dumps(STATUS | {"Legs": LEGS}).encode()),
        (
            "application/x-www-form-urlencoded",
            urlencode(STATUS | {"Legs": json.dumps(LEGS)}).encode(),
        ),
        ("", urlencode(STATUS | {"Legs": json.dumps(LEGS)}).encode()),
        (
            "application/x-www-form-urlencoded; charset=utf-8",
            urlencode(
                STATUS
                | {
                    "Legs[0][AnsweredBy]": "Human",
                    "Legs[0][Status]": "completed",
                    "Legs[1][Status]": "no-answer",
                }
            ).encode(),
        ),
        ("multipart/form-data; boundary=Xy12", multipart("Xy12", "\r\n")),
        ('multipart/form-data; boundary="--a b"', multipart("--a b", "\r\n")),
        ("multipart/form-data; BOUNDARY=Xy12", multipart("Xy12", "\n")),
        ("multipart/form-data", multipart("Xy12", "\r\n")),
        ("", multipart("Xy12", "\r\n")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_status_in_every_encoding(content_type: str, body: bytes) -> None:
    callback = parse_callback("", content_type, body)
    assert callback.call_sid == "77c"
    assert callback.facts() == EXPECTED


def test_names_of_the_rest_interface() -> None:
    body = json.dumps({"Call": {"Sid": "9", "Status": "busy", "From": "0987", "To": "0123"}})
    callback = parse_callback("", "application/json", body.encode())
    assert (callback.call_sid, callback.caller, callback.callee) == ("9", "0987", "0123")
    assert callback.facts() == {"status": "busy"}


@pytest.mark.parametrize("body", [b"", b"  \r\n", b"[]", b"{", b"--", b"\xff\xfe", b"null", b"{}"])
def test_empty_and_senseless_bodies_leave_what_the_query_says(body: bytes) -> None:
    for kind in ("application/json", "multipart/form-data; boundary=x", ""):
        assert parse_callback("CallSid=5", kind, body).call_sid == "5"


def test_the_body_counts_more_than_the_query() -> None:
    assert parse_callback("CallSid=5", "", b"CallSid=6").call_sid == "6"


def test_sip_headers_of_streamkit() -> None:
    broken = '"SIPCustomHeader": {"Custom-Header": "SalesBot", "UUI": "a1"'
    for text in ('{"Custom-Header": "SalesBot", "UUI": "a1"}', broken.partition(": ")[2]):
        callback = parse_callback(f"CallSid=1&SIPCustomHeader={quote(text)}")
        assert callback.sip_headers == {"x-custom-header": "SalesBot", "x-uui": "a1"}


@pytest.mark.parametrize("sid", ["", "x" * 129, "a%00%07b"])
def test_an_id_that_cannot_be_one_is_none(sid: str) -> None:
    assert parse_callback(f"CallSid={sid}").call_sid == ""


@pytest.mark.parametrize(
    ("asked", "stage"),
    [
        ("", Stage.BOT),
        ("bot", Stage.BOT),
        ("something", Stage.BOT),
        ("no-answer", Stage.NO_ANSWER),
        ("no-dial", Stage.NO_DIAL),
        (" Call-End", Stage.TALKED),
        ("call_end", Stage.TALKED),
        ("nobody_ans", Stage.NO_ANSWER),
        ("didnt_dial_anyone", Stage.NO_DIAL),
    ],
)
def test_the_stage_is_what_the_url_says(asked: str, stage: Stage) -> None:
    assert parse_callback("DialCallStatus=completed").stage(asked) is stage


def test_limits() -> None:
    many = "&".join(f"n{number}=1" for number in range(5_000))
    assert len(parse_callback(many).values) == MAX_FIELDS
    assert len(parse_callback("Stream[Error]=" + "x" * 10_000).facts()["stream_error"]) == MAX_VALUE
    legs = json.dumps({"Legs": [{"Status": "x"}] * 5_000})
    assert len(parse_callback("", "", legs.encode()).values) == MAX_FIELDS
    deep = b'{"Stream":' * 5_000 + b"1" + b"}" * 5_000
    assert parse_callback("CallSid=1", "application/json", deep).call_sid == "1"


@given(st.text(max_size=300), st.sampled_from(["", "multipart/form-data; boundary=x"]), st.binary())
def test_nothing_makes_it_fail(query: str, kind: str, body: bytes) -> None:
    for prefix in (b"", b"{", b"--x\r\n", b'{"Stream":"{'):
        callback = parse_callback(query, kind, prefix + body)
        assert all(isinstance(value, str) for value in callback.facts().values())
        assert callback.stage("") in Stage
