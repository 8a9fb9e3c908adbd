"""Answers of a bot to Connect and to a dynamic stream URL."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sipbot.exotel.sim.reply import read_connect, read_stream_url


def connect(version: str = "1.0", **reply: Any) -> Any:
    return read_connect(200, json.dumps(reply).encode(), version)


def test_a_whole_reply() -> None:
    read = connect(
        fetch_after_attempt=True,
        destination={"numbers": ["+918000000001", "sip:desk"], "trunk": "t1"},
        custom_params="a=1&b=2",
        record=True,
        recording_channels="dual",
        max_ringing_duration=45,
        parallel_ringing={"activate": True, "max_parallel_attempts": 2},
    )
    assert read.targets == ("+918000000001", "sip:desk")
    assert read.parameters == (("a", "1"), ("b", "2"))
    assert (read.again, read.parallel, read.faults) == (True, True, ())


def test_a_trunk_alone_and_nobody() -> None:
    assert connect(destination={"trunk": "t1"}).targets == ("t1",)
    nobody = connect(destination={"numbers": []})
    assert (nobody.targets, nobody.faults) == ((), ())


def test_users_of_a_call_centre() -> None:
    read = connect("1.1", destination_type="user", destination=[{"contact_uri": "u1"}, {"x": 1}])
    assert read.targets == ("u1",)
    assert read.faults == ("connect: a destination without contact_uri",)


@pytest.mark.parametrize(
    ("reply", "part"),
    [
        ({}, "destination is no object"),
        ({"destination": {"numbers": [1]}}, "numbers is no list of texts"),
        ({"destination": {"trunk": 1}}, "trunk is no text"),
        ({"destination": {}, "record": "true"}, "record is no boolean"),
        ({"destination": {}, "recording_channels": "both"}, "none of single, dual"),
        ({"destination": {}, "max_ringing_duration": "45"}, "no number of seconds"),
        ({"destination": {}, "custom_params": {"a": 1}}, "no text a=b"),
        ({"destination": {}, "custom_params": "a=1&b=2&c=3&d=4"}, "more than 3"),
        (
            {"destination": {}, "parallel_ringing": {"activate": True, "max_parallel_attempts": 0}},
            "max_parallel_attempts",
        ),
    ],
)
def test_what_breaks_the_documented_form(reply: dict[str, Any], part: str) -> None:
    assert [part in fault for fault in connect(**reply).faults] == [True]


@pytest.mark.parametrize(
    ("status", "body", "part"),
    [(404, b"", "404"), (0, b"", "0"), (200, b"<x>", "no JSON"), (200, b"[]", "no JSON object")],
)
def test_no_reply_dials_nobody(status: int, body: bytes, part: str) -> None:
    read = read_connect(status, body)
    assert read.targets == ()
    assert part in read.faults[0]


@pytest.mark.parametrize(
    ("status", "body", "url", "part"),
    [
        (200, b'{"url": "wss://h/p"}', "wss://h/p", ""),
        (200, b'{"url": "http://h"}', "", "begins with ws://"),
        (200, b'{"url": 3}', "", "begins with ws://"),
        (200, b"wss://h", "", "no JSON"),
        (503, b"{}", "", "503"),
    ],
)
def test_dynamic_urls(status: int, body: bytes, url: str, part: str) -> None:
    found, fault = read_stream_url(status, body)
    assert found == url
    assert part in fault
    assert bool(fault) == bool(part)


def test_a_url_that_is_too_long_is_told() -> None:
    long = "wss://h/" + "x" * 600
    assert "600" in read_stream_url(200, json.dumps({"url": long}).encode())[1]
