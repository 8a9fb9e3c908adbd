"""Every log call: a constant event, and no keyword for what is dialled, said or secret."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from sipbot.ops.redact import FORBIDDEN_KEYS

ROOT = Path(__file__).resolve().parents[2]
METHODS = frozenset({"debug", "info", "warning", "error", "exception", "critical"})
LOGGER_NAMES = ("log", "logger")
# (file, name): keywords passed as **name, and why that is right.
ALLOWED_SPLATS = {
    ("host.py", "summary"): "the flat statistics of a call record, no free text",
    ("worker_host.py", "facts"): "the flat statistics of a stream, no free text",
    ("runner.py", "shown"): "texts of agents' exceptions, only when logging.agent_errors asks",
}
BINDERS = frozenset({"bind", "get_logger", "new"})


def last_name(node: ast.expr) -> str:
    """``self._log`` -> "_log"; ``log.bind(…)`` -> "log"."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(attr=name, value=value):
            return last_name(value) if name in BINDERS else name
        case ast.Call(func=function):
            return last_name(function)
    return ""


def is_logger(node: ast.expr) -> bool:
    return last_name(node).lower().strip("_").endswith(LOGGER_NAMES)


def faults(source: str, file: str = "") -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        method = node.func.attr
        if method not in METHODS | {"bind"} or not is_logger(node.func.value):
            continue
        if method in METHODS:
            event = node.args[0] if node.args else None
            if not (isinstance(event, ast.Constant) and isinstance(event.value, str)):
                yield f"{node.lineno}: the event is no constant text"
            if len(node.args) > 1:
                yield f"{node.lineno}: values belong into keywords"
        for keyword in node.keywords:
            if keyword.arg is None and (file, last_name(keyword.value)) in ALLOWED_SPLATS:
                continue
            if keyword.arg is None:
                yield f"{node.lineno}: keywords by ** cannot be checked"
            elif keyword.arg in FORBIDDEN_KEYS:
                yield f"{node.lineno}: {keyword.arg} must not be logged"


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in sorted((ROOT / "sipbot").rglob("*.py"))
        if path.name != "logs.py"  # routes the records of libraries through
    ],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_log_calls(path: Path) -> None:
    assert list(faults(path.read_text(encoding="utf-8"), path.name)) == []


@pytest.mark.parametrize(
    "source",
    [
        'log.info(f"pressed {digit}")',
        'self._log.info("pressed", digit=d)',
        'logger.warning("pressed %s", d)',
        'log.bind(pin=x).info("x")',
        "call_log.error(text)",
        'log.info("x", **values)',
        'get_logger("a").bind(token=x)',
    ],
)
def test_the_check_sees(source: str) -> None:
    if source.startswith("get_logger"):
        source = "log." + source
    assert list(faults(source)) != []


@pytest.mark.parametrize("source", ['log.info("answered", codec=c)', "math.log(x)", "info(x)"])
def test_the_check_lets_pass(source: str) -> None:
    assert list(faults(source)) == []
