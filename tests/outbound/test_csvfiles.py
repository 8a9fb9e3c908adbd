"""Lists of numbers in, results out."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from sipbot.outbound.csvfiles import MAX_PROBLEMS, read_numbers, result_lines
from sipbot.outbound.job import JobState
from sipbot.outbound.outcome import Outcome

from .test_job import JOB


def test_numbers_and_parameters() -> None:
    found = read_numbers("number,name,due\n+919812345610,Asha,5\n09812345611,Ravi,\n")
    assert [(row.line, row.number) for row in found.rows] == [
        (2, "+919812345610"),
        (3, "+919812345611"),
    ]
    assert found.rows[0].parameters == {"name": "Asha", "due": "5"}
    assert not found.problems


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators_byte_order_mark_and_line_ends(separator: str) -> None:
    text = "\ufeffName,Phone\r\nAsha,9812345610\r\n".replace(",", separator)
    found = read_numbers(text)
    assert [(row.number, dict(row.parameters)) for row in found.rows] == [
        ("+919812345610", {"Name": "Asha"})
    ]


def test_quoted_fields_keep_the_lines_right() -> None:
    found = read_numbers('number,note\n9812345610,"two\nlines"\n12 34 x!,y\n')
    assert found.rows[0].parameters["note"] == "two\nlines"
    assert found.problems[0].line == 4


def test_bad_rows_are_told_with_their_lines_and_without_the_number() -> None:
    found = read_numbers("number,name\n\n+12,a\n9812345610,b\n9812345610\n09812345610,c\n")
    assert [str(one) for one in found.problems] == [
        "line 3: number: must be a number such as +919812345610, or a plain user name",
        "line 5: 1 fields instead of 2",
        "line 6: the same number as in line 4",
    ]
    assert len(found.rows) == 1


def test_many_bad_rows_are_counted_and_some_told() -> None:
    found = read_numbers("number\n" + "+1\n" * (MAX_PROBLEMS + 5))
    assert (found.bad, len(found.problems)) == (MAX_PROBLEMS + 5, MAX_PROBLEMS)


@pytest.mark.parametrize("text", ["", "name\nAsha\n", "number,number\n1,2\n", "number,\n1,2\n"])
def test_a_header_that_is_no_use(text: str) -> None:
    with pytest.raises(ValueError, match="line 1"):
        read_numbers(text)


def test_broken_quotes() -> None:
    with pytest.raises(ValueError, match="this is no CSV"):
        read_numbers('number,a\n1,"x"y\n')


def test_results() -> None:
    done = replace(
        JOB,
        line=2,
        state=JobState.DONE,
        outcome=Outcome.ANSWERED,
        status=200,
        answered_at=1_764_000_000.0,
        talk_s=12.34,
        call_id="c1",
        parameters={"name": "=cmd()"},
    )
    text = "".join(result_lines([done, replace(JOB, line=3)], ["name"]))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert rows[0]["outcome"] == "answered"
    assert rows[0]["number"] == "+919812345610"
    assert rows[0]["answered_at"] == "2025-11-24T16:00:00+00:00"
    assert rows[0]["talk_s"] == "12.3"
    assert rows[0]["name"] == "'=cmd()"
    assert (rows[1]["outcome"], rows[1]["talk_s"], rows[1]["state"]) == ("", "", "dialling")
