"""Messages of the stream: all spellings of ours are read by the bot's own codec."""

from __future__ import annotations

import base64
import json
from itertools import product
from typing import Any

import pytest

from sipbot.exotel import wire
from sipbot.exotel.sim.messages import (
    BotClear,
    BotMark,
    BotMedia,
    ExotelWriter,
    Parties,
    read_bot,
)
from sipbot.exotel.sim.model import StreamManner

PARTIES = Parties("s1", "c1", "a1", "+919812345610", "08012345678")


@pytest.mark.parametrize(
    ("numbers", "names", "declare"),
    list(product(("text", "int"), ("snake", "camel"), ("plain", "hz", "khz", "int"))),
)
def test_every_spelling_is_understood(numbers: str, names: str, declare: str) -> None:
    given: dict[str, Any] = {"numbers": numbers, "names": names, "declare": declare}
    writer = ExotelWriter(StreamManner(**given, rate=16_000), PARTIES)
    assert isinstance(wire.parse(writer.connected()), wire.Connected)
    start = wire.parse(writer.start({"snake_key": "1", "UUI": "x"}))
    assert isinstance(start, wire.Start)
    assert (start.stream_sid, start.call_sid, start.account_sid) == ("s1", "c1", "a1")
    assert (start.caller, start.callee, start.rate) == ("+919812345610", "08012345678", 16_000)
    assert dict(start.parameters) == {"snake_key": "1", "UUI": "x"}
    assert start.camel_case is (names == "camel")
    assert wire.parse(writer.media(b"\1\0" * 160, 40)) == wire.Media(b"\1\0" * 160, 40)
    assert wire.parse(writer.dtmf("#")) == wire.Dtmf("#", 100)
    assert wire.parse(writer.mark("m")) == wire.Mark("m")
    assert wire.parse(writer.stop("callended")) == wire.Stop("callended")


def test_numbers_run_and_have_the_chosen_type() -> None:
    for numbers, kind in (("text", str), ("int", int)):
        writer = ExotelWriter(StreamManner.model_validate({"numbers": numbers}), PARTIES)
        writer.start({})
        found = json.loads(writer.media(b"\0\0", 0))
        assert type(found["sequence_number"]) is kind
        assert int(found["sequence_number"]) == 2
        assert int(found["media"]["chunk"]) == 1
        assert found["media"]["timestamp"] == "0"


def payload(size: int) -> str:
    return base64.b64encode(bytes(size)).decode()


@pytest.mark.parametrize(
    ("message", "kind", "faults"),
    [
        ({"event": "media", "media": {"payload": payload(320)}}, BotMedia, []),
        (
            {"event": "media", "media": {"payload": payload(100)}},
            BotMedia,
            ["payload-no-multiple-of-320"],
        ),
        (
            {
                "event": "media",
                "sequence_number": 1,
                "media": {"payload": payload(320), "chunk": 1},
            },
            BotMedia,
            ["sequence-number-not-text", "media-chunk-not-text"],
        ),
        (
            {"event": "media", "media": {"payload": payload(100_160)}},
            None,
            ["payload-too-big"],
        ),
        ({"event": "media", "media": {"payload": "?"}}, None, ["payload-not-base64"]),
        ({"event": "media", "media": {"payload": ""}}, None, ["payload-empty"]),
        ({"event": "media"}, None, ["media-without-payload"]),
        ({"event": "mark", "mark": {"name": "m"}}, BotMark, []),
        ({"event": "mark", "mark": {}}, None, ["mark-without-name"]),
        ({"event": "clear", "stream_sid": "s1"}, BotClear, []),
        ({"event": "stop"}, None, ["unknown-event"]),
        ([], None, ["not-an-object"]),
    ],
)
def test_the_bot_is_read_strictly(message: Any, kind: type | None, faults: list[str]) -> None:
    found, broken = read_bot(json.dumps(message))
    assert found is None if kind is None else isinstance(found, kind)
    assert broken == faults


def test_what_is_no_json() -> None:
    assert read_bot(b"{")[1] == ["not-json"]
    assert read_bot(b" " * 300_000)[1] == ["message-too-big"]


def test_our_own_writer_breaks_no_rule() -> None:
    start = wire.parse(ExotelWriter(StreamManner(), PARTIES).start({}))
    assert isinstance(start, wire.Start)
    writer = wire.Writer(start)
    for message in (writer.media(bytes(640), 0), writer.mark("m"), writer.clear()):
        assert read_bot(message)[1] == []
