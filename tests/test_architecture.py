"""The arrows between packages, the purity of the protocol cores, and the size of the pieces.

Read from the syntax trees of all files, imports for type checking included.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCES: Final = sorted((ROOT / "sipbot").rglob("*.py"))

# Modules at the top that everybody may import.
SHARED: Final = frozenset({"errors", "clock", "__version__"})
# package -> what it may import of sipbot, beside itself and SHARED. "a.b" allows that module only;
# as a package it has a row of its own, which counts instead of that of "a".
ARROWS: Final[dict[str, frozenset[str]]] = {
    "sip": frozenset(),
    "sdp": frozenset(),
    "rtp": frozenset(),
    "transport": frozenset({"sip"}),
    "media": frozenset({"rtp"}),
    "call": frozenset(),
    "legs": frozenset({"transport", "media", "sip", "sdp", "rtp.g711", "exotel.wire", "call"}),
    "agent": frozenset({"call", "yamlmarks"}),
    "exotel": frozenset({"call.numbers"}),
    "exotel.sim": frozenset({"call", "ops.expand", "ops.redact", "yamlmarks"}),
    "exotel.rest": frozenset(
        {"call.numbers", "ops.checks", "ops.expand", "ops.logs", "ops.redact", "yamlmarks"}
    ),
    "http": frozenset({"call", "exotel", "store", "ops", "outbound"}),
    "store": frozenset({"call", "outbound", "ops.counters", "ops.logs"}),
    "outbound": frozenset({"call.numbers"}),
    "ops": frozenset({"yamlmarks"}),
    "testing": frozenset({"call", "agent"}),
    "cli": frozenset({"ops", "runtime", "exotel.rest", "outbound"}),
    "yamlmarks": frozenset({"yamlproblems"}),
    "yamlproblems": frozenset(),
    "errors": frozenset(),
    "clock": frozenset(),
}
JOINS_ALL: Final = frozenset({"runtime"})
NEVER_IMPORTED: Final = frozenset({"cli", "runtime"})  # but by each other, as the table says

# Packages and modules without I/O, clock or chance: those are passed in.
PURE: Final = (
    ("sip",),
    ("sdp",),
    ("rtp",),
    ("exotel", "wire"),
    ("exotel", "applets"),
    ("exotel", "callbacks"),
    ("outbound",),
)
IMPURE: Final = frozenset(
    {
        "asyncio",
        "logging",
        "multiprocessing",
        "os",
        "random",
        "secrets",
        "select",
        "selectors",
        "socket",
        "ssl",
        "structlog",
        "subprocess",
        "threading",
        "time",
        "uuid",
    }
)

MAX_FUNCTION_LINES: Final = 60  # code lines, docstring and blank lines not counted
P90_FUNCTION_LINES: Final = 30
MAX_MODULE_LINES: Final = 500
LONG_MODULES: Final[dict[str, str]] = {}  # file -> why it may have up to 700 lines
MAX_LONG_MODULE_LINES: Final = 700


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def name_of(path: Path) -> tuple[str, ...]:
    """``sipbot/sip/uri.py`` -> ("sip", "uri"); ``sipbot/__init__.py`` -> ()."""
    parts = path.relative_to(ROOT / "sipbot").with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of each module (or module member) that ``path`` imports."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def allowed(importer: str, imported: tuple[str, ...]) -> bool:
    if not imported or imported[0] in SHARED:
        return bool(imported)
    if importer in JOINS_ALL:
        return imported[0] == importer or imported[0] not in NEVER_IMPORTED
    edges, part = ARROWS[importer], ".".join(imported[:2])
    own = imported[0] == importer and part not in ARROWS
    return own or part == importer or imported[0] in edges or part in edges


def row_of(module: tuple[str, ...]) -> str:
    """The row of ARROWS that a module falls under."""
    part = ".".join(module[:2])
    return part if part in ARROWS else module[0]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_imports_follow_the_arrows(path: Path) -> None:
    own = name_of(path)
    if not own:
        return  # sipbot/__init__.py is the public face and may export from anywhere
    row = row_of(own)
    assert row in ARROWS or row in JOINS_ALL, f"{row} has no row in ARROWS"
    wrong = [
        f"line {line}: {module}"
        for line, module in imports(path)
        if module.split(".")[0] == "sipbot" and not allowed(row, tuple(module.split(".")[1:]))
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "path",
    [path for path in SOURCES if any(name_of(path)[: len(pure)] == pure for pure in PURE)],
    ids=relative,
)
def test_protocol_cores_do_no_io(path: Path) -> None:
    wrong = [
        f"line {line}: {module}"
        for line, module in imports(path)
        if module.split(".")[0] in IMPURE or module.startswith("sipbot.clock")
    ]
    assert wrong == []


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_modules_are_small(path: Path) -> None:
    limit = MAX_LONG_MODULE_LINES if relative(path) in LONG_MODULES else MAX_MODULE_LINES
    assert len(path.read_text(encoding="utf-8").splitlines()) <= limit


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Name and code lines of each function and method."""
    lines = path.read_text(encoding="utf-8").splitlines()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node, clean=False) else node.body
            first = body[0].lineno if body else node.end_lineno or node.lineno
            head = node.body[0].lineno - node.lineno
            code = [line for line in lines[first - 1 : node.end_lineno] if line.strip()]
            yield f"{relative(path)}:{node.lineno} {node.name}", head + len(code)


def test_functions_are_short() -> None:
    sizes = [found for path in SOURCES for found in functions(path)]
    assert [found for found in sizes if found[1] > MAX_FUNCTION_LINES] == []
    ordered = sorted(size for _, size in sizes)
    assert ordered[int(len(ordered) * 0.9)] <= P90_FUNCTION_LINES


def test_every_package_has_a_docstring() -> None:
    missing = [relative(path) for path in SOURCES if ast.get_docstring(tree(path)) is None]
    assert missing == []
