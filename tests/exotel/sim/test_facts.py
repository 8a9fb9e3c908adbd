"""What Exotel tells of a call."""

from __future__ import annotations

import json

import pytest

from sipbot.exotel.sim.facts import (
    CallState,
    DialOutcome,
    Edge,
    StreamOutcome,
    call_query,
    custom_parameters,
    invite_headers,
    parameter_faults,
    passthru_query,
    stamp,
    with_query,
)
from sipbot.exotel.sim.model import CallFacts

NOW = 1_767_225_600.0  # 2026-01-01 00:00:00 UTC


def state() -> CallState:
    facts = CallFacts(custom_field="job=7", sip_headers={"X-UUI": "u"})
    return CallState(facts, "sid1", NOW)


def test_times_are_those_of_india_without_a_zone() -> None:
    assert stamp(NOW) == "2026-01-01 05:30:00"
    assert stamp(0) == "1970-01-01 05:30:00"


def test_the_call_as_every_applet_tells_it() -> None:
    call = state()
    call.digits = "42"
    call.dial = DialOutcome("no-answer", "+918000000001", 9)
    query = dict(call_query(call, NOW + 5))
    assert query["CallSid"] == "sid1"
    assert query["CallFrom"] == query["From"] == "+919812345610"
    assert query["Direction"] == "incoming"
    assert query["EndTime"] == "1970-01-01 05:30:00"
    assert query["CurrentTime"] == "2026-01-01 05:30:05"
    assert query["digits"] == '"42"'
    assert query["DialWhomNumber"] == "+918000000001"
    assert query["DialCallStatus"] == "no-answer"
    assert query["DialCallDuration"] == "9"
    assert query["CustomField"] == "job=7"
    assert json.loads(query["SIPCustomHeader"]) == {"X-UUI": "u"}


def test_passthru_has_the_stream_in_three_spellings() -> None:
    call = state()
    assert not any(name.startswith("Stream") for name, _ in passthru_query(call, NOW, "flat"))
    call.stream = StreamOutcome("st1", "failed", 0, "wss://x/y", "NA", "", "3009 failed")
    flat = dict(passthru_query(call, NOW, "flat"))
    assert flat["Stream[Status]"] == "failed"
    assert flat["Stream[Duration]"] == "0"
    assert flat["Stream[Error]"] == "3009 failed"
    assert "Stream[DetailedStatus]" not in flat
    plain = dict(passthru_query(call, NOW, "json"))["Stream"]
    assert json.loads(plain)["DisconnectedBy"] == "NA"
    assert dict(passthru_query(call, NOW, "json-extra-brace"))["Stream"] == plain + "}"


def test_custom_parameters_of_a_stream() -> None:
    url = with_query("wss://h/p?a=1&sample-rate=16000", "b=2")
    assert url == "wss://h/p?a=1&sample-rate=16000&b=2"
    assert with_query("wss://h/p", "") == "wss://h/p"
    assert custom_parameters(url, {}) == {"a": "1", "b": "2"}
    assert custom_parameters("wss://h", {"X-UUI": "u"}) == {"UUI": "u"}


@pytest.mark.parametrize(
    ("parameters", "part"),
    [
        ([(f"p{n}", "v") for n in range(4)], "more than 3"),
        ([("p", "v" * 200)], "more than 200 bytes"),
        ([("Exotel-X", "v")], "exotel-"),
        ([("veeno-x", "v")], "veeno-"),
    ],
)
def test_rules_of_custom_headers(parameters: list[tuple[str, str]], part: str) -> None:
    assert [part in fault for fault in parameter_faults(parameters)] == [True]
    assert parameter_faults([("a", "1"), ("b", "2"), ("c", "3")]) == []


def test_headers_of_an_invite() -> None:
    edge = Edge("192.0.2.1", 443, "tcp")

    def made(*custom: tuple[str, str], record_route: bool) -> list[tuple[str, str]]:
        return invite_headers(
            state(),
            edge,
            call_id="c1@pstn.mum1.exotel.com",
            leg_sid="leg1",
            to_host="bot.example",
            sid_header="X-Exotel-Callsid",
            record_route=record_route,
            custom=custom,
        )

    headers = made(("a", "1"), record_route=True)
    found = dict(headers)
    assert headers[0] == ("Record-Route", "<sip:192.0.2.1:443;transport=tls;lr>")
    assert found["To"] == "<sip:+918012345678@bot.example>"
    assert found["P-Asserted-Identity"] == "<sip:+919812345610@exotelt.pstn.exotel.com>"
    assert found["X-Exotel-Callsid"] == "sid1"
    assert found["X-Exotel-LegSid"] == "leg1"
    assert found["X-a"] == "1"
    assert (found["CSeq"], found["Max-Forwards"]) == ("102 INVITE", "67")
    assert made(record_route=False) == headers[1:-1]
