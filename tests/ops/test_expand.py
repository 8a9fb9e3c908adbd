"""Variables in values: environment, defaults, files, and each way to get them wrong."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipbot.errors import ConfigError
from sipbot.ops.expand import MAX_SECRET_FILE_BYTES, expand
from sipbot.yamlmarks import loads

ENVIRONMENT = {"NAME": "value", "EMPTY": "", "TRAP": "${NAME}"}


def expanded(value: str, base: Path = Path("/nowhere")) -> Any:
    document = loads("key: placeholder\n", "bot.yaml").with_data({"key": [value]})
    return expand(document, ENVIRONMENT, base).data["key"][0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain $ and $NAME", "plain $ and $NAME"),
        ("${NAME}", "value"),
        ("a ${NAME} b ${NAME}", "a value b value"),
        ("${NOPE:-other text}", "other text"),
        ("${EMPTY:-other}", "other"),
        ("${EMPTY}", ""),
        ("${NOPE:-}", ""),
        ("$${NAME}", "${NAME}"),
        ("${TRAP}", "${NAME}"),
    ],
)
def test_environment(text: str, expected: str) -> None:
    assert expanded(text) == expected


@pytest.mark.parametrize("text", ["${", "${}", "${NAME", "${9}", "${a b}", "${NAME:?x}", "${x{y}}"])
def test_wrong_forms_say_what_is_right(text: str) -> None:
    with pytest.raises(ConfigError, match=r"write \$\{NAME\}"):
        expanded(text)


def test_a_missing_variable_is_named_with_its_line() -> None:
    document = loads("a: 1\nb:\n  - c: ${NOPE}\n", "bot.yaml")
    with pytest.raises(ConfigError) as caught:
        expand(document, ENVIRONMENT, Path())
    (problem,) = caught.value.problems
    assert (problem.line, problem.key, problem.value) == (3, "b[0].c", "${NOPE}")
    assert "NOPE is not set" in problem.message


def test_every_problem_is_reported() -> None:
    document = loads("a: ${ONE}\nb: ${TWO}\n", "bot.yaml")
    with pytest.raises(ConfigError) as caught:
        expand(document, {}, Path())
    assert [problem.key for problem in caught.value.problems] == ["a", "b"]


def test_files(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hush\r\n\n")
    assert expanded("${file:secret}", tmp_path) == "hush"
    assert expanded(f"<${{file:{tmp_path}/secret}}>") == "<hush>"


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "big").write_bytes(b"x" * (MAX_SECRET_FILE_BYTES + 1))
    for name, says in (("none", "No such file"), ("binary", "UTF-8"), ("big", "bigger")):
        with pytest.raises(ConfigError, match=says):
            expanded(f"${{file:{name}}}", tmp_path)


def test_problems_quote_the_file_and_never_the_value() -> None:
    document = loads("limits: ${file:x}", "bot.yaml")
    with pytest.raises(ConfigError) as caught:
        expand(document, ENVIRONMENT, Path("/nowhere"))
    assert caught.value.problems[0].value == "${file:x}"


@given(st.text())
def test_any_text_expands_or_is_a_problem(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert isinstance(expanded(text), str)
