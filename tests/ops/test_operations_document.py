"""The table of refusals names every rule that the code gives literally."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GIVERS = frozenset({"Refusal", "on_drop", "_on_drop", "dropped", "drop"})


def rules() -> Iterator[tuple[str, str]]:
    for path in sorted((ROOT / "sipbot").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and node.args):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            name = node.func.id if isinstance(node.func, ast.Name) else name
            rule = node.args[0]
            if name in GIVERS and isinstance(rule, ast.Constant) and isinstance(rule.value, str):
                yield rule.value, f"{path.relative_to(ROOT)}:{node.lineno}"


def test_every_rule_is_explained() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    cells = set(re.findall(r"`([a-z0-9-]+)`", text))
    families = tuple(re.findall(r"`([a-z0-9-]+-)…`", text))
    found = list(rules())
    assert len(found) > 10  # else this test looks in the wrong place
    assert [one for one in found if one[0] not in cells and not one[0].startswith(families)] == []
