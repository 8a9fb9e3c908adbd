"""Lists of numbers as CSV, in and out."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from sipbot.outbound.job import Job, check_parameters
from sipbot.outbound.numbers import canonical

NUMBER_COLUMNS: Final = ("number", "phone", "to", "mobile")
MAX_ROWS: Final = 1_000_000
MAX_PROBLEMS: Final = 100  # told; all are counted
_DELIMITERS: Final = ",;\t|"
RESULT_COLUMNS: Final = (
    "line",
    "number",
    "state",
    "outcome",
    "attempts",
    "status",
    "detail",
    "answered_at",
    "talk_s",
    "call_id",
    "call_sid",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One good row; ``line`` is where it ends in the file, from 1."""

    line: int
    number: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RowProblem:
    """One bad row. ``message`` says what is wrong, without the number."""

    line: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}"


@dataclass(slots=True)
class NumberList:
    """What a file holds. ``bad`` counts all bad rows, ``problems`` tells the first of them."""

    rows: list[Row] = field(default_factory=list)
    problems: list[RowProblem] = field(default_factory=list)
    bad: int = 0

    def complain(self, line: int, message: str) -> None:
        self.bad += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(RowProblem(line, message))


def read_numbers(text: str) -> NumberList:
    """Rows below a header with a column ``number``; every other column is a parameter.

    Comma, semicolon, tab and bar are understood as separators. Bad rows are told with their line;
    a number that stands twice is called once. Raises ValueError when the file as a whole is wrong.
    """
    text = text.removeprefix("\ufeff")
    first = text.partition("\n")[0].strip("\r")
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    found = NumberList()
    try:
        header = [name.strip() for name in next(reader, [])]
        column = _number_column(header)
        _read_rows(reader, header, column, found)
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: this is no CSV: {error}") from None
    return found


def _number_column(header: Sequence[str]) -> int:
    names = [name.lower() for name in header]
    for wanted in NUMBER_COLUMNS:
        if wanted in names:
            break
    else:
        raise ValueError("line 1: the header needs a column number")
    if "" in names or len(set(names)) < len(names):
        raise ValueError("line 1: each column needs a name of its own")
    return names.index(wanted)


def _read_rows(
    reader: Iterator[list[str]], header: Sequence[str], column: int, found: NumberList
) -> None:
    seen: dict[str, int] = {}
    line = 1
    for fields in reader:
        line = getattr(reader, "line_num", line + 1)
        if not any(field.strip() for field in fields):
            continue
        if len(found.rows) >= MAX_ROWS:
            raise ValueError(f"line {line}: more than {MAX_ROWS} rows")
        if len(fields) != len(header):
            found.complain(line, f"{len(fields)} fields instead of {len(header)}")
            continue
        values = dict(zip(header, (field.strip() for field in fields), strict=True))
        number = values.pop(header[column])
        try:
            number = canonical(number)
            check_parameters(values)
        except ValueError as error:
            found.complain(line, f"{header[column]}: {error}")
            continue
        if number in seen:
            found.complain(line, f"the same number as in line {seen[number]}")
            continue
        seen[number] = line
        found.rows.append(Row(line, number, values))


def result_lines(jobs: Iterable[Job], parameters: Sequence[str]) -> Iterator[str]:
    """A CSV file of results, line by line; ``parameters`` are the columns of the input to repeat.

    Times are ISO 8601 in UTC. Fields that a spreadsheet would take for a formula begin with an
    apostrophe; a number does not.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([*RESULT_COLUMNS, *parameters])
    yield _taken(out)
    for job in jobs:
        writer.writerow(
            [
                job.line or "",
                job.number,
                job.state.value,
                "" if job.outcome is None else job.outcome.value,
                job.attempts,
                job.status or "",
                _plain(job.detail),
                _time(job.answered_at),
                f"{job.talk_s:.1f}" if job.answered_at is not None else "",
                job.call_id,
                job.call_sid,
                *(_plain(job.parameters.get(name, "")) for name in parameters),
            ]
        )
        yield _taken(out)


def _taken(out: io.StringIO) -> str:
    text = out.getvalue()
    out.seek(0)
    out.truncate()
    return text


def _time(wall: float | None) -> str:
    if wall is None:
        return ""
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="seconds")


def _plain(text: str) -> str:
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
