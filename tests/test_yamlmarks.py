"""YAML that can be pointed at."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from sipbot.errors import ConfigError
from sipbot.yamlmarks import Document, key_path, load, loads, validate


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Echo(_Strict):
    type: Literal["echo"]


class Flow(_Strict):
    type: Literal["flow"]
    file: str


class Route(_Strict):
    to: str | None = None
    agent: str


class Settings(_Strict):
    agents: dict[str, Annotated[Echo | Flow, Field(discriminator="type")]] = {}
    routes: list[Route] = []
    level: Literal["info", "debug"] = "info"
    count: int = 0
    password: int = 0


def problems(text: str, model: type[BaseModel] = Settings) -> list[str]:
    with pytest.raises(ConfigError) as error:
        validate(model, loads(text, "f.yaml"))
    return [str(problem) for problem in error.value.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("off", "off"),
        ("yes", "yes"),
        ("+918064061518", "+918064061518"),
        ("08064061518", "08064061518"),
        ("12:30", "12:30"),
        ("2026-01-01", "2026-01-01"),
        ("1_000", "1_000"),
        ("10000-20000", "10000-20000"),
        ("true", True),
        ("12", 12),
        ("-3", -3),
        ("0x1F", 31),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("~", None),
        ("", None),
        ("'12'", "12"),
        ("!!str 12", "12"),
    ],
)
def test_scalars_are_what_they_look_like(text: str, value: Any) -> None:
    assert loads(f"key: {text}\n", "f").data == {"key": value}


def test_keys_are_text() -> None:
    assert loads("{1: a, 0042: b, off: c, true: d}", "f").data == {
        "1": "a",
        "0042": "b",
        "off": "c",
        "true": "d",
    }


def test_lines_are_those_of_the_keys() -> None:
    document = loads("a:\n  b: 1\n  c:\n    - x\n    - {d: 2}\n", "f")
    assert document.line_of(()) == 1
    assert document.line_of(("a", "c")) == 3
    assert document.line_of(("a", "c", 1, "d")) == 5
    assert document.line_of(("a", "missing")) == 1
    assert document.line_of(("a", "tag-of-a-union", "c", 0)) == 4
    assert loads("", "f").line_of(("x",)) == 0


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: [1,\n", 3, "YAML syntax"),
        ("a: 1\na: 2\n", 2, "stands twice, first in line 1"),
        ("1: a\n'1': b\n", 2, "stands twice"),
        ("a: !!python/object:os.system x\n", 1, "tag"),
        ("a: !secret x\n", 1, "tag"),
        ("a: !!int x\n", 1, "is no int"),
        ("a: !!map\n  - 1\n", 1, ""),
        ("? [a]\n: b\n", 1, "plain text"),
        ("---\na: 1\n---\nb: 2\n", 3, "YAML syntax"),
        ("a: \x01\n", 0, "does not allow"),
        ("a: &x [*x]\n", 1, "50 levels"),
        ("[" * 60 + "]" * 60, 1, "50 levels"),
        ("[" * 5_000, 0, "50 levels"),
    ],
)
def test_files_that_are_no_configuration(text: str, line: int, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        loads(text, "f")
    assert error.value.problems[0].line == line
    assert message in str(error.value)


def test_alias_bombs_are_bounded() -> None:
    text = "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
    for name, inner in zip("bcdefgh", "abcdefg", strict=True):
        text += f"{name}: &{name} [{','.join([f'*{inner}'] * 10)}]\n"
    with pytest.raises(ConfigError, match="50000 values"):
        loads(text, "f")


def test_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xef\xbb\xbfcount: 3\n")
    assert validate(Settings, load(path)).count == 3
    path.write_bytes(b"count: 3\n# \xff\n")
    with pytest.raises(ConfigError, match=r"c\.yaml:2: .*UTF-8"):
        load(path)
    path.write_bytes(b"#" * 1_100_000)
    with pytest.raises(ConfigError, match="bigger"):
        load(path)
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "none.yaml")


def test_an_empty_file_has_the_defaults() -> None:
    assert validate(Settings, loads("# nothing\n", "f")) == Settings()


def test_every_problem_is_told_with_line_key_value_and_what_is_allowed() -> None:
    no_integer = "should be a valid integer, unable to parse string as an integer"
    allowed = "(allowed: agents, count, level, password, routes)"
    assert problems(
        "agents:\n"
        "  a: {type: flow, fil: x}\n"
        "  b:\n"
        "    type: clown\n"
        "  c: {}\n"
        "routes:\n"
        "  - {agent: a}\n"
        "  - {to: [x]}\n"
        "level: loud\n"
        "count: many\n"
        "cuont: 1\n"
        "password: hunter2\n"
    ) == [
        "f.yaml:2: agents.a.file: this key is required",
        "f.yaml:2: agents.a.fil = x: unknown key; did you mean 'file'? (allowed: file, type)",
        "f.yaml:4: agents.b.type = clown: must be one of 'echo', 'flow'",
        "f.yaml:5: agents.c.type: this key is required",
        "f.yaml:8: routes[1].to: should be a valid string",
        "f.yaml:8: routes[1].agent: this key is required",
        "f.yaml:9: level = loud: must be one of 'info' or 'debug'",
        f"f.yaml:10: count = many: {no_integer}",
        f"f.yaml:12: password = ***: {no_integer}",
        f"f.yaml:11: cuont = 1: unknown key; did you mean 'count'? {allowed}",
    ]


def test_shapes_are_told() -> None:
    assert problems("- 1\n") == ["f.yaml:1: (file): must be a mapping of keys to values"]
    assert problems("routes: 3\n") == ["f.yaml:1: routes = 3: must be a list"]


def test_problems_quote_what_was_written_and_not_what_it_became() -> None:
    document = loads("count: ${SECRET}\n", "f")
    with pytest.raises(ConfigError) as error:
        validate(Settings, document.with_data({"count": "hunter2"}))
    assert "${SECRET}" in str(error.value)
    assert "hunter2" not in str(error.value)


def test_long_values_are_cut() -> None:
    (problem,) = problems(f"count: {'x' * 500}\n")
    assert len(problem) < 200


def test_key_paths() -> None:
    assert key_path(("routes", 0, "to")) == "routes[0].to"
    assert key_path(()) == "(file)"


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert isinstance(loads(text, "f"), Document)
