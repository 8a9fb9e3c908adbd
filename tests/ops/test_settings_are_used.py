"""A setting that nothing reads would be a promise nobody keeps."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from sipbot.ops import config as models

ROOT = Path(__file__).resolve().parents[2]
# Accepted and said to have no effect: in the reference, or in a warning at the start.
WITHOUT_EFFECT: set[str] = set()


def settings() -> Iterator[tuple[str, str]]:
    for name, model in vars(models).items():
        if isinstance(model, type) and issubclass(model, BaseModel):
            yield from ((f"{name}.{field}", field) for field in model.model_fields)


def attributes_read() -> set[str]:
    """Attribute names read anywhere but in the models and the loader."""
    read = set()
    for folder in ("runtime", "cli"):
        for path in sorted((ROOT / "sipbot" / folder).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            read |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return read


def test_every_setting_is_read() -> None:
    read = attributes_read()
    unread = {name for name, field in settings() if field not in read}
    assert unread - WITHOUT_EFFECT == set()
