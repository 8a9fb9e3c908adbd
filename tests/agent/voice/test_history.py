"""History has what was heard, stays bounded and fits together."""

from __future__ import annotations

import pytest

from sipbot.agent.ports import Message, ToolCall
from sipbot.agent.voice.history import INTERRUPTED, History, as_heard, heard_part

TEXT = "We open at nine and close at five."


@pytest.mark.parametrize(
    ("share", "words"), [(0.0, 0), (0.01, 0), (0.1, 1), (0.5, 4), (0.99, 8), (1.0, 8)]
)
def test_words_that_were_heard(share: float, words: int) -> None:
    assert heard_part(TEXT, share) == " ".join(TEXT.split()[:words])


def test_every_share_gives_a_beginning_that_grows() -> None:
    parts = [heard_part(TEXT, share / 100) for share in range(101)]
    assert all(TEXT.startswith(part) for part in parts)
    assert parts == sorted(parts, key=len)


def test_a_caller_who_goes_on_is_one_message() -> None:
    history = History("prompt", 10)
    history.caller_said("I want")
    history.caller_said("to book")
    assert [one.text for one in history.messages] == ["prompt", "I want to book"]


def test_unheard_answers_leave_no_trace() -> None:
    history = History("prompt", 10)
    history.caller_said("hello")
    history.bot_said([Message("assistant", "")])
    assert len(history.messages) == 2


def test_history_is_bounded_and_never_begins_with_a_result() -> None:
    history = History("prompt", 4)
    call = ToolCall("1", "f", "{}")
    for number in range(5):
        history.caller_said(f"question {number}")
        history.bot_said([Message("assistant", "", (call,)), Message("tool", "x", (), "1")])
        assert len(history.messages) <= 5
        assert history.messages[0].text == "prompt"
        assert history.messages[1].role != "tool"


def test_each_round_keeps_what_was_heard_of_it() -> None:
    call = ToolCall("1", "f", "{}")
    made = [
        Message("assistant", "", (call,)),
        Message("tool", "result", (), "1"),
        Message("assistant", "All of it."),
    ]
    assert [one.text for one in as_heard(made, {1: "All of"})] == ["", "result", "All of"]


def test_a_tool_that_was_cut_off_has_a_result_all_the_same() -> None:
    calls = (ToolCall("1", "f", "{}"), ToolCall("2", "g", "{}"))
    made = [Message("assistant", "wait", calls), Message("tool", "result", (), "1")]
    last = as_heard(made, {0: "wait"})[-1]
    assert (last.role, last.text, last.tool_call_id) == ("tool", INTERRUPTED, "2")
