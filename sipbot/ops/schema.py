"""The JSON Schema of the configuration, with the docstrings of its fields as descriptions.

Pydantic could take them while it makes the models, but then each process would read and parse their
source at its start, which takes longer than all else that it does then.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
from collections.abc import Iterator
from typing import Any

from sipbot.ops.config import Config
from sipbot.ops.section import Section


def config_schema() -> dict[str, Any]:
    """The schema of the whole file."""
    schema = Config.model_json_schema()
    models = {**schema["$defs"], Config.__name__: schema}
    for section in _sections(Section):
        model = models.get(section.__name__)
        if model is not None:
            _describe(section, model["properties"])
    return schema


def _sections(base: type[Section]) -> Iterator[type[Section]]:
    for section in base.__subclasses__():
        yield section
        yield from _sections(section)


def _describe(section: type[Section], properties: dict[str, Any]) -> None:
    for owner in reversed(section.__mro__):
        if not issubclass(owner, Section) or owner is Section:
            continue
        for name, text in _docstrings(owner):
            key = section.model_fields[name].alias or name
            properties[key].setdefault("description", text)


def _docstrings(section: type[Section]) -> Iterator[tuple[str, str]]:
    """Names of the fields that stand in a class, and the texts below them."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(section)))
    assert isinstance(tree.body[0], ast.ClassDef), "the source of a class"
    body = tree.body[0].body
    for field, below in itertools.pairwise(body):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield name, inspect.cleandoc(text)
