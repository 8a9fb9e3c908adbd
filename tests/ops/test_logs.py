"""What a log line looks like, that libraries speak the same way, and that nothing ever waits."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from sipbot.ops import logs


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    text = io.StringIO()
    yield text
    logs.shutdown()
    root = logging.getLogger()
    for handler in [one for one in root.handlers if type(one).__module__ == logs.__name__]:
        root.removeHandler(handler)


def lines(writer: logs.LineWriter, stream: io.StringIO) -> list[dict[str, Any]]:
    writer.close()
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_one_json_object_a_line(stream: io.StringIO) -> None:
    writer = logs.configure("info", "json", stream)
    logs.get_logger("sip").info("call answered", codec="PCMA", note="two\nlines")
    (line,) = lines(writer, stream)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "part": "sip",
        "event": "call answered",
        "codec": "PCMA",
        "note": "two\nlines",
    }


def test_a_logger_made_before_the_set_up_works_after_it(stream: io.StringIO) -> None:
    log = logs.get_logger("early")
    writer = logs.configure("info", "json", stream)
    log.info("ready")
    assert lines(writer, stream)[0]["part"] == "early"


def test_a_bound_logger_survives_a_second_set_up(stream: io.StringIO) -> None:
    logs.configure("info", "json", io.StringIO())
    log = logs.get_logger("call").bind(call_id="c1")
    writer = logs.configure("info", "json", stream)
    log.info("moved")
    assert lines(writer, stream)[0]["call_id"] == "c1"


def test_levels(stream: io.StringIO) -> None:
    writer = logs.configure("warning", "json", stream)
    log = logs.get_logger("x")
    log.debug("no")
    log.info("no")
    log.warning("yes")
    log.error("yes")
    assert [line["level"] for line in lines(writer, stream)] == ["warning", "error"]


def test_call_context_reaches_every_line(stream: io.StringIO) -> None:
    writer = logs.configure("info", "json", stream)
    with logs.call_context("c7"):
        logs.get_logger("sip").info("inside")
        logging.getLogger("library").error("also inside")
    logs.get_logger("sip").info("outside")
    assert [line.get("call_id") for line in lines(writer, stream)] == ["c7", "c7", None]


def test_libraries_are_routed_through(stream: io.StringIO) -> None:
    writer = logs.configure("info", "json", stream)
    library = logging.getLogger("some.package")
    library.info("too talkative")
    library.warning("watch %s", "out")
    library.critical("ended")
    assert [(line["part"], line["level"], line["event"]) for line in lines(writer, stream)] == [
        ("some.package", "warning", "watch out"),
        ("some.package", "error", "ended"),
    ]


def test_an_exception_shows_where_but_no_local_values(stream: io.StringIO) -> None:
    writer = logs.configure("info", "text", stream)

    def fails(pin: str) -> None:
        raise RuntimeError("constant text")

    try:
        fails("4711")
    except RuntimeError:
        logs.get_logger("agent").exception("agent failed")
    writer.close()
    text = stream.getvalue()
    assert "RuntimeError: constant text" in text
    assert "in fails" in text
    assert text.count("4711") == text.count('fails("4711")')  # the source line, not the value


def test_numbers_and_secrets_do_not_get_through(stream: io.StringIO) -> None:
    writer = logs.configure("info", "json", stream)
    logs.get_logger("sip").info("x", caller="+919812345610", digits="4711")
    assert "9812345610" not in stream.getvalue()
    (line,) = lines(writer, stream)
    assert (line["caller"], line["digits"]) == ("+9198******10", "[redacted]")


def test_text_escapes_what_a_terminal_would_obey(stream: io.StringIO) -> None:
    writer = logs.configure("info", "text", stream)
    logs.get_logger("sip").info("refused", header="\x1b[2Jgone")
    writer.close()
    assert "\x1b" not in stream.getvalue()
    assert "\\x1b[2Jgone" in stream.getvalue()


class StuckStream(io.StringIO):
    """A reader that takes nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.go = threading.Event()

    def write(self, text: str) -> int:
        self.entered.set()
        assert self.go.wait(10)
        return super().write(text)


def test_a_stuck_reader_loses_lines_and_holds_nobody_up() -> None:
    stream = StuckStream()
    writer = logs.LineWriter(stream, max_waiting=5)
    writer.write("first")
    assert stream.entered.wait(10)
    for number in range(8):
        writer.write(str(number))  # returns at once, or the test would never get here
    assert writer.lost == 3
    stream.go.set()
    writer.close()
    found = stream.getvalue().splitlines()
    assert found[:6] == ["first", "0", "1", "2", "3", "4"]
    assert json.loads(found[6])["lines"] == 3


class BrokenStream(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_closed_pipe_is_tolerated() -> None:
    writer = logs.LineWriter(BrokenStream())
    writer.write("one")
    writer.close()
    writer.write("after the end")
    assert writer.lost == 2


def test_standard_error_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json").close()
    assert sys.stdout is not sys.stderr
    assert capsys.readouterr().out == ""
    logs.shutdown()
